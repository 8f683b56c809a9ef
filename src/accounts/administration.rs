//! What administrators do with accounts, over HTTP or on the command line beside a running server.

use super::password::Hasher;
use super::{Error, Role, User, Username, password, username};
use crate::clock::Clock;
use crate::config::secret::Secret;
use crate::ids::UserId;
use crate::store::Store;
use crate::store::user_changes::Change;
use crate::store::users::{NewUser, UserPage, UserQuery};

/// The administration of the accounts of one data folder. Cheap to clone.
///
/// What it changes holds at once: each request reads how things stand, and running nodes hear of it from the store.
#[derive(Clone, Debug)]
pub struct Administration {
    store: Store,
    clock: Clock,
    hasher: Hasher,
}

impl Administration {
    /// Over these tables. Without a server around it, see [`Administration::alone`].
    #[must_use]
    pub fn new(store: Store, clock: Clock, hasher: Hasher) -> Self {
        Self { store, clock, hasher }
    }

    /// For a process that does one thing at a time.
    ///
    /// # Errors
    /// [`Error::Password`] when argon2 refuses its fixed parameters.
    pub fn alone(store: Store, clock: Clock) -> Result<Self, Error> {
        Ok(Self::new(store, clock, Hasher::new(1, 0)?))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Username`], [`Error::Password`], [`Error::NameTaken`].
    pub async fn add(&self, name: &str, password: &Secret, role: Role) -> Result<User, Error> {
        let (user, _) = self.create(&Username::parse(name)?, password, role).await?;
        Ok(user)
    }

    /// Makes an account and returns the password's hash with it.
    pub(super) async fn create(
        &self,
        username: &Username,
        password: &Secret,
        role: Role,
    ) -> Result<(User, String), Error> {
        password::check(password)?;
        // Before the slow part; what counts is the insert below, which sees also whoever came in between.
        if self.store.user_by_key(username.key()).await?.is_some() {
            return Err(Error::NameTaken);
        }
        let password_hash = self.hasher.hash(password).await?;
        let new = NewUser {
            username: username.as_str(),
            username_key: username.key(),
            password_hash: &password_hash,
            role,
            now: self.clock.now(),
        };
        let user = self.store.create_user(new).await?.ok_or(Error::NameTaken)?;
        Ok((user, password_hash))
    }

    /// The user of that name.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`].
    pub async fn find(&self, name: &str) -> Result<User, Error> {
        self.store.user_by_key(&username::fold(name)).await?.ok_or(Error::NoSuchUser)
    }

    /// A page of users, disabled ones too, whose names begin with `search`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, search: &str, after: Option<&str>, limit: u32) -> Result<UserPage, Error> {
        let prefix = username::fold(search);
        Ok(self.store.list_users(UserQuery { prefix: &prefix, after, with_disabled: true, limit }).await?)
    }

    /// Gives a user another password, and ends every login of theirs.
    ///
    /// # Errors
    /// [`Error::Password`], [`Error::NoSuchUser`].
    pub async fn set_password(&self, id: UserId, password: &Secret) -> Result<(), Error> {
        let hash = self.hasher.hash(password).await?;
        if !self.store.set_password(id, &hash, self.clock.now()).await? {
            return Err(Error::NoSuchUser);
        }
        Ok(())
    }

    /// Lets a user in, or keeps them out and ends every login of theirs.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::LastAdmin`].
    pub async fn set_disabled(&self, id: UserId, disabled: bool) -> Result<User, Error> {
        let change = self.store.set_disabled(id, disabled, self.clock.now()).await?;
        self.changed(id, change).await
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// [`Error::NoSuchUser`], [`Error::LastAdmin`].
    pub async fn set_role(&self, id: UserId, role: Role) -> Result<User, Error> {
        let change = self.store.set_role(id, role, self.clock.now()).await?;
        self.changed(id, change).await
    }

    async fn changed(&self, id: UserId, change: Change) -> Result<User, Error> {
        match change {
            Change::NoSuchUser => Err(Error::NoSuchUser),
            Change::LastAdmin => Err(Error::LastAdmin),
            Change::Done | Change::Unchanged => self.store.user(id).await?.ok_or(Error::NoSuchUser),
        }
    }
}
