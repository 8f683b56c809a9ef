//! A delivery in one statement, and so in one exchange with the server, for batches of which nothing special is to be
//! done: nearly all. What it finds standing there already makes it fail whole, and it is done step by step instead.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use uuid::Uuid;

use super::{bind_messages, by_uid};
use crate::ids::{ConversationId, Seq, UserId};
use crate::store::Error;
use crate::store::connection::{Lease, within};
use crate::store::inbox::{Assigned, Placed, Placement, assign, wanted};

/// Whether the batch writes nothing but messages and places, each message once, in conversations that are there.
pub(super) fn fits(batch: &[Placement], is_known: impl Fn(&ConversationId) -> bool) -> bool {
    let mut uids = HashSet::with_capacity(batch.len());
    batch.iter().all(|placement| {
        placement.filtered.is_empty()
            && placement.answered.is_empty()
            && uids.insert(placement.message_uid)
            && is_known(&placement.conversation_id)
    })
}

/// Writes a batch that [`fits`]. The locks are taken in the order that the other way has: the ends of inboxes by user,
/// then the messages by uid; ids are given when all ends are held.
///
/// # Errors
/// A unique violation when one of the messages is there: nothing is written.
pub(super) async fn write(lease: &mut Lease, batch: &[Placement]) -> Result<Vec<Placed>, Error> {
    let counts = wanted(batch, |_| true);
    // Numbered within the batch until the server says where the inboxes end: messages and heads from 1, as in arrays.
    let numbers: Vec<Option<i64>> = (1..).take(batch.len()).map(Some).collect();
    let Assigned { placed, rows, .. } = assign(batch, &numbers, HashMap::new());
    let users: HashMap<UserId, i64> = counts.keys().copied().zip(1..).collect();
    let head_of = |user: &UserId| users.get(user).copied().unwrap_or_default();
    let wanted_of = |user: &UserId| counts.get(user).copied().unwrap_or_default();
    let sorted = by_uid((1..).zip(batch));

    let query = sqlx::query(
        "WITH moved AS (
           INSERT INTO inbox_heads (user_id, head_seq) SELECT * FROM UNNEST($1::bigint[], $2::bigint[])
           ON CONFLICT (user_id) DO UPDATE SET head_seq = inbox_heads.head_seq + excluded.head_seq
           RETURNING user_id, head_seq
         ), heads AS (
           SELECT array_agg(head_seq ORDER BY user_id) AS head FROM moved
         ), given AS (
           SELECT head, ARRAY(
             SELECT nextval('messages_id_seq') FROM generate_series(1, CASE WHEN cardinality(head) > 0 THEN $3 END)
           ) AS id FROM heads
         ), written AS (
           INSERT INTO messages (id, message_uid, conversation_id, sender_id, message_body, from_auto_reply, sent_at)
           SELECT given.id[m.n], m.message_uid, m.conversation_id, m.sender_id, m.message_body, m.from_auto_reply, m.sent_at
           FROM given, UNNEST($4::int[], $5::uuid[], $6::uuid[], $7::bigint[], $8::bytea[], $9::boolean[], $10::bigint[])
             AS m (n, message_uid, conversation_id, sender_id, message_body, from_auto_reply, sent_at)
         ), placed AS (
           INSERT INTO inbox (user_id, seq, message_id, conversation_id)
           SELECT p.user_id, given.head[p.h] - p.back, given.id[p.n], p.conversation_id
           FROM given, UNNEST($11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::uuid[])
             AS p (user_id, h, back, n, conversation_id)
         )
         SELECT head FROM given",
    );
    let query = query
        .bind(counts.keys().map(|user| user.0).collect::<Vec<i64>>())
        .bind(counts.values().copied().collect::<Vec<i64>>())
        .bind(i64::try_from(batch.len()).unwrap_or(i64::MAX));
    let query = bind_messages(query, &sorted)
        .bind(rows.iter().map(|(user, ..)| user.0).collect::<Vec<i64>>())
        .bind(rows.iter().map(|(user, ..)| head_of(user)).collect::<Vec<i64>>())
        .bind(rows.iter().map(|(user, seq, ..)| wanted_of(user) - seq.0).collect::<Vec<i64>>())
        .bind(rows.iter().map(|(_, _, n, _)| *n).collect::<Vec<i64>>())
        .bind(rows.iter().map(|(.., conversation)| conversation.0).collect::<Vec<Uuid>>());
    let row = within(lease.limit, query.fetch_one(lease.connection()?)).await?;
    let heads: Vec<i64> = row.try_get(0)?;
    let before = counts.iter().zip(heads).map(|((user, wanted), head)| (*user, head - wanted)).collect();
    Ok(placed.into_iter().map(|placed| behind(placed, &before)).collect())
}

/// Places that were counted from 1, behind where the inboxes ended.
fn behind(placed: Placed, before: &HashMap<UserId, i64>) -> Placed {
    match placed {
        Placed::Before => Placed::Before,
        Placed::New(mut places) => {
            for (user, seq) in &mut places {
                *seq = Seq(seq.0 + before.get(user).copied().unwrap_or_default());
            }
            Placed::New(places)
        }
    }
}
