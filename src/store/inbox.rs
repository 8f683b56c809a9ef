//! Inboxes: delivery in one transaction, places given under a lock, history by place.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::auto_reply::remember_answers;
use super::filtered::keep_out;
use super::rows::{Values, time};
use super::{Error, Store};
use crate::envelope::Answered;
use crate::ids::{ConversationId, MessageUid, Seq, UserId};

/// A message that is ready to be written.
#[derive(Clone, Debug)]
pub struct Placement {
    /// What makes a second delivery nothing.
    pub message_uid: MessageUid,
    /// Derived from `participants`.
    pub conversation_id: ConversationId,
    /// All who take part, ascending.
    pub participants: Vec<UserId>,
    /// Who wrote it.
    pub sender_id: UserId,
    /// Whose inboxes it goes into, without repeats.
    pub owners: Vec<UserId>,
    /// Whose scripts kept it out of their inboxes, without repeats and without `owners`.
    pub filtered: Vec<UserId>,
    /// The auto-replies that it got.
    pub answered: Vec<Answered>,
    /// What was written.
    pub message_body: String,
    /// Whether a script or an auto-reply made it.
    pub from_auto_reply: bool,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
}

/// What became of one [`Placement`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It stands in these inboxes, at these places, since now.
    New(Vec<(UserId, Seq)>),
    /// It was there already; nothing was changed.
    Before,
}

/// A message as it stands in somebody's inbox.
#[derive(Clone, Debug)]
pub struct InboxEntry {
    /// Its place.
    pub seq: Seq,
    /// Its uid.
    pub message_uid: MessageUid,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Who takes part in the conversation, ascending.
    pub participants: Vec<UserId>,
    /// Who wrote it.
    pub sender_id: UserId,
    /// What was written.
    pub message_body: String,
    /// Whether a script or an auto-reply made it.
    pub from_auto_reply: bool,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
}

/// A query for whole [`InboxEntry`]s, of `inbox i`, `messages m` and `conversations c`.
macro_rules! select_entries {
    ($rest:literal) => {
        concat!(
            "SELECT i.seq, m.message_uid, m.conversation_id, c.participants, m.sender_id, m.message_body, ",
            "m.from_auto_reply, m.sent_at FROM inbox i JOIN messages m ON m.id = i.message_id ",
            "JOIN conversations c ON c.id = m.conversation_id ",
            $rest
        )
    };
}
pub(super) use select_entries;

static INSERT_MEMBERS: Values =
    Values::new("INSERT INTO conversation_members (user_id, conversation_id)", 2, "ON CONFLICT DO NOTHING");
static INSERT_MESSAGES: Values = Values::new(
    "INSERT INTO messages (id, message_uid, conversation_id, sender_id, message_body, from_auto_reply, sent_at)",
    7,
    "ON CONFLICT (message_uid) DO NOTHING",
);
static GIVE_PLACES: Values = Values::new(
    "INSERT INTO inbox_heads (user_id, head_seq)",
    2,
    "ON CONFLICT (user_id) DO UPDATE SET head_seq = inbox_heads.head_seq + excluded.head_seq RETURNING user_id, head_seq",
);
static INSERT_INBOX: Values = Values::new("INSERT INTO inbox (user_id, seq, message_id, conversation_id)", 4, "");

impl Store {
    /// Writes all of `batch` in one transaction, in its order, and says where each message stands. Nothing is written
    /// when it fails; doing it again is safe.
    ///
    /// # Errors
    /// [`Error::Sql`] when the database cannot be written now.
    pub async fn deliver(&self, batch: &[Placement]) -> Result<Vec<Placed>, Error> {
        let outcome = self.write(batch).await;
        self.note_delivery(outcome.as_ref().err());
        outcome
    }

    async fn write(&self, batch: &[Placement]) -> Result<Vec<Placed>, Error> {
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        self.make_conversations(&mut tx, batch).await?;
        let ids = insert_messages(&mut tx, batch).await?;
        let mut wanted: BTreeMap<UserId, i64> = BTreeMap::new();
        let new = batch.iter().zip(&ids).filter(|(_, id)| id.is_some());
        for owner in new.flat_map(|(placement, _)| &placement.owners) {
            *wanted.entry(*owner).or_default() += 1;
        }
        let mut next = give_places(&mut tx, &wanted).await?;
        let mut placed = Vec::with_capacity(batch.len());
        let mut rows = Vec::with_capacity(batch.len() * 2);
        let mut kept_out = Vec::new();
        for (placement, id) in batch.iter().zip(&ids) {
            let Some(id) = id else {
                placed.push(Placed::Before);
                continue;
            };
            let mut places = Vec::with_capacity(placement.owners.len());
            for owner in &placement.owners {
                let seq = next.entry(*owner).or_default();
                *seq = seq.next();
                places.push((*owner, *seq));
                rows.push((*owner, *seq, *id, placement.conversation_id));
            }
            placed.push(Placed::New(places));
            kept_out.extend(placement.filtered.iter().map(|user| (*user, *id)));
        }
        insert_inbox(&mut tx, &rows).await?;
        keep_out(&mut tx, &kept_out).await?;
        remember_answers(&mut tx, batch).await?;
        tx.commit().await?;
        for placement in batch {
            self.known_conversations.insert(placement.conversation_id, ());
        }
        Ok(placed)
    }

    /// The newest messages of a user's inbox that the user sent, or that others did, newest first, of the last 1,000
    /// messages there.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn newest_of(&self, user: UserId, sent: bool, limit: u32) -> Result<Vec<InboxEntry>, Error> {
        let rows = sqlx::query(select_entries!(
            "WHERE i.user_id = $1 AND i.seq > (SELECT max(seq) - 1000 FROM inbox WHERE user_id = $1) \
             AND (m.sender_id = $1) = $2 ORDER BY i.seq DESC LIMIT $3"
        ))
        .bind(user.0)
        .bind(sent)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(entry).collect()
    }

    /// The last place given in a user's inbox; 0 when it is empty.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn head_seq(&self, user: UserId) -> Result<Seq, Error> {
        let row = sqlx::query("SELECT head_seq FROM inbox_heads WHERE user_id = $1")
            .bind(user.0)
            .fetch_optional(&self.reader)
            .await?;
        Ok(Seq(row.map_or(Ok(0), |row| row.try_get(0))?))
    }

    /// The last places given in these users' inboxes; those whose inbox is empty are left out. The caller bounds `users`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn heads(&self, users: &[UserId]) -> Result<Vec<(UserId, Seq)>, Error> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query =
            sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT user_id, head_seq FROM inbox_heads WHERE user_id IN (");
        let mut list = query.separated(", ");
        for user in users {
            list.push_bind(user.0);
        }
        list.push_unseparated(")");
        let rows: Vec<(i64, i64)> = query.build_query_as().fetch_all(&self.reader).await?;
        Ok(rows.into_iter().map(|(user, head)| (UserId(user), Seq(head))).collect())
    }

    /// Up to `limit` messages behind `after`, in order and without a gap; the last is the one with which their bodies
    /// reach `bytes`.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn inbox_after(
        &self,
        user: UserId,
        after: Seq,
        limit: u32,
        bytes: usize,
    ) -> Result<Vec<InboxEntry>, Error> {
        let mut rows = sqlx::query(select_entries!("WHERE i.user_id = $1 AND i.seq > $2 ORDER BY i.seq LIMIT $3"))
            .bind(user.0)
            .bind(after.0)
            .bind(i64::from(limit))
            .fetch(&self.reader);
        let mut page = Vec::new();
        let mut length = 0;
        while let Some(row) = rows.try_next().await? {
            let entry = entry(&row)?;
            length += entry.message_body.len();
            page.push(entry);
            if length >= bytes {
                break;
            }
        }
        Ok(page)
    }

    async fn make_conversations(&self, tx: &mut SqliteConnection, batch: &[Placement]) -> Result<(), Error> {
        for placement in batch {
            if self.known_conversations.get(&placement.conversation_id).is_some() {
                continue;
            }
            let participants: Vec<i64> = placement.participants.iter().map(|id| id.0).collect();
            let text = serde_json::to_string(&participants)
                .map_err(|error| Error::Corrupt { what: "list of participants", detail: error.to_string() })?;
            sqlx::query(
                "INSERT INTO conversations (id, participants, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(placement.conversation_id.0)
            .bind(text)
            .bind(placement.sent_at.timestamp_millis())
            .execute(&mut *tx)
            .await?;
            for (sql, rows) in INSERT_MEMBERS.of(&placement.participants) {
                let mut query = sqlx::query(sql);
                for member in rows {
                    query = query.bind(member.0).bind(placement.conversation_id.0);
                }
                query.execute(&mut *tx).await?;
            }
        }
        Ok(())
    }
}

/// Inserts what is not there yet; an id for each that is new. The ids are given here, under the transaction's lock: to
/// have the database return one for each row costs a message between threads for each row.
async fn insert_messages(tx: &mut SqliteConnection, batch: &[Placement]) -> Result<Vec<Option<i64>>, Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM messages").fetch_one(&mut *tx).await?;
    let first = last.unwrap_or(0) + 1;
    let numbered: Vec<(i64, &Placement)> = (first..).zip(batch).collect();
    let mut inserted = 0;
    for (sql, rows) in INSERT_MESSAGES.of(&numbered) {
        let mut query = sqlx::query(sql);
        for (id, row) in rows {
            query = query
                .bind(id)
                .bind(row.message_uid.0)
                .bind(row.conversation_id.0)
                .bind(row.sender_id.0)
                .bind(row.message_body.as_str())
                .bind(row.from_auto_reply)
                .bind(row.sent_at.timestamp_millis());
        }
        inserted += query.execute(&mut *tx).await?.rows_affected();
    }
    if inserted == batch.len() as u64 {
        return Ok(numbered.iter().map(|(id, _)| Some(*id)).collect());
    }
    // Some were there before, or twice in the batch: only those that are new have the ids just given.
    let new: Vec<i64> = sqlx::query_scalar("SELECT id FROM messages WHERE id >= $1 ORDER BY id")
        .bind(first)
        .fetch_all(&mut *tx)
        .await?;
    Ok(numbered.iter().map(|(id, _)| new.binary_search(id).is_ok().then_some(*id)).collect())
}

/// Moves the heads on by what is wanted, and returns where each stood before. The rows are taken in ascending order of
/// user, so that two transactions never wait for each other in a circle.
async fn give_places(tx: &mut SqliteConnection, wanted: &BTreeMap<UserId, i64>) -> Result<HashMap<UserId, Seq>, Error> {
    let rows: Vec<(UserId, i64)> = wanted.iter().map(|(user, n)| (*user, *n)).collect();
    let mut before = HashMap::with_capacity(rows.len());
    for (sql, rows) in GIVE_PLACES.of(&rows) {
        let mut query = sqlx::query(sql);
        for (user, n) in rows {
            query = query.bind(user.0).bind(n);
        }
        for row in query.fetch_all(&mut *tx).await? {
            let user = UserId(row.try_get(0)?);
            let head: i64 = row.try_get(1)?;
            before.insert(user, Seq(head - wanted.get(&user).copied().unwrap_or_default()));
        }
    }
    Ok(before)
}

async fn insert_inbox(tx: &mut SqliteConnection, rows: &[(UserId, Seq, i64, ConversationId)]) -> Result<(), Error> {
    for (sql, rows) in INSERT_INBOX.of(rows) {
        let mut query = sqlx::query(sql);
        for (user, seq, message, conversation) in rows {
            query = query.bind(user.0).bind(seq.0).bind(message).bind(conversation.0);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Reads a row of `select_entries!`.
pub(super) fn entry(row: &SqliteRow) -> Result<InboxEntry, Error> {
    Ok(InboxEntry {
        seq: Seq(row.try_get(0)?),
        message_uid: MessageUid(row.try_get(1)?),
        conversation_id: ConversationId(row.try_get(2)?),
        participants: participants(row.try_get(3)?)?,
        sender_id: UserId(row.try_get(4)?),
        message_body: row.try_get(5)?,
        from_auto_reply: row.try_get(6)?,
        sent_at: time(row.try_get(7)?),
    })
}

/// Reads a list of participants as the tables hold it.
pub(super) fn participants(text: &str) -> Result<Vec<UserId>, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::Corrupt { what: "list of participants", detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(uid: &str, sender: i64, to: &[i64]) -> Placement {
        let mut owners: Vec<UserId> = to.iter().copied().map(UserId).collect();
        owners.push(UserId(sender));
        let mut participants = owners.clone();
        participants.sort_unstable();
        Placement {
            message_uid: MessageUid::from_client(UserId(sender), uid),
            conversation_id: ConversationId::of(participants.iter().copied()),
            participants,
            sender_id: UserId(sender),
            owners,
            filtered: Vec::new(),
            answered: Vec::new(),
            message_body: uid.to_owned(),
            from_auto_reply: false,
            sent_at: time(1_000),
        }
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        (folder, store)
    }

    #[actix::test]
    async fn places_have_no_gaps_and_a_second_delivery_changes_nothing() {
        let (_folder, store) = store().await;
        let batch = [message("a", 1, &[2, 3]), message("b", 2, &[1]), message("a", 1, &[2, 3])];
        let placed = store.deliver(&batch).await.unwrap();
        let two = |n| (UserId(2), Seq(n));
        assert_eq!(placed[0], Placed::New(vec![two(1), (UserId(3), Seq(1)), (UserId(1), Seq(1))]));
        assert_eq!(placed[1], Placed::New(vec![(UserId(1), Seq(2)), two(2)]));
        assert_eq!(placed[2], Placed::Before, "the same uid twice in a batch is one message");
        assert_eq!(store.deliver(&batch).await.unwrap(), vec![Placed::Before; 3]);
        assert_eq!(store.head_seq(UserId(1)).await.unwrap(), Seq(2));
        assert_eq!(store.head_seq(UserId(9)).await.unwrap(), Seq(0));

        let inbox = store.inbox_after(UserId(2), Seq(0), 10, usize::MAX).await.unwrap();
        assert_eq!(inbox.iter().map(|m| (m.seq.0, m.message_body.as_str())).collect::<Vec<_>>(), [(1, "a"), (2, "b")]);
        assert_eq!(inbox[0].participants, [UserId(1), UserId(2), UserId(3)]);
        assert_eq!(store.inbox_after(UserId(2), Seq(1), 1, usize::MAX).await.unwrap().len(), 1);
    }

    #[actix::test]
    async fn a_batch_larger_than_any_statement_keeps_its_order() {
        let (_folder, store) = store().await;
        let batch: Vec<Placement> = (0..1_500).map(|n| message(&n.to_string(), 1, &[2])).collect();
        store.deliver(&batch).await.unwrap();
        let inbox = store.inbox_after(UserId(2), Seq(0), 2_000, usize::MAX).await.unwrap();
        let bodies: Vec<String> = (0..1_500).map(|n: i32| n.to_string()).collect();
        assert_eq!(inbox.iter().map(|m| m.message_body.clone()).collect::<Vec<_>>(), bodies);
        assert!(inbox.iter().zip(1..).all(|(m, n)| m.seq == Seq(n)));
    }
}
