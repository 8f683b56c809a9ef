//! Tells people who share a conversation that one of them came or went. Best effort: the first thing to be shed.

use std::collections::HashMap;
use std::time::Duration;

use actix::prelude::*;

use super::bridge::Bridge;
use crate::ids::UserId;
use crate::pipeline::bridge::FrameKind;
use crate::protocol::frames::ServerFrame;
use crate::store::Store;

/// Comings and goings that wait at most; more are not announced.
pub const MAILBOX: usize = 1024;
/// People of one user who are told of a coming or going, or looked at.
pub(super) const MAX_PEERS: u32 = 500;
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
    /// Whether it is their first session on this node now.
    pub first: bool,
}

/// The way to the others; sent once, by the node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Bridged(pub Bridge);

/// The actor. One a node.
pub struct Presence {
    store: Store,
    bridge: Option<Bridge>,
    /// Who went and has not been announced yet.
    leaving: HashMap<UserId, SpawnHandle>,
    running: usize,
}

impl Presence {
    /// An actor that asks `store` who shares a conversation with whom.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, bridge: None, leaving: HashMap::new(), running: 0 }
    }

    /// Tells the others, and with `greet` tells the user about the others.
    fn announce(&mut self, user_id: UserId, online: bool, greet: bool, tell_peers: bool, context: &mut Context<Self>) {
        let Some(bridge) = self.bridge.clone() else { return };
        if self.running >= MAX_RUNNING {
            crate::metrics::shed("presence");
            return;
        }
        self.running += 1;
        let store = self.store.clone();
        let work = async move {
            // Whoever has a session on another node has neither come nor gone.
            let tell_peers = tell_peers && bridge.online_elsewhere(&[user_id]).await.is_empty();
            if !greet && !tell_peers {
                return;
            }
            let Ok(peers) = store.peers(user_id, MAX_PEERS).await else { return };
            let online_peers = bridge.online(peers).await;
            if greet {
                for peer in &online_peers {
                    let frame = ServerFrame::Presence { user_id: *peer, online: true };
                    bridge.tell(vec![user_id], &frame, FrameKind::Presence).await;
                }
            }
            if tell_peers {
                let frame = ServerFrame::Presence { user_id, online };
                bridge.tell(online_peers, &frame, FrameKind::Presence).await;
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

impl Handler<Bridged> for Presence {
    type Result = ();

    fn handle(&mut self, bridged: Bridged, _: &mut Self::Context) {
        self.bridge = Some(bridged.0);
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
