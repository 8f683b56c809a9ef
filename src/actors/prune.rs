//! Throws away what has expired, a little at a time: messages are written by the same connection.

use std::time::Duration;

use chrono::TimeDelta;

use crate::clock::Clock;
use crate::store::auto_reply::MAX_REPEAT_AFTER_SECONDS;
use crate::store::{self, Store};

/// How often, and how much at once.
const PRUNE: Duration = Duration::from_secs(600);
const ROWS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// What everybody has seen.
const EVENTS_KEPT: TimeDelta = TimeDelta::hours(1);
/// A day over the longest time that an auto-reply asks for: messages come late.
const ANSWERS_KEPT: TimeDelta = TimeDelta::seconds(MAX_REPEAT_AFTER_SECONDS as i64 + 24 * 3600);

/// Throws away logins that are over, events that everybody has seen, and whom auto-replies answered long ago.
pub async fn prune(store: Store, clock: Clock) {
    loop {
        tokio::time::sleep(PRUNE).await;
        loop {
            match some(&store, &clock).await {
                Ok(rows) if rows >= u64::from(ROWS) => tokio::time::sleep(PAUSE).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "what has expired could not be thrown away; it is tried again");
                    break;
                }
            }
        }
    }
}

/// The most rows that went from one table: fewer than [`ROWS`] when nothing is left.
async fn some(store: &Store, clock: &Clock) -> Result<u64, store::Error> {
    let now = clock.now();
    let families = store.prune_families(now, ROWS).await?;
    let events = store.prune_account_events(now - EVENTS_KEPT, ROWS).await?;
    let answers = store.prune_auto_replies_sent(now - ANSWERS_KEPT, ROWS).await?;
    Ok(families.max(events).max(answers))
}
