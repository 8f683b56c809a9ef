//! What is changed about a user by those who may, and told to the nodes in the same transaction.

use chrono::{DateTime, Utc};
use sqlx::{Sqlite, Transaction};

use super::account_events::{self, Kind};
use super::users::{Role, User};
use super::{Error, IMMEDIATE, Store, tokens};
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
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let sql = "UPDATE users SET password_hash = $2 WHERE id = $1";
        let found = sqlx::query(sql).bind(id.0).bind(hash).execute(&mut *tx).await?.rows_affected() == 1;
        tokens::end_all(&mut tx, id, now, Some(Kind::Logout)).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Lets a user in or keeps them out; keeping them out ends every login of theirs.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_disabled(&self, id: UserId, disabled: bool, now: DateTime<Utc>) -> Result<Change, Error> {
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let Some(user) = locked(&mut tx, id).await? else { return Ok(Change::NoSuchUser) };
        if user.disabled == disabled {
            return Ok(Change::Unchanged);
        }
        if disabled && is_last_admin(&mut tx, &user).await? {
            return Ok(Change::LastAdmin);
        }
        let sql = "UPDATE users SET disabled = $2 WHERE id = $1";
        sqlx::query(sql).bind(id.0).bind(disabled).execute(&mut *tx).await?;
        if disabled {
            // One event says it all: whoever hears it closes every socket of the user.
            tokens::end_all(&mut tx, id, now, None).await?;
            account_events::append(&mut tx, id, Kind::Disabled, None, now).await?;
        }
        tx.commit().await?;
        Ok(Change::Done)
    }

    /// Gives a user a role. It holds from their next request on; no login ends.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_role(&self, id: UserId, role: Role, now: DateTime<Utc>) -> Result<Change, Error> {
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let Some(user) = locked(&mut tx, id).await? else { return Ok(Change::NoSuchUser) };
        if user.role == role {
            return Ok(Change::Unchanged);
        }
        if is_last_admin(&mut tx, &user).await? {
            return Ok(Change::LastAdmin);
        }
        sqlx::query("UPDATE users SET role = $2 WHERE id = $1").bind(id.0).bind(role).execute(&mut *tx).await?;
        account_events::append(&mut tx, id, Kind::Role, None, now).await?;
        tx.commit().await?;
        Ok(Change::Done)
    }
}

async fn locked(tx: &mut Transaction<'_, Sqlite>, id: UserId) -> Result<Option<User>, Error> {
    let sql = "SELECT id, username, role, disabled, created_at FROM users WHERE id = $1";
    Ok(sqlx::query_as(sql).bind(id.0).fetch_optional(&mut **tx).await?)
}

/// Whether nobody else could administer the server. A disabled admin cannot, so taking one away takes nothing.
async fn is_last_admin(tx: &mut Transaction<'_, Sqlite>, user: &User) -> Result<bool, Error> {
    if user.role != Role::Admin || user.disabled {
        return Ok(false);
    }
    let sql = "SELECT count(*) FROM users WHERE role = 'admin' AND disabled = 0 AND id <> $1";
    let others: i64 = sqlx::query_scalar(sql).bind(user.id.0).fetch_one(&mut **tx).await?;
    Ok(others == 0)
}
