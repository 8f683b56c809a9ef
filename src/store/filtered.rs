//! What scripts kept out of their owners' inboxes: the list, and the way back.

use super::connection::{Dialect, Tx};
use super::inbox::{InboxEntry, entry};
use super::sql::query;
use super::{Error, Store};
use crate::ids::{MessageUid, Seq, UserId};

impl Store {
    /// The messages kept out of a user's inbox, newest first, of those older than `before`. Their `seq` is 0: they have
    /// no place. `None`: there is no such message
    /// `before` of the user's.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn filtered(
        &self,
        user: UserId,
        before: Option<MessageUid>,
        limit: u32,
    ) -> Result<Option<Vec<InboxEntry>>, Error> {
        let mut first = i64::MAX;
        if let Some(uid) = before {
            // Whether or not it is still in the list: it may have been restored since the page before was read. But of
            // the user's own conversations: nobody is to find out which messages others have sent.
            let found = query(
                "SELECT m.id FROM messages m JOIN conversation_members mine \
                 ON mine.user_id = $2 AND mine.conversation_id = m.conversation_id WHERE m.message_uid = $1",
            );
            let Some(found) = found.bind(uid).bind(user).first(self.reader()).await? else { return Ok(None) };
            first = found.get(0)?;
        }
        let rows = query(
            "SELECT CAST(0 AS BIGINT), m.message_uid, m.conversation_id, c.participants, m.sender_id, m.message_body, \
             m.from_auto_reply, m.sent_at FROM filtered f JOIN messages m ON m.id = f.message_id \
             JOIN conversations c ON c.id = m.conversation_id \
             WHERE f.user_id = $1 AND f.message_id < $2 ORDER BY f.message_id DESC LIMIT $3",
        );
        let rows = rows.bind(user).bind(first).bind(limit).all(self.reader()).await?;
        rows.iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// Gives a message that was kept out the next place in the user's inbox, and says how it stands there; one that
    /// stands there already is left where it is. `None`: it is neither in the list nor in the inbox.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn restore(&self, user: UserId, uid: MessageUid) -> Result<Option<InboxEntry>, Error> {
        match self.restore_kept_out(user, uid).await? {
            Some(seq) => self.inbox_at(user, seq).await,
            None => self.placed_already(user, uid).await,
        }
    }

    /// The place that it got; `None`: it is not in the list (any more), and nothing was changed.
    async fn restore_kept_out(&self, user: UserId, uid: MessageUid) -> Result<Option<Seq>, Error> {
        let mut tx = self.begin().await?;
        let found = query(
            "SELECT m.id FROM messages m JOIN filtered f ON f.user_id = $1 AND f.message_id = m.id WHERE m.message_uid = $2",
        );
        let Some(found) = found.bind(user).bind(uid).first(&mut tx).await? else { return Ok(None) };
        let message: i64 = found.get(0)?;
        let seq = give_place(&mut tx, user, message).await?;
        // Whoever waited for the end of the inbox meanwhile finds that somebody else has restored it.
        let taken = query("DELETE FROM filtered WHERE user_id = $1 AND message_id = $2");
        if taken.bind(user).bind(message).run(&mut tx).await? == 0 {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(seq))
    }

    async fn placed_already(&self, user: UserId, uid: MessageUid) -> Result<Option<InboxEntry>, Error> {
        let seq = query(match self.dialect() {
            // By the index, or SQLite would read the whole inbox.
            Dialect::Sqlite => {
                "SELECT i.seq FROM messages m JOIN inbox i INDEXED BY inbox_by_conversation \
                 ON i.user_id = $1 AND i.conversation_id = m.conversation_id AND i.message_id = m.id \
                 WHERE m.message_uid = $2"
            }
            Dialect::Postgres => {
                "SELECT i.seq FROM messages m JOIN inbox i \
                 ON i.user_id = $1 AND i.conversation_id = m.conversation_id AND i.message_id = m.id \
                 WHERE m.message_uid = $2"
            }
        });
        match seq.bind(user).bind(uid).first(self.reader()).await? {
            Some(row) => self.inbox_at(user, row.get(0)?).await,
            None => Ok(None),
        }
    }
}

/// The next place in the user's inbox, for a message that is in the tables. Locks in the order in which a delivery does:
/// the member before the end of the inbox.
async fn give_place(tx: &mut Tx, user: UserId, message: i64) -> Result<Seq, Error> {
    // Everybody addressed is a member since the first message, unless a foreign stage forgot whom it took off.
    query(
        "INSERT INTO conversation_members (user_id, conversation_id) \
         SELECT $1, conversation_id FROM messages WHERE id = $2 ON CONFLICT DO NOTHING",
    )
    .bind(user)
    .bind(message)
    .run(&mut *tx)
    .await?;
    let row = query(
        "INSERT INTO inbox_heads (user_id, head_seq) VALUES ($1, 1) \
         ON CONFLICT (user_id) DO UPDATE SET head_seq = inbox_heads.head_seq + 1 RETURNING head_seq",
    );
    let seq: Seq = row.bind(user).one(&mut *tx).await?.get(0)?;
    query(
        "INSERT INTO inbox (user_id, seq, message_id, conversation_id) \
         SELECT $1, $2, id, conversation_id FROM messages WHERE id = $3",
    )
    .bind(user)
    .bind(seq)
    .bind(message)
    .run(&mut *tx)
    .await?;
    Ok(seq)
}
