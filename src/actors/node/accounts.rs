//! Acts on what happened to accounts, whichever process did it.

use std::time::Duration;

use super::NodeHandle;
use crate::actors::registry::End;
use crate::protocol::close::Close;
use crate::store::account_events::Change;

/// How often the node looks what other processes did to accounts.
const POLL: Duration = Duration::from_millis(500);
/// Account events that are read at once.
const EVENTS: u32 = 1_000;

/// Closes the sockets of users who were disabled and of logins that ended, whichever process did it.
pub(super) async fn watch_accounts(node: NodeHandle, mut seen: i64) {
    loop {
        tokio::time::sleep(POLL).await;
        if !node.0.registry.connected() {
            node.0.failed.notify_one();
            return;
        }
        let events = match node.0.store.account_events_after(seen, EVENTS).await {
            Ok(events) => events,
            // The store is closed at the end of a drain.
            Err(_) if node.draining() => return,
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
                Change::Role => continue,
            };
            let ended = node.0.registry.send(end).await.unwrap_or_default();
            if ended > 0 {
                tracing::info!(user_id = %event.user_id, ended, "sockets closed: the account changed");
            }
        }
    }
}
