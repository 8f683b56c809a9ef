//! Inboxes: delivery in one transaction, places given under a lock, history by place.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;

use super::connection::{On, Pool};
use super::sql::{Body, Record, query};
use super::{Error, Store, postgres, sqlite};
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

impl Store {
    /// Writes all of `batch` in one transaction, in its order, and says where each message stands. Nothing is written
    /// when it fails; doing it again is safe, and so is doing it on several nodes at once.
    ///
    /// # Errors
    /// [`Error::Sql`] when the database cannot be written now.
    pub async fn deliver(&self, batch: &[Placement]) -> Result<Vec<Placed>, Error> {
        let is_known = |id: &ConversationId| self.known_conversations.get(id).is_some();
        let outcome = match &self.pool {
            Pool::Sqlite { writer, .. } => sqlite::deliver::write(writer, batch, is_known).await,
            Pool::Postgres(pool) => postgres::deliver::write(pool, batch, is_known).await,
        };
        if outcome.is_ok() {
            for placement in batch {
                self.known_conversations.insert(placement.conversation_id, ());
            }
        }
        self.note_delivery(outcome.as_ref().err());
        outcome
    }

    /// The newest messages of a user's inbox that the user sent, or that others did, newest first, of the last 1,000
    /// messages there.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn newest_of(&self, user: UserId, sent: bool, limit: u32) -> Result<Vec<InboxEntry>, Error> {
        let rows = query(select_entries!(
            "WHERE i.user_id = $1 AND i.seq > (SELECT max(seq) - 1000 FROM inbox WHERE user_id = $1) \
             AND (m.sender_id = $1) = $2 ORDER BY i.seq DESC LIMIT $3"
        ));
        let rows = rows.bind(user).bind(sent).bind(limit).all(self.reader()).await?;
        rows.iter().map(entry).collect()
    }

    /// The last place given in a user's inbox; 0 when it is empty.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn head_seq(&self, user: UserId) -> Result<Seq, Error> {
        let row = query("SELECT head_seq FROM inbox_heads WHERE user_id = $1").bind(user).first(self.reader()).await?;
        Ok(row.map_or(Ok(Seq(0)), |row| row.get(0))?)
    }

    /// The last places given in these users' inboxes; those whose inbox is empty are left out. The caller bounds `users`.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn heads(&self, users: &[UserId]) -> Result<Vec<(UserId, Seq)>, Error> {
        let rows = query("SELECT user_id, head_seq FROM inbox_heads WHERE user_id IN (@)");
        let rows = rows.among(users).all(self.reader()).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
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
        let On::Sqlite(pool) = self.reader() else { return self.sized_page(user, after, limit, bytes).await };
        let rows = query(select_entries!("WHERE i.user_id = $1 AND i.seq > $2 ORDER BY i.seq LIMIT $3"));
        let mut rows = rows.bind(user).bind(after).bind(limit).for_sqlite().fetch(pool);
        let mut page = Vec::new();
        let mut length = 0;
        while let Some(row) = rows.try_next().await? {
            let entry = entry(&Record::Sqlite(row))?;
            length += entry.message_body.len();
            page.push(entry);
            if length >= bytes {
                break;
            }
        }
        Ok(page)
    }

    /// The same of a server, which would send all bodies whether they are read or not.
    async fn sized_page(&self, user: UserId, after: Seq, limit: u32, bytes: usize) -> Result<Vec<InboxEntry>, Error> {
        let rows = query(select_entries!(
            "JOIN (SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM \
               (SELECT i.seq, octet_length(m.message_body) AS size FROM inbox i JOIN messages m ON m.id = i.message_id \
                WHERE i.user_id = $1 AND i.seq > $2 ORDER BY i.seq LIMIT $3) AS sizes) AS page ON page.seq = i.seq \
             WHERE i.user_id = $1 AND page.before < $4 ORDER BY i.seq"
        ));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let rows = rows.bind(user).bind(after).bind(limit).bind(bytes).all(self.reader()).await?;
        rows.iter().map(entry).collect()
    }
}

/// How many places of each inbox the messages that have an id take.
pub(super) fn wanted(batch: &[Placement], is_new: impl Fn(usize) -> bool) -> BTreeMap<UserId, i64> {
    let mut wanted = BTreeMap::new();
    for (_, placement) in batch.iter().enumerate().filter(|(n, _)| is_new(*n)) {
        for owner in &placement.owners {
            *wanted.entry(*owner).or_default() += 1;
        }
    }
    wanted
}

/// What is to be written of messages that are new.
pub(super) struct Assigned {
    /// What became of each message.
    pub(super) placed: Vec<Placed>,
    /// Rows of inboxes.
    pub(super) rows: Vec<(UserId, Seq, i64, ConversationId)>,
    /// For whom which message was kept out.
    pub(super) kept_out: Vec<(UserId, i64)>,
}

/// Gives the messages that have an id their places, in order, behind where each inbox ended `before`.
pub(super) fn assign(batch: &[Placement], ids: &[Option<i64>], mut before: HashMap<UserId, Seq>) -> Assigned {
    let mut placed = Vec::with_capacity(batch.len());
    let mut rows = Vec::with_capacity(batch.len() * 2);
    let mut kept_out = Vec::new();
    for (placement, id) in batch.iter().zip(ids) {
        let Some(id) = id else {
            placed.push(Placed::Before);
            continue;
        };
        let mut places = Vec::with_capacity(placement.owners.len());
        for owner in &placement.owners {
            let seq = before.entry(*owner).or_default();
            *seq = seq.next();
            places.push((*owner, *seq));
            rows.push((*owner, *seq, *id, placement.conversation_id));
        }
        placed.push(Placed::New(places));
        kept_out.extend(placement.filtered.iter().map(|user| (*user, *id)));
    }
    Assigned { placed, rows, kept_out }
}

/// A list of participants as the tables hold it.
pub(super) fn participants_text(participants: &[UserId]) -> Result<String, Error> {
    serde_json::to_string(participants)
        .map_err(|error| Error::Corrupt { what: "list of participants", detail: error.to_string() })
}

/// Reads a row of `select_entries!`.
pub(super) fn entry(row: &Record) -> Result<InboxEntry, Error> {
    Ok(InboxEntry {
        seq: row.get(0)?,
        message_uid: row.get(1)?,
        conversation_id: row.get(2)?,
        participants: participants(row.get(3)?)?,
        sender_id: row.get(4)?,
        message_body: row.get::<Body<'_>>(5)?.0.to_owned(),
        from_auto_reply: row.get(6)?,
        sent_at: row.get(7)?,
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
    use crate::store::rows::time;
    use crate::store::testing::store;

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

    #[actix::test]
    async fn places_have_no_gaps_and_a_second_delivery_changes_nothing() {
        let (_home, store) = store().await;
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
        let (_home, store) = store().await;
        let batch: Vec<Placement> = (0..1_500).map(|n| message(&n.to_string(), 1, &[2])).collect();
        store.deliver(&batch).await.unwrap();
        let inbox = store.inbox_after(UserId(2), Seq(0), 2_000, usize::MAX).await.unwrap();
        let bodies: Vec<String> = (0..1_500).map(|n: i32| n.to_string()).collect();
        assert_eq!(inbox.iter().map(|m| m.message_body.clone()).collect::<Vec<_>>(), bodies);
        assert!(inbox.iter().zip(1..).all(|(m, n)| m.seq == Seq(n)));
    }
    #[actix::test]
    async fn a_page_ends_with_the_message_with_which_its_bodies_reach_so_many_bytes() {
        let (_home, store) = store().await;
        let batch: Vec<Placement> = (0..5).map(|n| message(&format!("{n}23"), 1, &[2])).collect();
        store.deliver(&batch).await.unwrap();
        for (bytes, messages) in [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (15, 5), (16, 5)] {
            let page = store.inbox_after(UserId(2), Seq(0), 9, bytes).await.unwrap();
            assert_eq!(page.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), (1..=messages).collect::<Vec<_>>());
        }
        assert_eq!(store.inbox_after(UserId(2), Seq(1), 2, usize::MAX).await.unwrap().len(), 2);
    }

    #[actix::test]
    async fn every_character_comes_back() {
        let (_home, store) = store().await;
        let all: String = (0..=u32::from(char::MAX)).step_by(7).filter_map(char::from_u32).collect();
        let bodies = ["\0", "a\0b", "", "\\x00", "\u{feff}\u{ffff}", &all];
        let of = |(n, body): (usize, &&str)| Placement {
            message_body: (*body).to_owned(),
            ..message(&n.to_string(), 1, &[2])
        };
        store.deliver(&bodies.iter().enumerate().map(of).collect::<Vec<_>>()).await.unwrap();
        let inbox = store.inbox_after(UserId(2), Seq(0), 10, usize::MAX).await.unwrap();
        assert!(inbox.iter().map(|entry| entry.message_body.as_str()).eq(bodies));
    }
}
