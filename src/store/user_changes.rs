//! What is changed about a user by those who may, and told to the nodes in the same transaction.

use chrono::{DateTime, Utc};

use super::account_events::{self, Kind};
use super::connection::Tx;
use super::sql::query;
use super::users::{Role, User, select_users, user};
use super::{Error, Store, tokens};
use crate::ids::UserId;

/// What an administrative change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is done.
    Done,
    /// It was so already.
    Unchanged,
    /// There is no such user.
    NoSuchUser,
    /// Refused: it would leave nobody who can administer the server.
    LastAdmin,
}

impl Store {
    /// Sets a new password hash and ends every login of the user. `false`: there is no such user.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_password(&self, id: UserId, hash: &str, now: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.begin_telling().await?;
        let sql = "UPDATE users SET password_hash = $2 WHERE id = $1";
        let found = query(sql).bind(id).bind(hash).run(&mut tx).await? == 1;
        tokens::end_all(&mut tx, id, now, Some(Kind::Logout)).await?;
        self.commit_telling(tx).await?;
        Ok(found)
    }

    /// Lets a user in or keeps them out; keeping them out ends every login of theirs.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_disabled(&self, id: UserId, disabled: bool, now: DateTime<Utc>) -> Result<Change, Error> {
        let mut tx = self.begin_telling().await?;
        let Some(user) = locked(&mut tx, id).await? else { return Ok(Change::NoSuchUser) };
        if user.disabled == disabled {
            return Ok(Change::Unchanged);
        }
        if disabled && is_last_admin(&mut tx, &user).await? {
            return Ok(Change::LastAdmin);
        }
        let sql = "UPDATE users SET disabled = $2 WHERE id = $1";
        query(sql).bind(id).bind(disabled).run(&mut tx).await?;
        if disabled {
            // One event says it all: whoever hears it closes every socket of the user.
            tokens::end_all(&mut tx, id, now, None).await?;
            account_events::append(&mut tx, id, Kind::Disabled, None, now).await?;
        }
        self.commit_telling(tx).await?;
        Ok(Change::Done)
    }

    /// Gives a user a role. It holds from their next request on; no login ends.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_role(&self, id: UserId, role: Role, now: DateTime<Utc>) -> Result<Change, Error> {
        let mut tx = self.begin_telling().await?;
        let Some(user) = locked(&mut tx, id).await? else { return Ok(Change::NoSuchUser) };
        if user.role == role {
            return Ok(Change::Unchanged);
        }
        if is_last_admin(&mut tx, &user).await? {
            return Ok(Change::LastAdmin);
        }
        query("UPDATE users SET role = $2 WHERE id = $1").bind(id).bind(role.name()).run(&mut tx).await?;
        account_events::append(&mut tx, id, Kind::Role, None, now).await?;
        self.commit_telling(tx).await?;
        Ok(Change::Done)
    }
}

async fn locked(tx: &mut Tx, id: UserId) -> Result<Option<User>, Error> {
    let row = query(select_users!("WHERE id = $1")).bind(id).for_update().first(tx).await?;
    row.as_ref().map(|row| user(row, 0)).transpose()
}

/// Whether nobody else could administer the server. A disabled admin cannot, so taking one away takes nothing. Two who
/// are about to go at once do not both count on each other: of transactions that tell, there is one at a time.
async fn is_last_admin(tx: &mut Tx, user: &User) -> Result<bool, Error> {
    if user.role != Role::Admin || user.disabled {
        return Ok(false);
    }
    let others = query("SELECT count(*) FROM users WHERE role = 'admin' AND NOT disabled AND id <> $1");
    let others: i64 = others.bind(user.id).one(tx).await?.get(0)?;
    Ok(others == 0)
}
