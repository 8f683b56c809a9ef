//! The safety net under presence and bridge: asks the store where inboxes end, and has sessions read what they were not
//! told of. Once a second while there is any doubt, now and then in any case.

use std::time::Duration;

use actix::prelude::*;

use super::outbox::monotonic;
use super::registry::{CatchUp, Registry, WhoIsHere};
use crate::cluster::doubt::Doubt;
use crate::ids::UserId;
use crate::store::{self, Store};

/// How often it is looked whether there is doubt, and asked while there is.
const IN_DOUBT: Duration = Duration::from_secs(1);
/// How often the store is asked in any case: nothing stays unseen longer.
const ALWAYS: Duration = Duration::from_secs(15);
/// What is written just now is on its way: it is given this time before it counts as missed.
const ON_ITS_WAY: Duration = Duration::from_millis(250);
/// Users in one question.
const USERS: usize = 1000;

/// Looks for as long as the node lives.
pub async fn keep_catching_up(store: Store, registry: Addr<Registry>, doubt: Doubt) {
    let (mut doubted, mut last) = (true, monotonic());
    loop {
        tokio::time::sleep(IN_DOUBT).await;
        let doubts = doubt.any();
        // Once more when it is over: what it cost may have come last.
        if !doubts && !doubted && monotonic().saturating_duration_since(last) < ALWAYS {
            continue;
        }
        last = monotonic();
        match catch_up(&store, &registry).await {
            Ok(true) => doubted = doubts,
            Ok(false) => return,
            Err(error) if error.is_closed() => return,
            Err(error) => {
                tracing::warn!(%error, "it cannot be read where inboxes end; it is tried again");
                doubted = true;
            }
        }
    }
}

/// One look. `false`: the registry is gone.
async fn catch_up(store: &Store, registry: &Addr<Registry>) -> Result<bool, store::Error> {
    let Ok(users) = registry.send(WhoIsHere).await else { return Ok(false) };
    for users in users.chunks(USERS) {
        look(store, registry, users).await?;
    }
    Ok(registry.connected())
}

async fn look(store: &Store, registry: &Addr<Registry>, users: &[UserId]) -> Result<(), store::Error> {
    let heads = store.heads(users).await?;
    tokio::time::sleep(ON_ITS_WAY).await;
    let found = registry.send(CatchUp(heads)).await.unwrap_or_default();
    if found > 0 {
        crate::metrics::catch_up_found(found as u64);
        tracing::info!(inboxes = found, "messages that nobody told this node of were found in the store");
    }
    Ok(())
}
