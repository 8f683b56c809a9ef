//! What another service switches on and off by the control topics.

use chrono::{DateTime, Utc};

use super::account_events::{self, Kind};
use super::connection::Tx;
use super::sql::{Body, query};
use super::{Error, Store};
use crate::ids::UserId;
use crate::script::call::Direction;
use crate::store::auto_reply::DEFAULT_REPEAT_AFTER_SECONDS;

/// Something to change about a user's automation; what it does not name stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The text of the auto-reply.
    Text(String),
    /// Whether the auto-reply answers.
    AutoReply(bool),
    /// Whether the script of that direction runs: the version that was chosen last, or else the newest.
    Script(Direction, bool),
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is so now.
    Done,
    /// There is no such user.
    NoUser,
    /// The user has no script of that direction.
    NoScript,
}

impl Store {
    /// Changes something for a user, in one transaction.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn control(&self, user: UserId, change: &Change, now: DateTime<Utc>) -> Result<Changed, Error> {
        let mut tx = self.begin_telling().await?;
        if query("SELECT 1 FROM users WHERE id = $1").bind(user).first(&mut tx).await?.is_none() {
            return Ok(Changed::NoUser);
        }
        let changed = match change {
            Change::Text(text) => set_auto_reply(&mut tx, user, Some(text), None, now).await?,
            Change::AutoReply(enabled) => set_auto_reply(&mut tx, user, None, Some(*enabled), now).await?,
            Change::Script(direction, active) => set_script(&mut tx, user, *direction, *active, now).await?,
        };
        if changed == Changed::Done {
            account_events::append(&mut tx, user, Kind::Automation, None, now).await?;
        }
        self.commit_telling(tx).await?;
        Ok(changed)
    }
}

async fn set_auto_reply(
    tx: &mut Tx,
    user: UserId,
    text: Option<&str>,
    enabled: Option<bool>,
    now: DateTime<Utc>,
) -> Result<Changed, Error> {
    query(
        "INSERT INTO auto_replies (user_id, enabled, text, repeat_after_seconds, changed_at)
         VALUES ($1, coalesce($2, FALSE), coalesce($3, ''), $4, $5)
         ON CONFLICT (user_id) DO UPDATE SET enabled = coalesce($2, auto_replies.enabled),
         text = coalesce($3, auto_replies.text), changed_at = excluded.changed_at",
    )
    .bind(user)
    .bind(enabled)
    .bind(text.map(Body))
    .bind(DEFAULT_REPEAT_AFTER_SECONDS)
    .bind(now)
    .run(tx)
    .await?;
    Ok(Changed::Done)
}

async fn set_script(
    tx: &mut Tx,
    user: UserId,
    direction: Direction,
    active: bool,
    now: DateTime<Utc>,
) -> Result<Changed, Error> {
    // The version chosen last may have gone to make room for newer ones.
    let row = query(
        "SELECT coalesce(max(CASE WHEN v.version = s.chosen_version THEN v.version END), max(v.version))
         FROM scripts s JOIN script_versions v ON v.user_id = s.user_id AND v.direction = s.direction
         WHERE s.user_id = $1 AND s.direction = $2",
    );
    let row = row.bind(user).bind(direction.name()).one(&mut *tx).await?;
    let Some(version) = row.get::<Option<u32>>(0)? else { return Ok(Changed::NoScript) };
    // Switched off, it keeps its version and the reason why the server did it, if it did.
    let sql = if active {
        "UPDATE scripts SET chosen_version = $3, active = TRUE, switched_off = NULL, changed_at = $4
         WHERE user_id = $1 AND direction = $2"
    } else {
        "UPDATE scripts SET chosen_version = coalesce(chosen_version, $3), active = FALSE, changed_at = $4
         WHERE user_id = $1 AND direction = $2"
    };
    query(sql).bind(user).bind(direction.name()).bind(version).bind(now).run(tx).await?;
    Ok(Changed::Done)
}
