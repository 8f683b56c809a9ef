//! Conversations as one of their members sees them: the list, the history, what is unread.

use chrono::{DateTime, Utc};

use super::inbox::{InboxEntry, entry, participants, select_entries};
use super::sql::query;
use super::{Error, Store};
use crate::ids::{ConversationId, Seq, UserId};

/// Unread messages are counted up to here; more are told as this many.
pub const UNREAD_COUNTED: i64 = 1_000;

/// One line of the list of conversations.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Which conversation.
    pub conversation_id: ConversationId,
    /// Who takes part, ascending.
    pub participants: Vec<UserId>,
    /// When its first message was sent.
    pub created_at: DateTime<Utc>,
    /// How far the owner has read, a place in the owner's inbox.
    pub read_seq: Seq,
    /// Messages of others behind that, counted up to [`UNREAD_COUNTED`].
    pub unread: i64,
    /// The newest message in it.
    pub last: InboxEntry,
}

impl Store {
    /// Whether a message of that conversation was ever delivered.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn has_conversation(&self, id: ConversationId) -> Result<bool, Error> {
        if self.known_conversations.get(&id).is_some() {
            return Ok(true);
        }
        Ok(query("SELECT 1 FROM conversations WHERE id = $1").bind(id).first(self.reader()).await?.is_some())
    }

    /// The user's conversations, the one with the newest message first, of those whose newest stands before `before`.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn conversations(&self, user: UserId, before: Option<Seq>, limit: u32) -> Result<Vec<Summary>, Error> {
        let rows = query(
            "SELECT conversation_id, read_seq, last_seq, participants, created_at FROM (\
               SELECT m.conversation_id, m.read_seq, c.participants, c.created_at, (SELECT max(i.seq) FROM inbox i \
                 WHERE i.user_id = m.user_id AND i.conversation_id = m.conversation_id) AS last_seq \
               FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id WHERE m.user_id = $1\
             ) AS mine WHERE last_seq < $2 ORDER BY last_seq DESC LIMIT $3",
        )
        .bind(user)
        .bind(before.unwrap_or(Seq(i64::MAX)))
        .bind(limit)
        .all(self.reader())
        .await?;
        let mut list = Vec::with_capacity(rows.len());
        for row in rows {
            let (conversation_id, read_seq) = (row.get(0)?, row.get(1)?);
            let Some(last) = self.inbox_at(user, row.get(2)?).await? else { continue };
            list.push(Summary {
                conversation_id,
                participants: participants(row.get(3)?)?,
                created_at: row.get(4)?,
                read_seq,
                unread: self.unread(user, conversation_id, read_seq).await?,
                last,
            });
        }
        Ok(list)
    }

    /// The conversation's messages before `before`, newest first; `None` when the user is not in it.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Option<Vec<InboxEntry>>, Error> {
        if self.read_seq(user, conversation).await?.is_none() {
            return Ok(None);
        }
        let rows = query(select_entries!(
            "WHERE i.user_id = $1 AND i.conversation_id = $2 AND i.seq < $3 ORDER BY i.seq DESC LIMIT $4"
        ))
        .bind(user)
        .bind(conversation)
        .bind(before.unwrap_or(Seq(i64::MAX)))
        .bind(limit)
        .all(self.reader())
        .await?;
        rows.iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// Who takes part in a conversation of the user's; `None` when the user does not.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn participants(&self, user: UserId, conversation: ConversationId) -> Result<Option<Vec<UserId>>, Error> {
        let row = query(
            "SELECT c.participants FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id \
             WHERE m.user_id = $1 AND m.conversation_id = $2",
        )
        .bind(user)
        .bind(conversation)
        .first(self.reader())
        .await?;
        row.map(|row| participants(row.get(0)?)).transpose()
    }

    /// Up to `limit` people with whom the user shares a conversation.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn peers(&self, user: UserId, limit: u32) -> Result<Vec<UserId>, Error> {
        let rows = query(
            "SELECT DISTINCT other.user_id FROM conversation_members mine \
             JOIN conversation_members other ON other.conversation_id = mine.conversation_id \
             WHERE mine.user_id = $1 AND other.user_id <> $1 LIMIT $2",
        )
        .bind(user)
        .bind(limit)
        .all(self.reader())
        .await?;
        rows.iter().map(|row| Ok(row.get(0)?)).collect()
    }

    pub(super) async fn read_seq(&self, user: UserId, conversation: ConversationId) -> Result<Option<Seq>, Error> {
        let row = query("SELECT read_seq FROM conversation_members WHERE user_id = $1 AND conversation_id = $2")
            .bind(user)
            .bind(conversation)
            .first(self.reader())
            .await?;
        Ok(row.map(|row| row.get(0)).transpose()?)
    }

    pub(super) async fn inbox_at(&self, user: UserId, seq: Seq) -> Result<Option<InboxEntry>, Error> {
        let row = query(select_entries!("WHERE i.user_id = $1 AND i.seq = $2"))
            .bind(user)
            .bind(seq)
            .first(self.reader())
            .await?;
        row.as_ref().map(entry).transpose()
    }

    async fn unread(&self, user: UserId, conversation: ConversationId, read: Seq) -> Result<i64, Error> {
        let row = query(
            "SELECT count(*) FROM (SELECT 1 FROM inbox i JOIN messages m ON m.id = i.message_id \
             WHERE i.user_id = $1 AND i.conversation_id = $2 AND i.seq > $3 AND m.sender_id <> $1 LIMIT $4) AS counted",
        )
        .bind(user)
        .bind(conversation)
        .bind(read)
        .bind(UNREAD_COUNTED)
        .one(self.reader())
        .await?;
        Ok(row.get(0)?)
    }
}
