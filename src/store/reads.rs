//! How far who has read in a conversation, each told of it in the numbers of their own inbox.

use std::collections::HashMap;

use super::sql::query;
use super::{Error, Store};
use crate::ids::{ConversationId, Seq, UserId};

/// Places looked back over when a read mark is translated. A restored message stands behind newer ones; without one, a
/// single place would do.
const LOOKED_BACK: i64 = 64;

/// A reader's position as each participant must hear it: in the participant's own numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// Whose numbers.
    pub for_user: UserId,
    /// The last message read, as it stands in that inbox.
    pub seq: Seq,
}

/// How far another participant has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who has read.
    pub user: UserId,
    /// The last message read, as it stands in the inbox of whoever asked.
    pub seq: Seq,
}

impl Store {
    /// Notes that the user has read the conversation up to `seq` and says how far that is for each of `listeners` who
    /// takes part. `None`: no such conversation of the user's. An empty list: nothing new was read.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn mark_read(
        &self,
        user: UserId,
        conversation: ConversationId,
        seq: Seq,
        listeners: &[UserId],
    ) -> Result<Option<Vec<ReadMark>>, Error> {
        let Some(before) = self.read_seq(user, conversation).await? else { return Ok(None) };
        // The last message of this conversation at or before `seq`: nobody can have read what is not there. And the
        // newest of those read: behind a restored one, that is another.
        let row = query(
            "SELECT max(seq), max(message_id) FROM (SELECT seq, message_id FROM inbox \
             WHERE user_id = $1 AND conversation_id = $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4) AS read",
        )
        .bind(user)
        .bind(conversation)
        .bind(seq)
        .bind(LOOKED_BACK)
        .one(self.reader())
        .await?;
        let (Some(seq), Some(message)) = (row.get(0)?, row.get(1)?) else { return Ok(Some(Vec::new())) };
        let (seq, message): (i64, i64) = (seq, message);
        if seq <= before.0 {
            return Ok(Some(Vec::new()));
        }
        query(
            "UPDATE conversation_members SET read_seq = $3 WHERE user_id = $1 AND conversation_id = $2 AND read_seq < $3",
        )
        .bind(user)
        .bind(conversation)
        .bind(seq)
        .run(self.writer())
        .await?;
        let mut marks = vec![ReadMark { for_user: user, seq: Seq(seq) }];
        for listener in listeners.iter().filter(|&&listener| listener != user) {
            if let Some(seq) = self.place_of(*listener, conversation, message).await? {
                marks.push(ReadMark { for_user: *listener, seq });
            }
        }
        Ok(Some(marks))
    }

    /// The last place in the listener's inbox of which, and of all before it, can be said that it was read, when the
    /// conversation was read up to `message`: a restored message may stand behind newer ones.
    async fn place_of(
        &self,
        listener: UserId,
        conversation: ConversationId,
        message: i64,
    ) -> Result<Option<Seq>, Error> {
        let row = query(
            "WITH near AS (SELECT seq, message_id FROM inbox WHERE user_id = $1 AND conversation_id = $2 AND seq <= \
               (SELECT seq FROM inbox WHERE user_id = $1 AND conversation_id = $2 AND message_id <= $3 \
                ORDER BY seq DESC LIMIT 1) ORDER BY seq DESC LIMIT $4) \
             SELECT max(seq) FROM near \
             WHERE NOT EXISTS (SELECT 1 FROM near AS unread WHERE unread.message_id > $3 AND unread.seq <= near.seq)",
        )
        .bind(listener)
        .bind(conversation)
        .bind(message)
        .bind(LOOKED_BACK)
        .one(self.reader())
        .await?;
        Ok(row.get(0)?)
    }

    /// How far the others in the user's conversation have read, in the user's numbers, ascending by their ids; who has read
    /// nothing is left out. `None`: no such conversation of the user's.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn readers(&self, user: UserId, conversation: ConversationId) -> Result<Option<Vec<Reader>>, Error> {
        if self.read_seq(user, conversation).await?.is_none() {
            return Ok(None);
        }
        let rows = query(
            "SELECT other.user_id, (SELECT max(message_id) FROM (SELECT i.message_id FROM inbox i \
               WHERE i.user_id = other.user_id AND i.conversation_id = other.conversation_id AND i.seq <= other.read_seq \
               ORDER BY i.seq DESC LIMIT $3) AS near) \
             FROM conversation_members other \
             WHERE other.conversation_id = $2 AND other.user_id <> $1 AND other.read_seq > 0 ORDER BY other.user_id",
        )
        .bind(user)
        .bind(conversation)
        .bind(LOOKED_BACK)
        .all(self.reader())
        .await?;
        // Most have read the same: that is looked for once.
        let mut places: HashMap<i64, Option<Seq>> = HashMap::new();
        let mut readers = Vec::with_capacity(rows.len());
        for row in rows {
            let (other, Some(message)) = (row.get(0)?, row.get::<Option<i64>>(1)?) else { continue };
            let place = match places.get(&message) {
                Some(place) => *place,
                None => self.place_of(user, conversation, message).await?,
            };
            places.insert(message, place);
            readers.extend(place.map(|seq| Reader { user: other, seq }));
        }
        Ok(Some(readers))
    }
}
