//! Standing auto-replies: their settings, and whom they have answered.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::inbox::Placement;
use super::rows::{Values, time};
use super::{Error, Store};
use crate::envelope::{Answered, TextHash};
use crate::ids::{MessageUid, UserId};

/// How long the same sender is not answered again, unless the owner says otherwise, in seconds.
pub const DEFAULT_REPEAT_AFTER_SECONDS: u32 = 3600;
/// The longest that an owner may say, in seconds: 30 days. What is older is forgotten.
pub const MAX_REPEAT_AFTER_SECONDS: u32 = 30 * 24 * 3600;
/// Answers remembered of one owner, more or less; the oldest go. One that is forgotten may be given again too early.
const REMEMBERED: u32 = 10_000;

/// The settings of an auto-reply, switched on or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoReplySettings {
    /// Whether it answers. With an empty text it answers nobody.
    pub enabled: bool,
    /// What it answers.
    pub text: String,
    /// How long the same sender is not answered again, in seconds; 0: every message is answered.
    pub repeat_after_seconds: u32,
}

impl Default for AutoReplySettings {
    fn default() -> Self {
        Self { enabled: false, text: String::new(), repeat_after_seconds: DEFAULT_REPEAT_AFTER_SECONDS }
    }
}

/// An answer that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// To which message.
    pub cause_uid: MessageUid,
    /// When that was sent.
    pub at: DateTime<Utc>,
}

static REMEMBER: Values = Values::new(
    "INSERT INTO auto_replies_sent (user_id, to_id, text_hash, cause_uid, at)",
    5,
    // A message that comes again, also behind later ones, changes nothing.
    "ON CONFLICT (user_id, to_id, text_hash) DO UPDATE SET cause_uid = excluded.cause_uid, at = excluded.at \
     WHERE excluded.at > auto_replies_sent.at AND excluded.cause_uid <> auto_replies_sent.cause_uid",
);

impl Store {
    /// A user's settings; the defaults for one who never had any.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn auto_reply(&self, user: UserId) -> Result<AutoReplySettings, Error> {
        let row = sqlx::query("SELECT enabled, text, repeat_after_seconds FROM auto_replies WHERE user_id = $1")
            .bind(user.0)
            .fetch_optional(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(AutoReplySettings::default()) };
        Ok(AutoReplySettings { enabled: row.try_get(0)?, text: row.try_get(1)?, repeat_after_seconds: row.try_get(2)? })
    }

    /// Puts these settings in place of a user's.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_auto_reply(
        &self,
        user: UserId,
        settings: &AutoReplySettings,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO auto_replies (user_id, enabled, text, repeat_after_seconds, changed_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO UPDATE SET enabled = excluded.enabled,
             text = excluded.text, repeat_after_seconds = excluded.repeat_after_seconds, changed_at = excluded.changed_at",
        )
        .bind(user.0)
        .bind(settings.enabled)
        .bind(settings.text.as_str())
        .bind(settings.repeat_after_seconds)
        .bind(now.timestamp_millis())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The last answers of these users to `to`, by text; those who never answered are left out.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn auto_replies_sent(
        &self,
        to: UserId,
        users: &[UserId],
    ) -> Result<HashMap<(UserId, TextHash), Sent>, Error> {
        let mut found = HashMap::new();
        // SQLite takes 32,766 values at most. Texts are told apart here: asked for pairs, it would read the whole table.
        for users in users.chunks(10_000) {
            let mut query = QueryBuilder::<Sqlite>::new(
                "SELECT user_id, text_hash, cause_uid, at FROM auto_replies_sent WHERE to_id = ",
            );
            query.push_bind(to.0).push(" AND user_id IN (");
            let mut list = query.separated(", ");
            for user in users {
                list.push_bind(user.0);
            }
            query.push(")");
            for row in query.build().fetch_all(&self.reader).await? {
                let bytes: &[u8] = row.try_get(1)?;
                let hash = bytes.try_into().map(TextHash).map_err(|_| Error::Corrupt {
                    what: "hash of an auto-reply",
                    detail: format!("{} bytes", bytes.len()),
                })?;
                let sent = Sent { cause_uid: MessageUid(row.try_get(2)?), at: time(row.try_get(3)?) };
                found.insert((UserId(row.try_get(0)?), hash), sent);
            }
        }
        Ok(found)
    }

    /// Forgets up to `limit` answers to messages from before `before`, and as many of one owner who has too many;
    /// returns the larger number.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn prune_auto_replies_sent(&self, before: DateTime<Utc>, limit: u32) -> Result<u64, Error> {
        self.prune_answers(before, REMEMBERED, limit).await
    }

    async fn prune_answers(&self, before: DateTime<Utc>, most: u32, limit: u32) -> Result<u64, Error> {
        let expired = sqlx::query(
            "DELETE FROM auto_replies_sent WHERE (user_id, to_id, text_hash) IN
             (SELECT user_id, to_id, text_hash FROM auto_replies_sent WHERE at < $1 ORDER BY at LIMIT $2)",
        );
        let expired = expired.bind(before.timestamp_millis()).bind(limit).execute(&self.writer).await?;
        let crowded =
            sqlx::query("SELECT user_id FROM auto_replies_sent GROUP BY user_id HAVING count(*) > $1 LIMIT 1");
        let Some(crowded) = crowded.bind(most).fetch_optional(&self.reader).await? else {
            return Ok(expired.rows_affected());
        };
        let crowd = sqlx::query(
            "DELETE FROM auto_replies_sent WHERE (user_id, to_id, text_hash) IN
             (SELECT user_id, to_id, text_hash FROM auto_replies_sent WHERE user_id = $1 ORDER BY at
              LIMIT min($2, (SELECT max(count(*) - $3, 0) FROM auto_replies_sent WHERE user_id = $1)))",
        );
        let crowd = crowd.bind(crowded.try_get::<i64, _>(0)?).bind(limit).bind(most).execute(&self.writer).await?;
        Ok(expired.rows_affected().max(crowd.rows_affected()))
    }
}

/// Remembers the answers that these messages got, in the transaction that writes the messages: a message that is not
/// in the tables yet is decided about again after a crash, and before any later one of its sender.
pub(super) async fn remember_answers(tx: &mut SqliteConnection, batch: &[Placement]) -> Result<(), Error> {
    let of = |placement| -> Vec<(&Placement, &Answered)> {
        let placement: &Placement = placement;
        placement.answered.iter().map(|answered| (placement, answered)).collect()
    };
    let rows: Vec<_> = batch.iter().flat_map(of).collect();
    for (sql, rows) in REMEMBER.of(&rows) {
        let mut query = sqlx::query(sql);
        for (cause, Answered { user_id, text_hash }) in rows {
            query = query
                .bind(user_id.0)
                .bind(cause.sender_id.0)
                .bind(&text_hash.0[..])
                .bind(cause.message_uid.0)
                .bind(cause.sent_at.timestamp_millis());
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::store;
    use super::*;
    use crate::ids::ConversationId;

    fn answered(to: i64, owner: i64, seconds: i64) -> Placement {
        let participants = vec![UserId(to), UserId(owner)];
        Placement {
            message_uid: MessageUid::fresh(),
            conversation_id: ConversationId::of(participants.clone()),
            participants: participants.clone(),
            sender_id: UserId(to),
            owners: participants,
            filtered: Vec::new(),
            answered: vec![Answered { user_id: UserId(owner), text_hash: TextHash::of("away") }],
            message_body: String::new(),
            from_auto_reply: false,
            sent_at: time(seconds * 1000),
        }
    }

    async fn remembered(store: &Store, owner: i64) -> Vec<i64> {
        let all = sqlx::query_scalar("SELECT at / 1000 FROM auto_replies_sent WHERE user_id = $1 ORDER BY at");
        all.bind(owner).fetch_all(&store.reader).await.unwrap()
    }

    #[actix::test]
    async fn settings_are_kept_and_the_defaults_stand_in_before() {
        let (_folder, store) = store().await;
        assert_eq!(store.auto_reply(UserId(1)).await.unwrap(), AutoReplySettings::default());
        for (enabled, text, on) in [(true, "away", true), (false, "away", false), (true, "", false)] {
            let settings = AutoReplySettings { enabled, text: text.to_owned(), repeat_after_seconds: 7 };
            store.set_auto_reply(UserId(1), &settings, time(0)).await.unwrap();
            assert_eq!(store.auto_reply(UserId(1)).await.unwrap(), settings);
            assert_eq!(store.switched_on(&[UserId(1)]).await.unwrap().len(), usize::from(on));
        }
    }

    #[actix::test]
    async fn what_is_remembered_is_bounded_by_age_and_for_each_owner() {
        let (_folder, store) = store().await;
        let batch: Vec<Placement> = (1..=9).map(|n| answered(100 + n, 1, n)).chain([answered(200, 2, 5)]).collect();
        store.deliver(&batch).await.unwrap();
        // Older than 3 go, two at once; then the oldest of the one who has more than 5.
        assert_eq!(store.prune_answers(time(3_000), 100, 2).await.unwrap(), 2);
        assert_eq!(remembered(&store, 1).await, [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(store.prune_answers(time(3_000), 5, 10).await.unwrap(), 2);
        assert_eq!(store.prune_answers(time(3_000), 5, 10).await.unwrap(), 0);
        assert_eq!((remembered(&store, 1).await, remembered(&store, 2).await), (vec![5, 6, 7, 8, 9], vec![5]));
    }
}
