//! `[accounts]`: who may register, how long a login lasts, and how fast passwords may be tried.

use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};

use serde::Deserialize;

/// The settings of accounts.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccountsOptions {
    /// `iss` of the access tokens; a token of another issuer is refused. Default `parlor`.
    pub issuer: String,
    /// `aud` of the access tokens; a token for another audience is refused. Default `parlor`.
    pub audience: String,
    /// How long an access token is good for. Default 900 (15 minutes).
    pub access_seconds: NonZeroU32,
    /// How long a login lasts, however often it is refreshed; then the password is asked for again. Default 30.
    pub refresh_days: NonZeroU16,
    /// How far the clocks of two nodes may differ: a token is good for that much longer, and earlier. Default 5.
    pub leeway_seconds: u16,
    /// Whether anybody may make themselves an account (`POST /users`). Default true.
    pub registration_open: bool,
    /// Passwords hashed side by side. Each takes one core for tens of milliseconds and 19 MiB. Default 2.
    pub hash_concurrency: NonZeroU8,
    /// Passwords that wait to be hashed; one more is refused with 503 and `Retry-After`. Default 64.
    pub hash_waiting: u16,
    /// How fast passwords may be tried and accounts made.
    pub limits: LoginLimits,
}

impl Default for AccountsOptions {
    fn default() -> Self {
        Self {
            issuer: "parlor".into(),
            audience: "parlor".into(),
            access_seconds: const { NonZeroU32::new(900).unwrap() },
            refresh_days: const { NonZeroU16::new(30).unwrap() },
            leeway_seconds: 5,
            registration_open: true,
            hash_concurrency: const { NonZeroU8::new(2).unwrap() },
            hash_waiting: 64,
            limits: LoginLimits::default(),
        }
    }
}

/// How fast passwords may be tried and accounts made: all of it at once at first, then at the rate at which it
/// refills. What is over is refused with 429 and `Retry-After`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoginLimits {
    /// Logins of one account, right or wrong, from anywhere. Default 10 in 300 seconds.
    pub per_account: Allowance,
    /// Logins from one address (IPv6: one /64), right or wrong, of any account. Default 60 in 60 seconds.
    pub per_address: Allowance,
    /// Registrations from one address (IPv6: one /64). Default 300 in 300 seconds: an office or a school comes from
    /// one address, and its first day must work.
    pub registrations_per_address: Allowance,
}

impl LoginLimits {
    /// Limits that nothing reaches, for load tests.
    #[must_use]
    pub fn unlimited() -> Self {
        let all = Allowance::new(NonZeroU32::MAX, NonZeroU32::MIN);
        Self { per_account: all, per_address: all, registrations_per_address: all }
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            per_account: const { Allowance::new(NonZeroU32::new(10).unwrap(), NonZeroU32::new(300).unwrap()) },
            per_address: const { Allowance::new(NonZeroU32::new(60).unwrap(), NonZeroU32::new(60).unwrap()) },
            registrations_per_address: const { Allowance::new(NonZeroU32::new(300).unwrap(), NonZeroU32::new(300).unwrap()) },
        }
    }
}

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// How many at once.
    pub attempts: NonZeroU32,
    /// How long until all of them are there again. More than an attempt a nanosecond is no limit at all.
    pub seconds: NonZeroU32,
}

impl Allowance {
    /// `attempts` in `seconds`.
    #[must_use]
    pub const fn new(attempts: NonZeroU32, seconds: NonZeroU32) -> Self {
        Self { attempts, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_has_its_default_and_an_unknown_key_is_refused() {
        let set: AccountsOptions = serde_json::from_str(r#"{"access_seconds": 60}"#).unwrap();
        assert_eq!((set.access_seconds.get(), set.refresh_days.get(), set.issuer.as_str()), (60, 30, "parlor"));
        let unknown = serde_json::from_str::<AccountsOptions>(r#"{"acces_seconds": 60}"#).unwrap_err();
        assert!(unknown.to_string().contains("acces_seconds"), "{unknown}");
        assert!(serde_json::from_str::<AccountsOptions>(r#"{"hash_concurrency": 0}"#).is_err());
    }
}
