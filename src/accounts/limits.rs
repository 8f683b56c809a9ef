//! How fast passwords may be tried and accounts made, by account and by address.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;
use crate::cluster::rates::{Rate, Rates};
use crate::config::accounts::{Allowance, LoginLimits};

/// Keys that one limit remembers. Those whose allowance is whole again are forgotten first; while this many are not,
/// everybody is refused: to forget them would be to lift the limit for whoever is over it.
pub(crate) const MAX_KEYS: usize = 100_000;
/// How often at most a full limit looks for what it may forget.
const SWEEP_EVERY_MILLIS: i64 = 1_000;

/// Too many, too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts; try again in {} s", retry_after.as_secs_f32().ceil())]
pub struct Limited {
    /// When the next attempt will be heard.
    pub retry_after: Duration,
}

/// The limits. A node alone counts in memory, and a restart forgets; nodes of a cluster count together as well, in Redis.
#[derive(Debug)]
pub struct Limits {
    options: LoginLimits,
    account: Limit<String>,
    address: Limit<IpAddr>,
    registration: Limit<IpAddr>,
    everywhere: OnceLock<Rates>,
}

impl Limits {
    /// Limits that count by `clock`.
    #[must_use]
    pub fn new(options: &LoginLimits, clock: &Clock) -> Self {
        Self {
            options: *options,
            everywhere: OnceLock::new(),
            account: Limit::new(options.per_account, clock, MAX_KEYS),
            address: Limit::new(options.per_address, clock, MAX_KEYS),
            registration: Limit::new(options.registrations_per_address, clock, MAX_KEYS),
        }
    }

    /// From now on attempts count over all nodes.
    pub fn count_everywhere(&self, rates: Rates) {
        // The first stays: a node is in one cluster.
        let _ = self.everywhere.set(rates);
    }

    /// Counts a login from an address.
    ///
    /// # Errors
    /// [`Limited`]: the login is not to be looked at.
    pub async fn login_from(&self, address: IpAddr) -> Result<(), Limited> {
        let network = network(address);
        self.address.count(&network)?;
        self.together("login-address", &network.to_string(), self.options.per_address).await
    }

    /// Counts a login of the account of that name key, whether there is one or not.
    ///
    /// # Errors
    /// [`Limited`]: the password is not to be looked at.
    pub async fn login_of(&self, username_key: &str) -> Result<(), Limited> {
        self.account.count(&username_key.to_owned())?;
        self.together("login-account", username_key, self.options.per_account).await
    }

    /// Counts a registration from an address.
    ///
    /// # Errors
    /// [`Limited`]: no account is to be made.
    pub async fn registration_from(&self, address: IpAddr) -> Result<(), Limited> {
        let network = network(address);
        self.registration.count(&network)?;
        self.together("registration-address", &network.to_string(), self.options.registrations_per_address).await
    }

    /// Counts with the other nodes. If Redis does not say, this node's own count has decided.
    async fn together(&self, what: &str, key: &str, allowance: Allowance) -> Result<(), Limited> {
        let Some(everywhere) = self.everywhere.get() else { return Ok(()) };
        let interval = Duration::from_secs(allowance.seconds.get().into()) / allowance.attempts.get();
        let rate = Rate { burst: allowance.attempts.get(), interval };
        everywhere.attempt(what, key, rate).await.map_err(|retry_after| Limited { retry_after })
    }
}

/// Whom an address stands for: in IPv6 one customer has (at least) a /64 to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

/// The time of day as a rate limit reads it. When it is set back, whoever is limited stays so for that much longer.
#[derive(Clone, Debug)]
struct LimitClock(Clock);

impl governor::clock::Clock for LimitClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now().timestamp_millis().max(0).unsigned_abs())
    }
}

/// One limit, by whatever key.
#[derive(Debug)]
pub(crate) struct Limit<K: Hash + Eq + Clone> {
    /// `None`: more than an attempt a nanosecond is allowed.
    limiter: Option<RateLimiter<K, HashMapStateStore<K>, LimitClock, NoOpMiddleware<Duration>>>,
    clock: LimitClock,
    interval: Duration,
    max_keys: usize,
    next_sweep: AtomicI64,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    /// So many attempts of each key, counted by `clock`, of so many keys.
    pub(crate) fn new(allowance: Allowance, clock: &Clock, max_keys: usize) -> Self {
        let clock = LimitClock(clock.clone());
        let interval = Duration::from_secs(allowance.seconds.get().into()) / allowance.attempts.get();
        let limiter = Quota::with_period(interval)
            .map(|quota| RateLimiter::hashmap_with_clock(quota.allow_burst(allowance.attempts), clock.clone()));
        Self { limiter, clock, interval, max_keys, next_sweep: AtomicI64::new(i64::MIN) }
    }

    /// Counts an attempt.
    pub(crate) fn count(&self, key: &K) -> Result<(), Limited> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.len() >= self.max_keys {
            let now = self.clock.0.now().timestamp_millis();
            let due = self.next_sweep.load(Ordering::Relaxed);
            if now >= due || due - now > SWEEP_EVERY_MILLIS {
                self.next_sweep.store(now + SWEEP_EVERY_MILLIS, Ordering::Relaxed);
                limiter.retain_recent();
            }
            if limiter.len() >= self.max_keys {
                return Err(Limited { retry_after: self.interval });
            }
        }
        limiter.check_key(key).map_err(|until| Limited { retry_after: until.wait_time_from(self.clock.now()) })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn limit(attempts: u32, seconds: u32, max_keys: usize) -> (Limit<String>, Clock) {
        let clock = Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        let allowance = Allowance::new(NonZeroU32::new(attempts).unwrap(), NonZeroU32::new(seconds).unwrap());
        (Limit::new(allowance, &clock, max_keys), clock)
    }

    #[test]
    fn the_last_allowed_passes_the_next_does_not_and_each_interval_gives_one_back() {
        let (limit, clock) = limit(10, 300, MAX_KEYS);
        let ada = "ada".to_owned();
        for _ in 0..10 {
            limit.count(&ada).unwrap();
        }
        assert_eq!(limit.count(&ada), Err(Limited { retry_after: Duration::from_secs(30) }));
        limit.count(&"bob".to_owned()).unwrap();
        clock.advance(TimeDelta::milliseconds(29_999));
        assert_eq!(limit.count(&ada), Err(Limited { retry_after: Duration::from_millis(1) }));
        clock.advance(TimeDelta::milliseconds(1));
        limit.count(&ada).unwrap();
        assert!(limit.count(&ada).is_err());
    }

    #[test]
    fn memory_is_bounded_and_what_is_whole_again_is_forgotten() {
        let (limit, clock) = limit(1, 10, 3);
        for n in 0..3 {
            limit.count(&n.to_string()).unwrap();
        }
        assert!(limit.count(&"3".to_owned()).is_err());
        clock.advance(TimeDelta::seconds(30));
        limit.count(&"3".to_owned()).unwrap();
        assert_eq!(limit.limiter.as_ref().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn unlimited_is() {
        let clock = Clock::system();
        let limits = Limits::new(&LoginLimits::unlimited(), &clock);
        for _ in 0..10_000 {
            limits.login_of("ada").await.unwrap();
        }
    }

    #[test]
    fn an_ipv6_customer_is_one_address_and_a_mapped_ipv4_is_itself() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
