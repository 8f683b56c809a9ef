//! Delivery into Postgres, beside that of other nodes: in one statement where that is enough (`at_once`), else in one
//! transaction, each step of it one statement however many rows.
//!
//! All transactions take what they lock in the same order, so none waits for another in a circle: conversations and their
//! members, ends of inboxes by user, messages by uid, answers by key. The ends of inboxes are held until the commit. So in
//! every inbox the order of places is the order of commits; and because the ids of messages are given under these locks
//! too, ids ascend with the places, although many nodes give them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use uuid::Uuid;

use super::{gave_way, stands_there};
use crate::ids::{ConversationId, MessageUid, Seq, UserId};
use crate::store::Error;
use crate::store::connection::{Lease, PostgresPool, within};
use crate::store::inbox::{Assigned, Placed, Placement, assign, participants_text, wanted};

mod at_once;

type PgQuery<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// How often a transaction that gave way to another one is done again at once.
const TRIES: usize = 5;

/// Writes all of `batch`, or nothing. Conversations that are known are in the tables.
pub(in crate::store) async fn write(
    pool: &PostgresPool,
    batch: &[Placement],
    is_known: impl Fn(&ConversationId) -> bool,
) -> Result<Vec<Placed>, Error> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let mut at_once = at_once::fits(batch, &is_known);
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome =
            if at_once { write_at_once(pool, batch).await } else { write_steps(pool, batch, &is_known).await };
        match outcome {
            Err(error) if at_once && stands_there(&error) => at_once = false,
            Err(error) if gave_way(&error) && tries < TRIES => {
                tracing::debug!(%error, tries, "a delivery gave way to another one and is done again");
            }
            outcome => return outcome,
        }
    }
}

async fn write_at_once(pool: &PostgresPool, batch: &[Placement]) -> Result<Vec<Placed>, Error> {
    let mut lease = pool.lease_kept().await?;
    let placed = at_once::write(&mut lease, batch).await?;
    pool.keep(lease);
    Ok(placed)
}

async fn write_steps(
    pool: &PostgresPool,
    batch: &[Placement],
    is_known: &impl Fn(&ConversationId) -> bool,
) -> Result<Vec<Placed>, Error> {
    let mut lease = pool.begin().await?;
    make_conversations(&mut lease, batch, is_known).await?;
    let first = first_of_each(batch);
    let wanted_places = wanted(batch, |n| first[n]);
    let before = give_places(&mut lease, &wanted_places).await?;
    let ids = insert_messages(&mut lease, batch, &first).await?;
    if ids.iter().zip(&first).any(|(id, first)| *first && id.is_none()) {
        // Some were there before. Nobody has seen the places meant for them: they are given back.
        let taken = wanted(batch, |n| ids[n].is_some());
        let left = wanted_places.iter().map(|(user, n)| (*user, n - taken.get(user).copied().unwrap_or_default()));
        let left: Vec<(UserId, i64)> = left.filter(|(_, n)| *n > 0).collect();
        give_back(&mut lease, &left).await?;
    }
    let Assigned { placed, rows, kept_out } = assign(batch, &ids, before);
    insert_inbox(&mut lease, &rows).await?;
    keep_out(&mut lease, kept_out).await?;
    remember_answers(&mut lease, batch).await?;
    lease.commit().await?;
    Ok(placed)
}

/// For each message, whether the batch has its uid here for the first time.
fn first_of_each(batch: &[Placement]) -> Vec<bool> {
    let mut seen = std::collections::HashSet::with_capacity(batch.len());
    batch.iter().map(|placement| seen.insert(placement.message_uid)).collect()
}

async fn make_conversations(
    lease: &mut Lease,
    batch: &[Placement],
    is_known: impl Fn(&ConversationId) -> bool,
) -> Result<(), Error> {
    let mut unknown: BTreeMap<ConversationId, &Placement> = BTreeMap::new();
    for placement in batch.iter().filter(|placement| !is_known(&placement.conversation_id)) {
        unknown.entry(placement.conversation_id).or_insert(placement);
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = unknown.keys().map(|id| id.0).collect();
    let texts = unknown.values().map(|placement| participants_text(&placement.participants));
    let texts = texts.collect::<Result<Vec<String>, Error>>()?;
    let times: Vec<i64> = unknown.values().map(|placement| placement.sent_at.timestamp_millis()).collect();
    let query = sqlx::query(
        "INSERT INTO conversations (id, participants, created_at)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING",
    );
    let query = query.bind(ids).bind(texts).bind(times);
    within(lease.limit, query.execute(lease.connection()?)).await?;

    let of = |(id, placement): (&ConversationId, &&Placement)| {
        let id = *id;
        placement.participants.iter().map(move |user| (*user, id)).collect::<Vec<_>>()
    };
    let members: BTreeSet<(UserId, ConversationId)> = unknown.iter().flat_map(of).collect();
    let users: Vec<i64> = members.iter().map(|(user, _)| user.0).collect();
    let ids: Vec<Uuid> = members.iter().map(|(_, id)| id.0).collect();
    let query = sqlx::query(
        "INSERT INTO conversation_members (user_id, conversation_id)
         SELECT * FROM UNNEST($1::bigint[], $2::uuid[]) ON CONFLICT DO NOTHING",
    );
    let query = query.bind(users).bind(ids);
    within(lease.limit, query.execute(lease.connection()?)).await?;
    Ok(())
}

/// Moves the heads on by what is wanted, in ascending order of user, and returns where each stood before. From here on
/// nobody else gives places in these inboxes, until the commit.
async fn give_places(lease: &mut Lease, wanted: &BTreeMap<UserId, i64>) -> Result<HashMap<UserId, Seq>, Error> {
    let users: Vec<i64> = wanted.keys().map(|user| user.0).collect();
    let counts: Vec<i64> = wanted.values().copied().collect();
    let query = sqlx::query(
        "INSERT INTO inbox_heads (user_id, head_seq) SELECT * FROM UNNEST($1::bigint[], $2::bigint[])
         ON CONFLICT (user_id) DO UPDATE SET head_seq = inbox_heads.head_seq + excluded.head_seq
         RETURNING user_id, head_seq",
    );
    let query = query.bind(users).bind(counts);
    let rows = within(lease.limit, query.fetch_all(lease.connection()?)).await?;
    let before = rows.iter().map(|row| {
        let (user, head) = (UserId(row.try_get(0)?), row.try_get::<i64, _>(1)?);
        Ok((user, Seq(head - wanted.get(&user).copied().unwrap_or_default())))
    });
    before.collect()
}

async fn give_back(lease: &mut Lease, places: &[(UserId, i64)]) -> Result<(), Error> {
    let users: Vec<i64> = places.iter().map(|(user, _)| user.0).collect();
    let counts: Vec<i64> = places.iter().map(|(_, n)| *n).collect();
    let query = sqlx::query(
        "UPDATE inbox_heads SET head_seq = head_seq - given.n
         FROM UNNEST($1::bigint[], $2::bigint[]) AS given (user_id, n) WHERE inbox_heads.user_id = given.user_id",
    );
    let query = query.bind(users).bind(counts);
    within(lease.limit, query.execute(lease.connection()?)).await?;
    Ok(())
}

/// Messages with their positions in the batch, which begin with 1 as in an array, in the order in which they are locked.
fn by_uid<'a>(messages: impl Iterator<Item = (i32, &'a Placement)>) -> Vec<(i32, &'a Placement)> {
    let mut sorted: Vec<(i32, &Placement)> = messages.collect();
    sorted.sort_unstable_by_key(|(_, placement)| placement.message_uid);
    sorted
}

/// Their columns: position, uid, conversation, sender, body, whether it is automatic, time.
fn bind_messages<'q>(query: PgQuery<'q>, sorted: &[(i32, &'q Placement)]) -> PgQuery<'q> {
    let messages = || sorted.iter().map(|(_, placement)| *placement);
    query
        .bind(sorted.iter().map(|(n, _)| *n).collect::<Vec<i32>>())
        .bind(messages().map(|placement| placement.message_uid.0).collect::<Vec<Uuid>>())
        .bind(messages().map(|placement| placement.conversation_id.0).collect::<Vec<Uuid>>())
        .bind(messages().map(|placement| placement.sender_id.0).collect::<Vec<i64>>())
        .bind(messages().map(|placement| placement.message_body.as_bytes()).collect::<Vec<&[u8]>>())
        .bind(messages().map(|placement| placement.from_auto_reply).collect::<Vec<bool>>())
        .bind(messages().map(|placement| placement.sent_at.timestamp_millis()).collect::<Vec<i64>>())
}

/// Inserts what is not there yet; an id for each that is new, ascending in the order of the batch.
async fn insert_messages(lease: &mut Lease, batch: &[Placement], first: &[bool]) -> Result<Vec<Option<i64>>, Error> {
    let sorted = by_uid((1..).zip(batch).zip(first).filter(|(_, first)| **first).map(|(message, _)| message));
    let query = sqlx::query(
        "INSERT INTO messages (id, message_uid, conversation_id, sender_id, message_body, from_auto_reply, sent_at)
         SELECT (ARRAY(SELECT nextval('messages_id_seq') FROM generate_series(1, $8)))[m.n], m.message_uid,
           m.conversation_id, m.sender_id, m.message_body, m.from_auto_reply, m.sent_at
         FROM UNNEST($1::int[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bytea[], $6::boolean[], $7::bigint[])
           AS m (n, message_uid, conversation_id, sender_id, message_body, from_auto_reply, sent_at)
         ON CONFLICT (message_uid) DO NOTHING RETURNING message_uid, id",
    );
    let query = bind_messages(query, &sorted).bind(i64::try_from(batch.len()).unwrap_or(i64::MAX));
    let rows = within(lease.limit, query.fetch_all(lease.connection()?)).await?;
    let given = rows.iter().map(|row| Ok((MessageUid(row.try_get(0)?), row.try_get(1)?)));
    let given = given.collect::<Result<HashMap<MessageUid, i64>, sqlx::Error>>()?;
    let id =
        |(n, placement): (usize, &Placement)| first[n].then(|| given.get(&placement.message_uid).copied()).flatten();
    Ok(batch.iter().enumerate().map(id).collect())
}

async fn insert_inbox(lease: &mut Lease, rows: &[(UserId, Seq, i64, ConversationId)]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let users: Vec<i64> = rows.iter().map(|(user, ..)| user.0).collect();
    let places: Vec<i64> = rows.iter().map(|(_, seq, ..)| seq.0).collect();
    let messages: Vec<i64> = rows.iter().map(|(_, _, message, _)| *message).collect();
    let conversations: Vec<Uuid> = rows.iter().map(|(.., conversation)| conversation.0).collect();
    let query = sqlx::query(
        "INSERT INTO inbox (user_id, seq, message_id, conversation_id)
         SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[])",
    );
    let query = query.bind(users).bind(places).bind(messages).bind(conversations);
    within(lease.limit, query.execute(lease.connection()?)).await?;
    Ok(())
}

/// Notes for whom messages that are new were kept out.
async fn keep_out(lease: &mut Lease, mut rows: Vec<(UserId, i64)>) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    let users: Vec<i64> = rows.iter().map(|(user, _)| user.0).collect();
    let messages: Vec<i64> = rows.iter().map(|(_, message)| *message).collect();
    let query = sqlx::query(
        "INSERT INTO filtered (user_id, message_id) SELECT * FROM UNNEST($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING",
    );
    let query = query.bind(users).bind(messages);
    within(lease.limit, query.execute(lease.connection()?)).await?;
    Ok(())
}

/// Whose auto-reply answered whom, with which text.
type AnswerKey = (UserId, UserId, [u8; 32]);

/// Remembers the answers that these messages got: of one owner to one sender with one text, the last.
async fn remember_answers(lease: &mut Lease, batch: &[Placement]) -> Result<(), Error> {
    let mut last: BTreeMap<AnswerKey, (DateTime<Utc>, MessageUid)> = BTreeMap::new();
    for placement in batch {
        for answered in &placement.answered {
            let sent = (placement.sent_at, placement.message_uid);
            let kept = last.entry((answered.user_id, placement.sender_id, answered.text_hash.0)).or_insert(sent);
            if sent.0 > kept.0 {
                *kept = sent;
            }
        }
    }
    if last.is_empty() {
        return Ok(());
    }
    let users: Vec<i64> = last.keys().map(|(user, ..)| user.0).collect();
    let senders: Vec<i64> = last.keys().map(|(_, sender, _)| sender.0).collect();
    let hashes: Vec<&[u8]> = last.keys().map(|(.., hash)| &hash[..]).collect();
    let causes: Vec<Uuid> = last.values().map(|(_, cause)| cause.0).collect();
    let times: Vec<i64> = last.values().map(|(at, _)| at.timestamp_millis()).collect();
    let query = sqlx::query(
        // A message that comes again, also behind later ones, changes nothing.
        "INSERT INTO auto_replies_sent (user_id, to_id, text_hash, cause_uid, at)
         SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bytea[], $4::uuid[], $5::bigint[])
         ON CONFLICT (user_id, to_id, text_hash) DO UPDATE SET cause_uid = excluded.cause_uid, at = excluded.at
         WHERE excluded.at > auto_replies_sent.at AND excluded.cause_uid <> auto_replies_sent.cause_uid",
    );
    let query = query.bind(users).bind(senders).bind(hashes).bind(causes).bind(times);
    within(lease.limit, query.execute(lease.connection()?)).await?;
    Ok(())
}
