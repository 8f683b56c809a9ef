//! Delivery into SQLite: one transaction, which alone writes; rows in statements of many.

use std::collections::{BTreeMap, HashMap};

use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteConnection};

use crate::envelope::Answered;
use crate::ids::{ConversationId, Seq, UserId};
use crate::store::Error;
use crate::store::connection::{Dialect, IMMEDIATE};
use crate::store::inbox::{Assigned, Placed, Placement, assign, participants_text, wanted};
use crate::store::rows::Values;

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
static KEEP_OUT: Values = Values::new("INSERT INTO filtered (user_id, message_id)", 2, "ON CONFLICT DO NOTHING");
static REMEMBER: Values = Values::new(
    "INSERT INTO auto_replies_sent (user_id, to_id, text_hash, cause_uid, at)",
    5,
    // A message that comes again, also behind later ones, changes nothing.
    "ON CONFLICT (user_id, to_id, text_hash) DO UPDATE SET cause_uid = excluded.cause_uid, at = excluded.at \
     WHERE excluded.at > auto_replies_sent.at AND excluded.cause_uid <> auto_replies_sent.cause_uid",
);

/// Writes all of `batch`, or nothing. Conversations that are known are in the tables.
pub(in crate::store) async fn write(
    writer: &SqlitePool,
    batch: &[Placement],
    is_known: impl Fn(&ConversationId) -> bool,
) -> Result<Vec<Placed>, Error> {
    let mut tx = writer.begin_with(IMMEDIATE).await?;
    make_conversations(&mut tx, batch, is_known).await?;
    let ids = insert_messages(&mut tx, batch).await?;
    let wanted = wanted(batch, |n| ids[n].is_some());
    let before = give_places(&mut tx, &wanted).await?;
    let Assigned { placed, rows, kept_out } = assign(batch, &ids, before);
    insert_inbox(&mut tx, &rows).await?;
    keep_out(&mut tx, &kept_out).await?;
    remember_answers(&mut tx, batch).await?;
    tx.commit().await?;
    Ok(placed)
}

async fn make_conversations(
    tx: &mut SqliteConnection,
    batch: &[Placement],
    is_known: impl Fn(&ConversationId) -> bool,
) -> Result<(), Error> {
    for placement in batch {
        if is_known(&placement.conversation_id) {
            continue;
        }
        sqlx::query(
            "INSERT INTO conversations (id, participants, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(placement.conversation_id.0)
        .bind(participants_text(&placement.participants)?)
        .bind(placement.sent_at.timestamp_millis())
        .execute(&mut *tx)
        .await?;
        for (sql, rows) in INSERT_MEMBERS.of(Dialect::Sqlite, &placement.participants) {
            let mut query = sqlx::query(sql);
            for member in rows {
                query = query.bind(member.0).bind(placement.conversation_id.0);
            }
            query.execute(&mut *tx).await?;
        }
    }
    Ok(())
}

/// Inserts what is not there yet; an id for each that is new. The ids are given here, under the transaction's lock: to
/// have the database return one for each row costs a message between threads for each row.
async fn insert_messages(tx: &mut SqliteConnection, batch: &[Placement]) -> Result<Vec<Option<i64>>, Error> {
    let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM messages").fetch_one(&mut *tx).await?;
    let first = last.unwrap_or(0) + 1;
    let numbered: Vec<(i64, &Placement)> = (first..).zip(batch).collect();
    let mut inserted = 0;
    for (sql, rows) in INSERT_MESSAGES.of(Dialect::Sqlite, &numbered) {
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
    for (sql, rows) in GIVE_PLACES.of(Dialect::Sqlite, &rows) {
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
    for (sql, rows) in INSERT_INBOX.of(Dialect::Sqlite, rows) {
        let mut query = sqlx::query(sql);
        for (user, seq, message, conversation) in rows {
            query = query.bind(user.0).bind(seq.0).bind(message).bind(conversation.0);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Notes for whom messages that are new were kept out, in the transaction that writes them.
async fn keep_out(tx: &mut SqliteConnection, rows: &[(UserId, i64)]) -> Result<(), Error> {
    for (sql, rows) in KEEP_OUT.of(Dialect::Sqlite, rows) {
        let mut query = sqlx::query(sql);
        for (user, message) in rows {
            query = query.bind(user.0).bind(message);
        }
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Remembers the answers that these messages got, in the transaction that writes the messages: a message that is not
/// in the tables yet is decided about again after a crash, and before any later one of its sender.
async fn remember_answers(tx: &mut SqliteConnection, batch: &[Placement]) -> Result<(), Error> {
    let of = |placement| -> Vec<(&Placement, &Answered)> {
        let placement: &Placement = placement;
        placement.answered.iter().map(|answered| (placement, answered)).collect()
    };
    let rows: Vec<_> = batch.iter().flat_map(of).collect();
    for (sql, rows) in REMEMBER.of(Dialect::Sqlite, &rows) {
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
