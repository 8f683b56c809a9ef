//! Accounts as their users meet them: registering, logging in, being refused.

use std::num::NonZeroU32;

use chrono::DateTime;

use super::*;
use crate::config::accounts::{Allowance, LoginLimits};
use crate::store::testing::{Home, store};

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Fixture {
    _home: Home,
    clock: Clock,
    accounts: Accounts,
}

async fn fixture(options: AccountsOptions) -> Fixture {
    let (home, store) = store().await;
    let clock = Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    let keys = Keys::load_or_create(home.path()).unwrap();
    let accounts = Accounts::new(store, clock.clone(), keys, &options).unwrap();
    Fixture { _home: home, clock, accounts }
}

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

impl Fixture {
    async fn ada(&self) -> Grant {
        self.accounts.register(HOME, "Ada", &secret("correct horse")).await.unwrap()
    }

    async fn login(&self, name: &str, password: &str) -> Result<Grant, Error> {
        self.accounts.login(HOME, name, &secret(password)).await
    }
}

#[tokio::test]
async fn whoever_registers_is_logged_in_and_can_log_in_again() {
    let f = fixture(AccountsOptions::default()).await;
    let grant = f.ada().await;
    assert_eq!(grant.expires_in, Duration::from_secs(900));
    let identity = f.accounts.verify(grant.access_token.expose()).await.unwrap();
    assert_eq!((identity.user_id, identity.username.as_str()), (grant.user.id, "Ada"));
    assert_eq!((identity.role, identity.family_id), (Role::User, grant.family_id));
    let again = f.login("aDA", "correct horse").await.unwrap();
    assert_eq!(again.user, grant.user);
    assert_ne!(again.family_id, grant.family_id);
}

#[tokio::test]
async fn a_taken_name_and_a_bad_one_are_refused() {
    let f = fixture(AccountsOptions::default()).await;
    f.ada().await;
    let register = |name: &'static str, password: &'static str| {
        let accounts = f.accounts.clone();
        async move { accounts.register(HOME, name, &secret(password)).await.unwrap_err() }
    };
    assert!(matches!(register("ADA", "another horse").await, Error::NameTaken));
    assert!(matches!(register("a b", "another horse").await, Error::Username(username::Error::Character(' '))));
    assert!(matches!(register("bob", "short").await, Error::Password(password::Error::TooShort)));
}

#[tokio::test]
async fn one_of_two_who_register_the_same_name_at_once_gets_it() {
    let f = fixture(AccountsOptions::default()).await;
    let password = secret("correct horse");
    let (a, b) = tokio::join!(f.accounts.register(HOME, "ada", &password), f.accounts.register(HOME, "ADA", &password));
    let results = [a, b];
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().any(|result| matches!(result, Err(Error::NameTaken))));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let f = fixture(AccountsOptions::default()).await;
    f.ada().await;
    for (name, password) in [("ada", "wrong horse"), ("bob", "correct horse"), ("a b", "correct horse"), ("ada", "")] {
        assert!(matches!(f.login(name, password).await.unwrap_err(), Error::WrongCredentials), "{name}");
    }
}

#[tokio::test]
async fn where_registration_is_closed_nobody_makes_themselves_an_account() {
    let f = fixture(AccountsOptions { registration_open: false, ..AccountsOptions::default() }).await;
    let refused = f.accounts.register(HOME, "ada", &secret("correct horse")).await.unwrap_err();
    assert!(matches!(refused, Error::RegistrationClosed));
    f.accounts.administration().add("ada", &secret("correct horse"), Role::Admin).await.unwrap();
    assert_eq!(f.login("ada", "correct horse").await.unwrap().user.role, Role::Admin);
}

#[tokio::test]
async fn refreshing_goes_on_with_the_login_until_a_token_comes_twice() {
    let f = fixture(AccountsOptions::default()).await;
    let first = f.ada().await;
    f.clock.advance(TimeDelta::minutes(20));
    assert!(matches!(
        f.accounts.verify(first.access_token.expose()).await.unwrap_err(),
        Error::Token(jwt::Error::Expired)
    ));
    let second = f.accounts.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(second.family_id, first.family_id);
    assert!(f.accounts.verify(second.access_token.expose()).await.is_ok());

    let again = f.accounts.refresh(&first.refresh_token).await.unwrap_err();
    assert!(matches!(again, Error::Refresh(refresh::Error::Reused)));
    assert!(matches!(f.accounts.verify(second.access_token.expose()).await.unwrap_err(), Error::LoginEnded));
    let child = f.accounts.refresh(&second.refresh_token).await.unwrap_err();
    assert!(matches!(child, Error::Refresh(refresh::Error::Ended)));
    let unknown = f.accounts.refresh(&secret("made up")).await.unwrap_err();
    assert!(matches!(unknown, Error::Refresh(refresh::Error::Unknown)));
}

#[tokio::test]
async fn a_login_lasts_thirty_days_however_often_it_is_refreshed() {
    let f = fixture(AccountsOptions::default()).await;
    let first = f.ada().await;
    f.clock.advance(TimeDelta::days(30) - TimeDelta::seconds(60));
    let last = f.accounts.refresh(&first.refresh_token).await.unwrap();
    assert_eq!(last.expires_in, Duration::from_secs(60), "an access token does not outlive its login");
    f.clock.advance(TimeDelta::seconds(60));
    let over = f.accounts.refresh(&last.refresh_token).await.unwrap_err();
    assert!(matches!(over, Error::Refresh(refresh::Error::Expired)));
}

#[tokio::test]
async fn logging_out_ends_this_login_at_once_and_no_other() {
    let f = fixture(AccountsOptions::default()).await;
    let phone = f.ada().await;
    let desk = f.login("ada", "correct horse").await.unwrap();
    f.accounts.logout(phone.family_id).await.unwrap();
    f.accounts.logout(phone.family_id).await.unwrap();
    assert!(matches!(f.accounts.verify(phone.access_token.expose()).await.unwrap_err(), Error::LoginEnded));
    assert!(f.accounts.verify(desk.access_token.expose()).await.is_ok());
    f.accounts.logout_refresh_token(&desk.refresh_token).await.unwrap();
    assert!(matches!(f.accounts.verify(desk.access_token.expose()).await.unwrap_err(), Error::LoginEnded));
}

#[tokio::test]
async fn what_an_administrator_changes_holds_for_tokens_already_given() {
    let f = fixture(AccountsOptions::default()).await;
    let grant = f.ada().await;
    let administration = f.accounts.administration();
    administration.set_role(grant.user.id, Role::Admin).await.unwrap();
    assert_eq!(f.accounts.verify(grant.access_token.expose()).await.unwrap().role, Role::Admin);
    assert!(matches!(administration.set_disabled(grant.user.id, true).await.unwrap_err(), Error::LastAdmin));
    administration.add("root", &secret("correct horse"), Role::Admin).await.unwrap();
    administration.set_disabled(grant.user.id, true).await.unwrap();
    assert!(matches!(f.accounts.verify(grant.access_token.expose()).await.unwrap_err(), Error::Disabled));
    assert!(matches!(f.login("ada", "correct horse").await.unwrap_err(), Error::Disabled));
    assert!(matches!(f.login("ada", "wrong horse").await.unwrap_err(), Error::WrongCredentials));

    administration.set_disabled(grant.user.id, false).await.unwrap();
    administration.set_password(grant.user.id, &secret("battery staple")).await.unwrap();
    assert!(matches!(f.login("ada", "correct horse").await.unwrap_err(), Error::WrongCredentials));
    assert!(f.login("ada", "battery staple").await.is_ok());
    assert!(matches!(administration.find("nobody").await.unwrap_err(), Error::NoSuchUser));
}

#[tokio::test]
async fn logins_are_limited_by_account_and_by_address() {
    let three = Allowance::new(NonZeroU32::new(3).unwrap(), NonZeroU32::new(30).unwrap());
    let two = Allowance::new(NonZeroU32::new(2).unwrap(), NonZeroU32::new(30).unwrap());
    let limits = LoginLimits { per_account: two, per_address: three, registrations_per_address: two };
    let f = fixture(AccountsOptions { limits, ..AccountsOptions::default() }).await;
    f.ada().await;
    for _ in 0..2 {
        f.login("ada", "correct horse").await.unwrap();
    }
    // The account, also by another spelling and from elsewhere; its refusal counts for the address.
    let refused = f.login("ADA", "correct horse").await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(15)));
    let elsewhere = "192.0.2.1".parse().unwrap();
    assert!(matches!(
        f.accounts.login(elsewhere, "ada", &secret("correct horse")).await.unwrap_err(),
        Error::Limited(_)
    ));
    // The address, for whatever account.
    let refused = f.login("bob", "correct horse").await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(10)));
    f.clock.advance(TimeDelta::seconds(15));
    f.login("ada", "correct horse").await.unwrap();

    f.accounts.register(elsewhere, "bob", &secret("correct horse")).await.unwrap();
    f.accounts.register(elsewhere, "eve", &secret("correct horse")).await.unwrap();
    let refused = f.accounts.register(elsewhere, "kim", &secret("correct horse")).await.unwrap_err();
    assert!(matches!(refused, Error::Limited(_)));
}
