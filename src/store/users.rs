//! The users: who there is, what they may do, and whether they may come in.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sql::{Column, Record, query};
use super::{Error, Store};
use crate::ids::UserId;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends, reads, and scripts for themselves.
    User,
    /// Also looks after the other users and the nodes.
    Admin,
}

impl Role {
    /// As the table and the interface spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a table may line it up.
        f.pad(self.name())
    }
}

impl<'r> Column<'r> for Role {
    fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
        let name: &str = record.get(at)?;
        let known = [Self::User, Self::Admin].into_iter().find(|role| role.name() == name);
        known.ok_or_else(|| sqlx::Error::Decode(format!("{name:?} is no role").into()))
    }
}

/// An account, without what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Given by the store, never used twice.
    pub id: UserId,
    /// As typed at registration.
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// May not log in, and has no live session.
    pub disabled: bool,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
}

/// An account with its password hash. Not `Debug`: the hash belongs in no log.
#[derive(Clone)]
pub struct Credentials {
    /// Whose they are.
    pub user: User,
    /// An argon2id PHC string.
    pub password_hash: String,
}

/// What a new account is made of.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    /// As typed.
    pub username: &'a str,
    /// What makes the name unique, see `accounts::Username`.
    pub username_key: &'a str,
    /// An argon2id PHC string.
    pub password_hash: &'a str,
    /// What they may do.
    pub role: Role,
    /// When.
    pub now: DateTime<Utc>,
}

/// Some users in the order of their name keys, and where the rest begins.
#[derive(Clone, Debug, Default)]
pub struct UserPage {
    /// At most as many as were asked for.
    pub items: Vec<User>,
    /// The key to ask on from, if there are more.
    pub next: Option<String>,
}

/// Which users to list.
#[derive(Clone, Copy, Debug)]
pub struct UserQuery<'a> {
    /// What the name key begins with; empty: anything.
    pub prefix: &'a str,
    /// The `next` of the page before.
    pub after: Option<&'a str>,
    /// Whether users who may not log in are listed too.
    pub with_disabled: bool,
    /// How many at most.
    pub limit: u32,
}

/// A query for whole [`User`]s, to be read by [`user`].
macro_rules! select_users {
    ($rest:literal) => {
        concat!("SELECT id, username, role, disabled, created_at FROM users ", $rest)
    };
}
pub(super) use select_users;

impl Store {
    /// Makes an account. `None`: the name is taken.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn create_user(&self, new: NewUser<'_>) -> Result<Option<User>, Error> {
        let row = query(
            "INSERT INTO users (username, username_key, password_hash, role, disabled, created_at)
             VALUES ($1, $2, $3, $4, FALSE, $5) ON CONFLICT DO NOTHING
             RETURNING id, username, role, disabled, created_at",
        )
        .bind(new.username)
        .bind(new.username_key)
        .bind(new.password_hash)
        .bind(new.role.name())
        .bind(new.now)
        .first(self.writer())
        .await?;
        row.as_ref().map(|row| user(row, 0)).transpose()
    }

    /// The account of that name key, with its password hash.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn credentials(&self, username_key: &str) -> Result<Option<Credentials>, Error> {
        let row =
            query("SELECT id, username, role, disabled, created_at, password_hash FROM users WHERE username_key = $1");
        let Some(row) = row.bind(username_key).first(self.reader()).await? else { return Ok(None) };
        Ok(Some(Credentials { user: user(&row, 0)?, password_hash: row.get(5)? }))
    }

    /// The user of that name key.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn user_by_key(&self, username_key: &str) -> Result<Option<User>, Error> {
        let row = query(select_users!("WHERE username_key = $1")).bind(username_key).first(self.reader()).await?;
        row.as_ref().map(|row| user(row, 0)).transpose()
    }

    /// The user of that id.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        let row = query(select_users!("WHERE id = $1")).bind(id).first(self.reader()).await?;
        row.as_ref().map(|row| user(row, 0)).transpose()
    }

    /// Those of the named users who exist, disabled or not, in the order of their ids. The caller bounds `ids`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = query(select_users!("WHERE id IN (@) ORDER BY id")).among(ids).all(self.reader()).await?;
        rows.iter().map(|row| user(row, 0)).collect()
    }

    /// Those of the named users whom nobody has ever been, once each, ascending. A disabled user is not missing: a
    /// group does not fall silent because one of its members was switched off. The caller bounds `ids`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn missing_users(&self, ids: &[UserId]) -> Result<Vec<UserId>, Error> {
        let mut missing = ids.to_vec();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(missing);
        }
        let rows = query("SELECT id FROM users WHERE id IN (@)").among(&missing).all(self.reader()).await?;
        let there = rows.iter().map(|row| row.get(0)).collect::<Result<Vec<UserId>, _>>()?;
        missing.retain(|id| !there.contains(id));
        Ok(missing)
    }

    /// A page of users in the order of their name keys.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn list_users(&self, asked: UserQuery<'_>) -> Result<UserPage, Error> {
        // No name has U+0000 in it, and Postgres takes no text that does.
        if asked.prefix.contains('\0') {
            return Ok(UserPage::default());
        }
        let after = asked.after.and_then(|after| after.split('\0').next()).unwrap_or_default();
        // Keys compare by bytes; no key holds the last code point, so this is just above all that begin with the prefix.
        let above = format!("{}{}", asked.prefix, char::MAX);
        let rows = query(
            "SELECT id, username, role, disabled, created_at, username_key FROM users
             WHERE username_key >= $1 AND username_key < $2 AND username_key <> $3 AND (NOT disabled OR $4)
             ORDER BY username_key LIMIT $5",
        );
        let rows = rows.bind(asked.prefix.max(after)).bind(above.as_str()).bind(after).bind(asked.with_disabled);
        let mut rows = rows.bind(i64::from(asked.limit) + 1).all(self.reader()).await?;
        let limit = asked.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(row) if more => Some(row.get(5)?),
            _ => None,
        };
        let items = rows.iter().map(|row| user(row, 0)).collect::<Result<_, _>>()?;
        Ok(UserPage { items, next })
    }
}

/// Reads id, name, role, whether disabled, and when made, from `first` on.
pub(super) fn user(row: &Record, first: usize) -> Result<User, Error> {
    Ok(User {
        id: row.get(first)?,
        username: row.get(first + 1)?,
        role: row.get(first + 2)?,
        disabled: row.get(first + 3)?,
        created_at: row.get(first + 4)?,
    })
}

#[cfg(test)]
mod tests;
