//! Acts on what happened to accounts and to their automation, whichever process did it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::NodeHandle;
use crate::actors::bridge::Bridge;
use crate::actors::registry::End;
use crate::automation::Automation;
use crate::protocol::close::Close;
use crate::store::account_events::Change;

/// How often the node looks what other processes did. Other nodes of a cluster say when there is something to look at; this
/// is for when that is lost, and for the command line.
const POLL: Duration = Duration::from_millis(500);
/// Account events that are read at once.
const EVENTS: u32 = 1_000;

/// Closes the sockets of users who were disabled and of logins that ended, and forgets what is remembered of users whose
/// automation is another now. Looks when `hint` says so, and at intervals in any case.
pub(super) async fn watch_accounts(node: NodeHandle, automation: Automation, hint: Arc<Notify>, mut seen: i64) {
    loop {
        // Whichever comes first.
        let _ = tokio::time::timeout(POLL, hint.notified()).await;
        if !node.0.registry.connected() {
            node.0.failed.notify_one();
            return;
        }
        let events = match node.0.store.account_events_after(seen, EVENTS).await {
            Ok(events) => events,
            // At the end of a drain.
            Err(error) if error.is_closed() => return,
            Err(error) => {
                tracing::warn!(%error, "what happened to accounts cannot be read; it is tried again");
                continue;
            }
        };
        for event in events {
            seen = event.id;
            let end = match event.change {
                Change::Disabled => End::User(event.user_id, Close::Disabled),
                Change::Logout(family) => End::Family(event.user_id, family, Close::Token),
                Change::Automation => {
                    automation.changed(event.user_id);
                    continue;
                }
                Change::Role | Change::Unknown => continue,
            };
            let ended = node.0.registry.send(end).await.unwrap_or_default();
            if ended > 0 {
                tracing::info!(user_id = %event.user_id, ended, "sockets closed: the account changed");
            }
        }
    }
}

/// Tells the other nodes to look when this one has written something.
pub(super) async fn hint_others(written: Arc<Notify>, bridge: Bridge) {
    loop {
        written.notified().await;
        bridge.hint_events();
    }
}
