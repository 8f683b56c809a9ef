//! What scripts kept out of their owners' inboxes: the list, and the way back.

use sqlx::{Row, SqliteConnection};

use super::inbox::{InboxEntry, entry, select_entries};
use super::rows::Values;
use super::{Error, IMMEDIATE, Store};
use crate::ids::{MessageUid, Seq, UserId};

static KEEP_OUT: Values = Values::new("INSERT INTO filtered (user_id, message_id)", 2, "ON CONFLICT DO NOTHING");

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
            let found = sqlx::query_scalar(
                "SELECT m.id FROM messages m JOIN conversation_members mine \
                 ON mine.user_id = $2 AND mine.conversation_id = m.conversation_id WHERE m.message_uid = $1",
            );
            let found = found.bind(uid.0).bind(user.0).fetch_optional(&self.reader).await?;
            let Some(id) = found else { return Ok(None) };
            first = id;
        }
        let rows = sqlx::query(
            "SELECT 0, m.message_uid, m.conversation_id, c.participants, m.sender_id, m.message_body, m.from_auto_reply, \
             m.sent_at FROM filtered f JOIN messages m ON m.id = f.message_id \
             JOIN conversations c ON c.id = m.conversation_id \
             WHERE f.user_id = $1 AND f.message_id < $2 ORDER BY f.message_id DESC LIMIT $3",
        )
        .bind(user.0)
        .bind(first)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// Gives a message that was kept out the next place in the user's inbox, and says how it stands there; one that
    /// stands there already is left where it is. `None`: it is neither in the list nor in the inbox.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn restore(&self, user: UserId, uid: MessageUid) -> Result<Option<InboxEntry>, Error> {
        let mut tx = self.writer.begin_with(IMMEDIATE).await?;
        let taken = sqlx::query(
            "DELETE FROM filtered WHERE user_id = $1 AND message_id = (SELECT id FROM messages WHERE message_uid = $2) \
             RETURNING message_id",
        )
        .bind(user.0)
        .bind(uid.0)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(row) = taken {
            let message: i64 = row.try_get(0)?;
            let seq = give_place(&mut tx, user, message).await?;
            let row = sqlx::query(select_entries!("WHERE i.user_id = $1 AND i.seq = $2"))
                .bind(user.0)
                .bind(seq.0)
                .fetch_one(&mut *tx)
                .await?;
            let restored = entry(&row)?;
            tx.commit().await?;
            return Ok(Some(restored));
        }
        tx.rollback().await?;
        // By the index, or SQLite would read the whole inbox.
        let seq = sqlx::query_scalar(
            "SELECT i.seq FROM messages m JOIN inbox i INDEXED BY inbox_by_conversation \
             ON i.user_id = $1 AND i.conversation_id = m.conversation_id AND i.message_id = m.id WHERE m.message_uid = $2",
        );
        let seq: Option<i64> = seq.bind(user.0).bind(uid.0).fetch_optional(&self.reader).await?;
        match seq {
            Some(seq) => self.inbox_at(user, Seq(seq)).await,
            None => Ok(None),
        }
    }
}

/// The next place in the user's inbox, for a message that is in the tables.
async fn give_place(tx: &mut SqliteConnection, user: UserId, message: i64) -> Result<Seq, Error> {
    let row = sqlx::query(
        "INSERT INTO inbox_heads (user_id, head_seq) VALUES ($1, 1) \
         ON CONFLICT (user_id) DO UPDATE SET head_seq = inbox_heads.head_seq + 1 RETURNING head_seq",
    );
    let seq: i64 = row.bind(user.0).fetch_one(&mut *tx).await?.try_get(0)?;
    sqlx::query(
        "INSERT INTO inbox (user_id, seq, message_id, conversation_id) \
         SELECT $1, $2, id, conversation_id FROM messages WHERE id = $3",
    )
    .bind(user.0)
    .bind(seq)
    .bind(message)
    .execute(&mut *tx)
    .await?;
    // Everybody addressed is a member since the first message, unless a foreign stage forgot whom it took off.
    sqlx::query(
        "INSERT INTO conversation_members (user_id, conversation_id) \
         SELECT $1, conversation_id FROM messages WHERE id = $2 ON CONFLICT DO NOTHING",
    )
    .bind(user.0)
    .bind(message)
    .execute(&mut *tx)
    .await?;
    Ok(Seq(seq))
}

/// Notes for whom messages that are new were kept out, in the transaction that writes them.
pub(super) async fn keep_out(tx: &mut SqliteConnection, rows: &[(UserId, i64)]) -> Result<(), Error> {
    for (sql, rows) in KEEP_OUT.of(rows) {
        let mut query = sqlx::query(sql);
        for (user, message) in rows {
            query = query.bind(user.0).bind(message);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}
