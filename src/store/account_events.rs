//! What changed about accounts, in order, so that a running node hears of what another process did.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::connection::{Dialect, Tx};
use super::sql::query;
use super::{Error, Store};
use crate::ids::{FamilyId, UserId};

/// The advisory lock of transactions that write events, in Postgres: any number that no other program takes there.
const LOCK: i64 = 0x7061_726c_6f72_0001;

/// A change that a running node must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The user may not come in any more: close every socket of theirs.
    Disabled,
    /// One login ended: close the sockets that came in by it.
    Logout(FamilyId),
    /// The user's role is another: read it again before trusting what is remembered.
    Role,
    /// The user's scripts or auto-reply are others: forget what is remembered of them.
    Automation,
    /// Something that only a newer Parlor knows.
    Unknown,
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

/// The kinds that this Parlor writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Disabled,
    Logout,
    Role,
    Automation,
}

impl Kind {
    /// As the table spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Logout => "logout",
            Self::Role => "role",
            Self::Automation => "automation",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Disabled, Self::Logout, Self::Role, Self::Automation].into_iter().find(|kind| kind.name() == name)
    }
}

/// Writes an event in the transaction of what it tells of: either both are there or neither. The transaction was begun by
/// [`Store::begin_telling`].
pub(super) async fn append(
    tx: &mut Tx,
    user: UserId,
    kind: Kind,
    family: Option<FamilyId>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    query("INSERT INTO account_events (user_id, family_id, kind, at) VALUES ($1, $2, $3, $4)")
        .bind(user)
        .bind(family)
        .bind(kind.name())
        .bind(now)
        .run(&mut *tx)
        .await?;
    Ok(())
}

impl Store {
    /// A transaction that will write events. On Postgres there is one at a time, until its end: so the order of ids is the
    /// order of commits, and whoever asks for what comes after an id misses none. To be begun before anything else is
    /// locked, or two may wait for each other.
    pub(super) async fn begin_telling(&self) -> Result<Tx, Error> {
        let mut tx = self.begin().await?;
        if self.dialect() == Dialect::Postgres {
            query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).run(&mut tx).await?;
        }
        Ok(tx)
    }

    /// Makes so what a transaction of [`Store::begin_telling`] changed, and says that there may be something to hear.
    pub(super) async fn commit_telling(&self, tx: Tx) -> Result<(), Error> {
        tx.commit().await?;
        self.told.notify_one();
        Ok(())
    }

    /// Told whenever this process may have written an event; for one listener.
    #[must_use]
    pub fn events_written(&self) -> Arc<Notify> {
        self.told.clone()
    }

    /// Up to `limit` events after `id`, oldest first. Ask again from the last one's id until none come.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn account_events_after(&self, id: i64, limit: u32) -> Result<Vec<AccountEvent>, Error> {
        let rows = query("SELECT id, user_id, family_id, kind FROM account_events WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = rows.bind(id).bind(limit).all(self.reader()).await?;
        rows.iter()
            .map(|row| {
                let id = row.get(0)?;
                let change = match (Kind::of(row.get(3)?), row.get(2)?) {
                    (Some(Kind::Disabled), _) => Change::Disabled,
                    (Some(Kind::Role), _) => Change::Role,
                    (Some(Kind::Automation), _) => Change::Automation,
                    (Some(Kind::Logout), Some(family)) => Change::Logout(family),
                    (Some(Kind::Logout), None) => {
                        return Err(Error::Corrupt {
                            what: "account event",
                            detail: format!("event {id} is a logout of no login"),
                        });
                    }
                    (None, _) => Change::Unknown,
                };
                Ok(AccountEvent { id, user_id: row.get(1)?, change })
            })
            .collect()
    }

    /// The id of the newest event ever written, 0 before the first: where a node that starts now begins to listen.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn last_account_event_id(&self) -> Result<i64, Error> {
        // Not max(id): events are pruned, and a node must never go back behind what it has seen.
        match self.dialect() {
            Dialect::Sqlite => {
                let last = query("SELECT seq FROM sqlite_sequence WHERE name = 'account_events'");
                let last = last.first(self.reader()).await?;
                Ok(last.map_or(Ok(0), |row| row.get(0))?)
            }
            Dialect::Postgres => {
                // Nobody is about to commit an event of this id or a smaller one.
                let mut tx = self.begin_telling().await?;
                let last = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM account_events_id_seq";
                let last = query(last).one(&mut tx).await?.get(0)?;
                tx.commit().await?;
                Ok(last)
            }
        }
    }

    /// Deletes up to `limit` events from before `before`, oldest first; returns how many there were.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn prune_account_events(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
        let sql = "DELETE FROM account_events WHERE id IN
                   (SELECT id FROM account_events WHERE at < $1 ORDER BY at LIMIT $2)";
        query(sql).bind(before).bind(limit).run(self.writer()).await
    }
}
