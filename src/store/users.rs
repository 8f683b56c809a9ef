//! The users: who there is, what they may do, and whether they may come in.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, QueryBuilder, Row, Sqlite};
use utoipa::ToSchema;

use super::rows::time;
use super::{Error, Store};
use crate::ids::UserId;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub enum Role {
    /// Sends, reads, and scripts for themselves.
    User,
    /// Also looks after the other users and the nodes.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a table may line it up.
        f.pad(match self {
            Self::User => "user",
            Self::Admin => "admin",
        })
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

impl Store {
    /// Makes an account. `None`: the name is taken.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn create_user(&self, new: NewUser<'_>) -> Result<Option<User>, Error> {
        let user = sqlx::query_as(
            "INSERT INTO users (username, username_key, password_hash, role, disabled, created_at)
             VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT DO NOTHING
             RETURNING id, username, role, disabled, created_at",
        )
        .bind(new.username)
        .bind(new.username_key)
        .bind(new.password_hash)
        .bind(new.role)
        .bind(new.now.timestamp_millis())
        .fetch_optional(&self.writer)
        .await?;
        Ok(user)
    }

    /// The account of that name key, with its password hash.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn credentials(&self, username_key: &str) -> Result<Option<Credentials>, Error> {
        let row = sqlx::query(
            "SELECT id, username, role, disabled, created_at, password_hash FROM users WHERE username_key = $1",
        )
        .bind(username_key)
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Credentials { user: User::from_row(&row)?, password_hash: row.try_get("password_hash")? }))
    }

    /// The user of that name key.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn user_by_key(&self, username_key: &str) -> Result<Option<User>, Error> {
        let sql = "SELECT id, username, role, disabled, created_at FROM users WHERE username_key = $1";
        Ok(sqlx::query_as(sql).bind(username_key).fetch_optional(&self.reader).await?)
    }

    /// The user of that id.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn user(&self, id: UserId) -> Result<Option<User>, Error> {
        let sql = "SELECT id, username, role, disabled, created_at FROM users WHERE id = $1";
        Ok(sqlx::query_as(sql).bind(id.0).fetch_optional(&self.reader).await?)
    }

    /// Those of the named users who exist, disabled or not, in the order of their ids. The caller bounds `ids`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn users(&self, ids: &[UserId]) -> Result<Vec<User>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id, username, role, disabled, created_at FROM users");
        push_ids(&mut query, ids);
        Ok(query.push(" ORDER BY id").build_query_as().fetch_all(&self.reader).await?)
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
        let mut query = QueryBuilder::<Sqlite>::new("SELECT id FROM users");
        push_ids(&mut query, &missing);
        let there: Vec<i64> = query.build_query_scalar().fetch_all(&self.reader).await?;
        missing.retain(|id| !there.contains(&id.0));
        Ok(missing)
    }

    /// A page of users in the order of their name keys.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn list_users(&self, query: UserQuery<'_>) -> Result<UserPage, Error> {
        let after = query.after.unwrap_or_default();
        // Keys compare by bytes; no key holds the last code point, so this is just above all that begin with the prefix.
        let above = format!("{}{}", query.prefix, char::MAX);
        let mut rows = sqlx::query(
            "SELECT id, username, username_key, role, disabled, created_at FROM users
             WHERE username_key >= $1 AND username_key < $2 AND username_key <> $3 AND (disabled = 0 OR $4)
             ORDER BY username_key LIMIT $5",
        )
        .bind(query.prefix.max(after))
        .bind(above)
        .bind(after)
        .bind(query.with_disabled)
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&self.reader)
        .await?;
        let limit = query.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some(row) if more => Some(row.try_get("username_key")?),
            _ => None,
        };
        let items = rows.iter().map(User::from_row).collect::<Result<_, _>>()?;
        Ok(UserPage { items, next })
    }
}

impl FromRow<'_, SqliteRow> for User {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: UserId(row.try_get("id")?),
            username: row.try_get("username")?,
            role: row.try_get("role")?,
            disabled: row.try_get("disabled")?,
            created_at: time(row.try_get("created_at")?),
        })
    }
}

fn push_ids(query: &mut QueryBuilder<Sqlite>, ids: &[UserId]) {
    let mut list = query.push(" WHERE id IN (").separated(", ");
    for id in ids {
        list.push_bind(id.0);
    }
    list.push_unseparated(")");
}

#[cfg(test)]
mod tests;
