//! Accounts: register, log in, refresh, log out, and who a token speaks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::cluster::rates::Rates;
use crate::config::accounts::AccountsOptions;
use crate::config::secret::Secret;
use crate::ids::{FamilyId, UserId};
use crate::store::tokens::{NewFamily, Rotation};
use crate::store::{self, Store};

pub mod administration;
pub mod jwt;
pub mod keys;
pub mod limits;
pub mod password;
pub mod refresh;
pub mod username;

pub use crate::store::users::{Role, User};
pub use administration::Administration;
pub use keys::Keys;
pub use limits::Limited;
pub use username::Username;

/// Why something about an account was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not allowed.
    #[error(transparent)]
    Username(#[from] username::Error),
    /// The name is somebody's.
    #[error("the username is taken")]
    NameTaken,
    /// The password is not allowed, or could not be hashed now.
    #[error(transparent)]
    Password(#[from] password::Error),
    /// Only an administrator makes accounts here.
    #[error("registration is closed")]
    RegistrationClosed,
    /// No such user, or another password: which of the two is not said.
    #[error("wrong username or password")]
    WrongCredentials,
    /// The password is right, but the user may not come in.
    #[error("the account is disabled")]
    Disabled,
    /// Too many attempts.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The access token is refused.
    #[error(transparent)]
    Token(#[from] jwt::Error),
    /// The access token was good, but the login it came from has ended.
    #[error("the login has been ended: log in again")]
    LoginEnded,
    /// The refresh token is refused.
    #[error(transparent)]
    Refresh(#[from] refresh::Error),
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// It would leave nobody who can administer the server.
    #[error("this is the last administrator: promote somebody else first")]
    LastAdmin,
    /// The operating system gave no randomness to make a token of.
    #[error("no randomness to make a token of")]
    Randomness,
    /// The tables could not be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// How long to wait before trying again, where that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited(limited) => Some(limited.retry_after),
            Self::Password(password::Error::Busy) => Some(password::BUSY_RETRY_AFTER),
            _ => None,
        }
    }
}

/// Who is asking: what a good token of a living login comes to, as the store has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user_id: UserId,
    /// Their name.
    pub username: String,
    /// What they may do now.
    pub role: Role,
    /// The login that they came in by.
    pub family_id: FamilyId,
    /// When the token ends, to the second.
    pub expires_at: DateTime<Utc>,
}

/// What a login comes to.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Proves who is asking, until it expires.
    pub access_token: Secret,
    /// How long the access token is good for.
    pub expires_in: Duration,
    /// Gets the next grant, once.
    pub refresh_token: Secret,
    /// Whose login it is.
    pub user: User,
    /// The login.
    pub family_id: FamilyId,
}

/// The accounts of one data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Accounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    administration: Administration,
    hasher: password::Hasher,
    jwt: jwt::Jwt,
    limits: limits::Limits,
    login_lifetime: TimeDelta,
    registration_open: bool,
}

impl Accounts {
    /// Accounts over these tables, with these keys.
    ///
    /// # Errors
    /// [`Error::Password`] when argon2 refuses its fixed parameters.
    pub fn new(store: Store, clock: Clock, keys: Keys, options: &AccountsOptions) -> Result<Self, Error> {
        let hasher = password::Hasher::new(options.hash_concurrency.get().into(), options.hash_waiting.into())?;
        Ok(Self(Arc::new(Inner {
            administration: Administration::new(store.clone(), clock.clone(), hasher.clone()),
            jwt: jwt::Jwt::new(keys, options, clock.clone()),
            limits: limits::Limits::new(&options.limits, &clock),
            login_lifetime: TimeDelta::days(options.refresh_days.get().into()),
            registration_open: options.registration_open,
            store,
            clock,
            hasher,
        })))
    }

    /// From now on logins and registrations count over all nodes.
    pub fn count_everywhere(&self, rates: Rates) {
        self.0.limits.count_everywhere(rates);
    }

    /// Passwords that are hashed or wait for it, and how many there may be.
    #[must_use]
    pub fn passwords_in_line(&self) -> (usize, usize) {
        self.0.hasher.in_line()
    }

    /// What administrators do with accounts.
    #[must_use]
    pub fn administration(&self) -> &Administration {
        &self.0.administration
    }

    /// Makes an account for whoever asks, and logs them in.
    ///
    /// # Errors
    /// [`Error::RegistrationClosed`], [`Error::Limited`], [`Error::Username`], [`Error::Password`],
    /// [`Error::NameTaken`].
    pub async fn register(&self, from: IpAddr, username: &str, password: &Secret) -> Result<Grant, Error> {
        let inner = &*self.0;
        if !inner.registration_open {
            return Err(Error::RegistrationClosed);
        }
        inner.limits.registration_from(from).await?;
        let username = Username::parse(username)?;
        let (user, hash) = inner.administration.create(&username, password, Role::User).await?;
        tracing::info!(user_id = %user.id, address = %from, "user registered");
        self.begin(user, &hash).await
    }

    /// Checks a password and begins a login.
    ///
    /// # Errors
    /// [`Error::Limited`], [`Error::Password`] when busy, [`Error::WrongCredentials`], [`Error::Disabled`].
    pub async fn login(&self, from: IpAddr, username: &str, password: &Secret) -> Result<Grant, Error> {
        let inner = &*self.0;
        inner.limits.login_from(from).await?;
        // Nobody has such a name, so to say no at once says nothing about anybody.
        let username = Username::parse(username).map_err(|_| Error::WrongCredentials)?;
        inner.limits.login_of(username.key()).await?;
        let found = inner.store.credentials(username.key()).await?;
        let right = inner.hasher.verify(password, found.as_ref().map(|found| found.password_hash.as_str())).await?;
        let Some(found) = found.filter(|_| right) else {
            tracing::info!(address = %from, "login refused: wrong username or password");
            return Err(Error::WrongCredentials);
        };
        if found.user.disabled {
            tracing::info!(user_id = %found.user.id, address = %from, "login refused: disabled");
            return Err(Error::Disabled);
        }
        self.begin(found.user, &found.password_hash).await
    }

    /// Exchanges a refresh token for the next grant of its login. A token that was exchanged before ends the login.
    ///
    /// # Errors
    /// [`Error::Refresh`] says why not; after it only a new login helps.
    pub async fn refresh(&self, token: &Secret) -> Result<Grant, Error> {
        let inner = &*self.0;
        let next = refresh::fresh().ok_or(Error::Randomness)?;
        let rotation = inner.store.rotate_token(refresh::hash(token), refresh::hash(&next), inner.clock.now()).await?;
        match rotation {
            Rotation::Rotated { user, family, expires_at } => self.grant(user, family, expires_at, next),
            Rotation::Reused { user, family } => {
                tracing::warn!(user_id = %user, family_id = %family, "refresh token used twice: login ended");
                Err(refresh::Error::Reused.into())
            }
            Rotation::Unknown => Err(refresh::Error::Unknown.into()),
            Rotation::Expired => Err(refresh::Error::Expired.into()),
            Rotation::Ended => Err(refresh::Error::Ended.into()),
        }
    }

    /// Ends a login: its refresh tokens, and its access tokens too, at once.
    ///
    /// # Errors
    /// [`Error::Store`]. That it had ended before is no error.
    pub async fn logout(&self, family: FamilyId) -> Result<(), Error> {
        self.0.store.end_family(family, self.0.clock.now()).await?;
        Ok(())
    }

    /// Ends the login of a refresh token, used or not: for a client whose access token is over.
    ///
    /// # Errors
    /// [`Error::Store`]. That there is no such token is no error: there is nothing left to end.
    pub async fn logout_refresh_token(&self, token: &Secret) -> Result<(), Error> {
        self.0.store.end_family_of(refresh::hash(token), self.0.clock.now()).await?;
        Ok(())
    }

    /// Who an access token speaks for, by the tables as they are now: a login that has ended, a user who was disabled
    /// or a role that was taken away count from the next call on.
    ///
    /// # Errors
    /// [`Error::Token`] names what is wrong with the token, [`Error::LoginEnded`], [`Error::Disabled`].
    pub async fn verify(&self, access_token: &str) -> Result<Identity, Error> {
        let inner = &*self.0;
        let claims = inner.jwt.verify(access_token)?;
        let (user_id, family_id) = (claims.user_id, claims.family_id);
        let standing = inner.store.standing(user_id, family_id, inner.clock.now()).await?.ok_or(Error::LoginEnded)?;
        if standing.disabled {
            return Err(Error::Disabled);
        }
        if !standing.family_alive {
            return Err(Error::LoginEnded);
        }
        let (username, role) = (standing.username, standing.role);
        Ok(Identity { user_id, username, role, family_id, expires_at: claims.expires_at })
    }

    async fn begin(&self, user: User, password_hash: &str) -> Result<Grant, Error> {
        let inner = &*self.0;
        let token = refresh::fresh().ok_or(Error::Randomness)?;
        let now = inner.clock.now();
        let (id, expires_at) = (FamilyId::fresh(), now + inner.login_lifetime);
        let new = NewFamily { id, user: user.id, password_hash, token: refresh::hash(&token), now, expires_at };
        if !inner.store.create_family(new).await? {
            // Disabled, or given another password, while this one was being checked.
            return Err(Error::WrongCredentials);
        }
        tracing::info!(user_id = %user.id, family_id = %id, "logged in");
        self.grant(user, id, expires_at, token)
    }

    fn grant(
        &self,
        user: User,
        family_id: FamilyId,
        login_ends: DateTime<Utc>,
        refresh_token: Secret,
    ) -> Result<Grant, Error> {
        let now = self.0.clock.now();
        let (access_token, claims) = self.0.jwt.sign(user.id, family_id, user.role, login_ends)?;
        let expires_in = (claims.expires_at - now).to_std().unwrap_or_default();
        Ok(Grant { access_token, expires_in, refresh_token, user, family_id })
    }
}

#[cfg(test)]
mod tests;
