//! Tells people who share a conversation that one of them came or went. Best effort: the first thing to be shed.

use std::collections::HashMap;
use std::time::Duration;

use actix::prelude::*;

use super::registry::{Registry, Tell, WhoIsOnline};
use crate::ids::UserId;
use crate::protocol::frames::ServerFrame;
use crate::store::Store;

/// Comings and goings that wait at most; more are not announced.
pub const MAILBOX: usize = 1024;
/// People who are told of one coming or going.
const MAX_PEERS: u32 = 500;
/// Announcements under way at once; more are shed.
const MAX_RUNNING: usize = 32;
/// Somebody who is back within this time has not been away.
const GRACE: Duration = Duration::from_secs(3);

/// A session came or the last one went; sent by the registry, shed when the mailbox is full.
#[derive(Message, Clone, Copy)]
#[rtype(result = "()")]
pub struct Seen {
    /// Who.
    pub user_id: UserId,
    /// Came, or went.
    pub came: bool,
    /// Whether it is their first session now.
    pub first: bool,
}

/// Where the registry is; sent once, by the node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Registered(pub Addr<Registry>);

/// The actor. One a node.
pub struct Presence {
    store: Store,
    registry: Option<Addr<Registry>>,
    /// Who went and has not been announced yet.
    leaving: HashMap<UserId, SpawnHandle>,
    running: usize,
}

impl Presence {
    /// An actor that asks `store` who shares a conversation with whom.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, registry: None, leaving: HashMap::new(), running: 0 }
    }

    /// Tells the others, and with `greet` tells the user about the others.
    fn announce(&mut self, user_id: UserId, online: bool, greet: bool, tell_peers: bool, context: &mut Context<Self>) {
        let Some(registry) = self.registry.clone() else { return };
        if self.running >= MAX_RUNNING {
            crate::metrics::shed("presence");
            return;
        }
        self.running += 1;
        let store = self.store.clone();
        let work = async move {
            let Ok(peers) = store.peers(user_id, MAX_PEERS).await else { return };
            let Ok(online_peers) = registry.send(WhoIsOnline(peers)).await else { return };
            if greet {
                for peer in &online_peers {
                    let frame = ServerFrame::Presence { user_id: *peer, online: true };
                    if registry.send(Tell { users: vec![user_id], frame, kind: "presence" }).await.is_err() {
                        return;
                    }
                }
            }
            if tell_peers {
                let frame = ServerFrame::Presence { user_id, online };
                // The registry is gone only when the node is.
                let _ = registry.send(Tell { users: online_peers, frame, kind: "presence" }).await;
            }
        };
        context.spawn(work.into_actor(self).map(|(), actor, _| actor.running -= 1));
    }
}

impl Actor for Presence {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Registered> for Presence {
    type Result = ();

    fn handle(&mut self, registered: Registered, _: &mut Self::Context) {
        self.registry = Some(registered.0);
    }
}

impl Handler<Seen> for Presence {
    type Result = ();

    fn handle(&mut self, seen: Seen, context: &mut Self::Context) {
        let Seen { user_id, came, first } = seen;
        if came {
            let was_leaving = self.leaving.remove(&user_id).map(|timer| context.cancel_future(timer)).is_some();
            self.announce(user_id, true, true, first && !was_leaving, context);
            return;
        }
        let timer = context.run_later(GRACE, move |actor, context| {
            actor.leaving.remove(&user_id);
            actor.announce(user_id, false, false, true, context);
        });
        if let Some(earlier) = self.leaving.insert(user_id, timer) {
            context.cancel_future(earlier);
        }
    }
}
