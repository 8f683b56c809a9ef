//! What changed about accounts, in order, so that a running node hears of what another process did.

use chrono::{DateTime, Utc};
use sqlx::{Row, Sqlite, Transaction};
use uuid::Uuid;

use super::{Error, Store};
use crate::ids::{FamilyId, UserId};

/// A change that a running node must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The user may not come in any more: close every socket of theirs.
    Disabled,
    /// One login ended: close the sockets that came in by it.
    Logout(FamilyId),
    /// The user's role is another: read it again before trusting what is remembered.
    Role,
}

/// One change and its place in the order of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountEvent {
    /// Ascending; ask for what comes after it.
    pub id: i64,
    /// Whose account changed.
    pub user_id: UserId,
    /// What happened.
    pub change: Change,
}

/// The kinds as the table spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(rename_all = "lowercase")]
pub(super) enum Kind {
    Disabled,
    Logout,
    Role,
}

/// Writes an event in the transaction of what it tells of: either both are there or neither.
pub(super) async fn append(
    tx: &mut Transaction<'_, Sqlite>,
    user: UserId,
    kind: Kind,
    family: Option<FamilyId>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query("INSERT INTO account_events (user_id, family_id, kind, at) VALUES ($1, $2, $3, $4)")
        .bind(user.0)
        .bind(family.map(|family| family.0))
        .bind(kind)
        .bind(now.timestamp_millis())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Store {
    /// Up to `limit` events after `id`, oldest first. Ask again from the last one's id until none come.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn account_events_after(&self, id: i64, limit: u32) -> Result<Vec<AccountEvent>, Error> {
        let rows =
            sqlx::query("SELECT id, user_id, family_id, kind FROM account_events WHERE id > $1 ORDER BY id LIMIT $2")
                .bind(id)
                .bind(limit)
                .fetch_all(&self.reader)
                .await?;
        rows.iter()
            .map(|row| {
                let id = row.try_get("id")?;
                let family: Option<Uuid> = row.try_get("family_id")?;
                let change = match (row.try_get("kind")?, family) {
                    (Kind::Disabled, _) => Change::Disabled,
                    (Kind::Role, _) => Change::Role,
                    (Kind::Logout, Some(family)) => Change::Logout(FamilyId(family)),
                    (Kind::Logout, None) => {
                        return Err(Error::Corrupt {
                            what: "account event",
                            detail: format!("event {id} is a logout of no login"),
                        });
                    }
                };
                Ok(AccountEvent { id, user_id: UserId(row.try_get("user_id")?), change })
            })
            .collect()
    }

    /// The id of the newest event ever written, 0 before the first: where a node that starts now begins to listen.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn last_account_event_id(&self) -> Result<i64, Error> {
        // Not max(id): events are pruned, and a node must never go back behind what it has seen.
        let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'account_events'";
        let last: Option<i64> = sqlx::query_scalar(sql).fetch_optional(&self.reader).await?;
        Ok(last.unwrap_or(0))
    }

    /// Deletes up to `limit` events from before `before`, oldest first; returns how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn prune_account_events(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
        let sql = "DELETE FROM account_events WHERE id IN
                   (SELECT id FROM account_events WHERE at < $1 ORDER BY at LIMIT $2)";
        let done = sqlx::query(sql).bind(before.timestamp_millis()).bind(limit).execute(&self.writer).await?;
        Ok(done.rows_affected())
    }
}
