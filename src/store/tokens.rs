//! Logins: families of refresh tokens, each exchanged once, and what an access token still stands for.

use chrono::{DateTime, Utc};

use super::account_events::{self, Kind};
use super::connection::{On, Tx};
use super::sql::query;
use super::users::{Role, User, user};
use super::{Error, Store};
use crate::ids::{FamilyId, UserId};

/// The SHA-256 of a refresh token: all that is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// What a new login is made of.
#[derive(Clone, Copy)]
pub struct NewFamily<'a> {
    /// The login's id.
    pub id: FamilyId,
    /// Whose login.
    pub user: UserId,
    /// The hash that the password was checked against: if it is another by now, the check was of an old password.
    pub password_hash: &'a str,
    /// Its first refresh token.
    pub token: TokenHash,
    /// When.
    pub now: DateTime<Utc>,
    /// When the login ends, however often it is refreshed.
    pub expires_at: DateTime<Utc>,
}

/// What presenting a refresh token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was good and is used up; the replacement is its only child.
    Rotated {
        /// Whose login.
        user: User,
        /// Which login.
        family: FamilyId,
        /// When the login ends.
        expires_at: DateTime<Utc>,
    },
    /// The token had been used before: somebody else has a copy, so the whole family has ended now.
    Reused {
        /// Whose login it was.
        user: UserId,
        /// Which login.
        family: FamilyId,
    },
    /// No such token.
    Unknown,
    /// The login is past its end.
    Expired,
    /// The login was ended before: by logout, a re-used token, a new password or an administrator.
    Ended,
}

/// What an access token stands for at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The user's name.
    pub username: String,
    /// The role now, whatever the token says.
    pub role: Role,
    /// The user may not come in.
    pub disabled: bool,
    /// The login exists, has not been ended and is not over.
    pub family_alive: bool,
}

impl Store {
    /// Begins a login. `false`: the user has been disabled, or given another password, since it was checked.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn create_family(&self, new: NewFamily<'_>) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let begun = query(
            "INSERT INTO token_families (id, user_id, created_at, expires_at)
             SELECT $1, id, $2, $3 FROM users WHERE id = $4 AND NOT disabled AND password_hash = $5",
        )
        // Who is about to disable the user or to change the password waits, and then ends this login too.
        .for_share()
        .bind(new.id)
        .bind(new.now)
        .bind(new.expires_at)
        .bind(new.user)
        .bind(new.password_hash)
        .run(&mut tx)
        .await?;
        if begun == 0 {
            return Ok(false);
        }
        insert_token(&mut tx, new.token, new.id).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Exchanges a refresh token for `replacement`, once: of any number of exchanges of one token at the same time, one
    /// succeeds and the next ends the family, that one's child included.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn rotate_token(
        &self,
        presented: TokenHash,
        replacement: TokenHash,
        now: DateTime<Utc>,
    ) -> Result<Rotation, Error> {
        // A guess is refused by a reader: a flood of guesses must not hold up whoever has something to write.
        if family_of(self.reader(), presented).await?.is_none() {
            return Ok(Rotation::Unknown);
        }
        let mut tx = self.begin().await?;
        // Of many at once, the second reads what the first has written.
        let token = query("SELECT used_at, family_id FROM refresh_tokens WHERE token_hash = $1");
        let token = token.bind(presented.0.as_slice()).for_update().first(&mut tx).await?;
        let Some(token) = token else { return Ok(Rotation::Unknown) };
        let (used_at, family): (Option<i64>, FamilyId) = (token.get(0)?, token.get(1)?);
        let row = query(
            "SELECT u.id, u.username, u.role, u.disabled, u.created_at, f.expires_at, f.revoked_at
             FROM token_families f JOIN users u ON u.id = f.user_id WHERE f.id = $1",
        );
        let row = row.bind(family).one(&mut tx).await?;
        let (user, expires_at) = (user(&row, 0)?, row.get::<DateTime<Utc>>(5)?);
        let revoked_at: Option<i64> = row.get(6)?;
        if revoked_at.is_some() || user.disabled {
            return Ok(Rotation::Ended);
        }
        if expires_at <= now {
            return Ok(Rotation::Expired);
        }
        if used_at.is_some() {
            drop(tx);
            self.end_family(family, now).await?;
            return Ok(Rotation::Reused { user: user.id, family });
        }
        query("UPDATE refresh_tokens SET used_at = $2 WHERE token_hash = $1")
            .bind(presented.0.as_slice())
            .bind(now)
            .run(&mut tx)
            .await?;
        insert_token(&mut tx, replacement, family).await?;
        tx.commit().await?;
        Ok(Rotation::Rotated { user, family, expires_at })
    }

    /// Ends a login. `false`: it had ended, or never was.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_family(&self, family: FamilyId, now: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.begin_telling().await?;
        let ended = end(&mut tx, family, now).await?;
        self.commit_telling(tx).await?;
        Ok(ended)
    }

    /// Ends the login that a refresh token, used or not, belongs to. `false`: it had ended, or never was.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_family_of(&self, token: TokenHash, now: DateTime<Utc>) -> Result<bool, Error> {
        match family_of(self.reader(), token).await? {
            Some(family) => self.end_family(family, now).await,
            None => Ok(false),
        }
    }

    /// Ends every login of a user; returns how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_families_of_user(&self, user: UserId, now: DateTime<Utc>) -> Result<u64, Error> {
        let mut tx = self.begin_telling().await?;
        let ended = end_all(&mut tx, user, now, Some(Kind::Logout)).await?;
        self.commit_telling(tx).await?;
        Ok(ended)
    }

    /// What a token of this user and login stands for now. `None`: there is no such user.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn standing(
        &self,
        user: UserId,
        family: FamilyId,
        now: DateTime<Utc>,
    ) -> Result<Option<Standing>, Error> {
        let row = query(
            "SELECT u.username, u.role, u.disabled, f.id IS NOT NULL AS family_alive
             FROM users u LEFT JOIN token_families f
               ON f.id = $2 AND f.user_id = u.id AND f.revoked_at IS NULL AND f.expires_at > $3
             WHERE u.id = $1",
        )
        .bind(user)
        .bind(family)
        .bind(now)
        .first(self.reader())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Standing {
            username: row.get(0)?,
            role: row.get(1)?,
            disabled: row.get(2)?,
            family_alive: row.get(3)?,
        }))
    }

    /// Deletes up to `limit` logins that are past their end, with their tokens; returns how many there were. Keep the
    /// limit low: a login of thirty days brings up to some thousands of tokens, and all go in one transaction.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn prune_families(&self, now: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
        let sql = "DELETE FROM token_families WHERE id IN
                   (SELECT id FROM token_families WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
        query(sql).bind(now).bind(limit).run(self.writer()).await
    }
}

/// Ends every live login of a user, and tells of each if `tell` names a kind; in a transaction that tells.
pub(super) async fn end_all(tx: &mut Tx, user: UserId, now: DateTime<Utc>, tell: Option<Kind>) -> Result<u64, Error> {
    if let Some(kind) = tell {
        // Each by its own id: a login that begins after this must not be closed by the news of it.
        query(
            "INSERT INTO account_events (user_id, family_id, kind, at)
             SELECT user_id, id, $2, $3 FROM token_families
             WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $3",
        )
        .bind(user)
        .bind(kind.name())
        .bind(now)
        .run(&mut *tx)
        .await?;
    }
    let sql = "UPDATE token_families SET revoked_at = $2
               WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2";
    query(sql).bind(user).bind(now).run(tx).await
}

async fn end(tx: &mut Tx, family: FamilyId, now: DateTime<Utc>) -> Result<bool, Error> {
    let sql = "UPDATE token_families SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING user_id";
    let Some(row) = query(sql).bind(family).bind(now).first(&mut *tx).await? else { return Ok(false) };
    account_events::append(tx, row.get(0)?, Kind::Logout, Some(family), now).await?;
    Ok(true)
}

async fn insert_token(tx: &mut Tx, token: TokenHash, family: FamilyId) -> Result<(), Error> {
    let sql = "INSERT INTO refresh_tokens (token_hash, family_id) VALUES ($1, $2)";
    query(sql).bind(token.0.as_slice()).bind(family).run(tx).await?;
    Ok(())
}

async fn family_of(on: On<'_>, token: TokenHash) -> Result<Option<FamilyId>, Error> {
    let sql = "SELECT family_id FROM refresh_tokens WHERE token_hash = $1";
    let row = query(sql).bind(token.0.as_slice()).first(on).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

#[cfg(test)]
mod tests;
