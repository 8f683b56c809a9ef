//! Standing auto-replies: their settings, and whom they have answered.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::account_events::{self, Kind};
use super::sql::{Body, query};
use super::{Error, Store};
use crate::envelope::TextHash;
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

impl Store {
    /// A user's settings; the defaults for one who never had any.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn auto_reply(&self, user: UserId) -> Result<AutoReplySettings, Error> {
        let row = query("SELECT enabled, text, repeat_after_seconds FROM auto_replies WHERE user_id = $1")
            .bind(user)
            .first(self.reader())
            .await?;
        let Some(row) = row else { return Ok(AutoReplySettings::default()) };
        let text = row.get::<Body<'_>>(1)?.0.to_owned();
        Ok(AutoReplySettings { enabled: row.get(0)?, text, repeat_after_seconds: row.get(2)? })
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
        let mut tx = self.begin_telling().await?;
        query(
            "INSERT INTO auto_replies (user_id, enabled, text, repeat_after_seconds, changed_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (user_id) DO UPDATE SET enabled = excluded.enabled,
             text = excluded.text, repeat_after_seconds = excluded.repeat_after_seconds, changed_at = excluded.changed_at",
        )
        .bind(user)
        .bind(settings.enabled)
        .bind(Body(&settings.text))
        .bind(settings.repeat_after_seconds)
        .bind(now)
        .run(&mut tx)
        .await?;
        account_events::append(&mut tx, user, Kind::Automation, None, now).await?;
        self.commit_telling(tx).await
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
            let rows = query(
                "SELECT user_id, text_hash, cause_uid, at FROM auto_replies_sent WHERE to_id = $1 AND user_id IN (@)",
            );
            for row in rows.bind(to).among(users).all(self.reader()).await? {
                let bytes: &[u8] = row.get(1)?;
                let hash = bytes.try_into().map(TextHash).map_err(|_| Error::Corrupt {
                    what: "hash of an auto-reply",
                    detail: format!("{} bytes", bytes.len()),
                })?;
                found.insert((row.get(0)?, hash), Sent { cause_uid: row.get(2)?, at: row.get(3)? });
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
        let expired = query(
            "DELETE FROM auto_replies_sent WHERE (user_id, to_id, text_hash) IN
             (SELECT user_id, to_id, text_hash FROM auto_replies_sent WHERE at < $1 ORDER BY at LIMIT $2)",
        );
        let expired = expired.bind(before).bind(limit).run(self.writer()).await?;
        let crowded =
            query("SELECT user_id, count(*) FROM auto_replies_sent GROUP BY user_id HAVING count(*) > $1 LIMIT 1");
        let Some(crowded) = crowded.bind(most).first(self.reader()).await? else { return Ok(expired) };
        let (owner, answers): (UserId, i64) = (crowded.get(0)?, crowded.get(1)?);
        let crowd = query(
            "DELETE FROM auto_replies_sent WHERE (user_id, to_id, text_hash) IN
             (SELECT user_id, to_id, text_hash FROM auto_replies_sent WHERE user_id = $1 ORDER BY at LIMIT $2)",
        );
        let surplus = (answers - i64::from(most)).min(i64::from(limit));
        let crowd = crowd.bind(owner).bind(surplus).run(self.writer()).await?;
        Ok(expired.max(crowd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Answered;
    use crate::ids::ConversationId;
    use crate::store::inbox::Placement;
    use crate::store::rows::time;
    use crate::store::testing::store;

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
        let all = query("SELECT at / 1000 FROM auto_replies_sent WHERE user_id = $1 ORDER BY at");
        let all = all.bind(owner).all(store.reader()).await.unwrap();
        all.iter().map(|row| row.get(0).unwrap()).collect()
    }

    #[actix::test]
    async fn settings_are_kept_and_the_defaults_stand_in_before() {
        let (_home, store) = store().await;
        assert_eq!(store.auto_reply(UserId(1)).await.unwrap(), AutoReplySettings::default());
        for (enabled, text, on) in
            [(true, "away", true), (false, "away", false), (true, "", false), (true, "\0 away \0", true)]
        {
            let settings = AutoReplySettings { enabled, text: text.to_owned(), repeat_after_seconds: 7 };
            store.set_auto_reply(UserId(1), &settings, time(0)).await.unwrap();
            assert_eq!(store.auto_reply(UserId(1)).await.unwrap(), settings);
            assert_eq!(store.switched_on(&[UserId(1)]).await.unwrap().len(), usize::from(on));
        }
    }

    #[actix::test]
    async fn what_is_remembered_is_bounded_by_age_and_for_each_owner() {
        let (_home, store) = store().await;
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
