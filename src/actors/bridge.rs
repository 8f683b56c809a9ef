//! Brings messages, nudges and frames to sessions wherever they live: here through the registry, elsewhere over the bridge.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{Notify, mpsc, oneshot};

use super::registry::{Deliver, Ephemeral, Events, Nudge, Registry, Tell, WhoIsOnline};
use super::tell::{Told, tell};
use crate::cluster::Cluster;
use crate::ids::{Seq, Slot, UserId};
use crate::pipeline::bridge::{BridgeLink, Frame, FrameKind, Order, Packer};
use crate::pipeline::bus;
use crate::protocol::frames::ServerFrame;

mod hearing;
mod sending;

/// Bytes of one record. A message that fits into none is not sent: its readers' nodes are told that it exists.
const RECORD_BYTES: usize = 512 * 1024;
/// Transactions of the router that wait to be told of; the router waits for room.
const BATCHES: usize = 64;
/// Frames that wait to be sent to other nodes; one more is shed.
const FRAMES: usize = 4096;
/// Time between two hints, at least: what happens meanwhile is one.
const HINTS: Duration = Duration::from_millis(20);

/// What one transaction of the router leads to on other nodes.
struct Batch {
    events: Arc<Events>,
    heads: Vec<(UserId, Seq)>,
    done: oneshot::Sender<()>,
}

/// Whether the other nodes have it.
#[derive(Debug)]
#[must_use = "a message is finished only when the other nodes have it safely"]
pub struct Bridged(Option<oneshot::Receiver<()>>);

impl Bridged {
    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn at_once(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until it is safe on the bridge. `false`: it never will be, because this node stops. After the next start it is
    /// told again.
    pub async fn safe(self) -> bool {
        match self.0 {
            Some(done) => done.await.is_ok(),
            None => true,
        }
    }
}

/// What is done when another node orders something.
pub type OnOrder = Arc<dyn Fn(Order) + Send + Sync>;

/// The way to sessions. Cheap to clone.
#[derive(Clone)]
pub struct Bridge(Arc<Inner>);

struct Inner {
    registry: Addr<Registry>,
    far: Option<Far>,
}

/// The other nodes.
struct Far {
    cluster: Cluster,
    link: Arc<dyn BridgeLink>,
    batches: mpsc::Sender<Batch>,
    frames: mpsc::Sender<Frame>,
    hint: Arc<Notify>,
}

impl Bridge {
    /// The way on a node that is alone.
    #[must_use]
    pub fn alone(registry: Addr<Registry>) -> Self {
        Self(Arc::new(Inner { registry, far: None }))
    }

    /// The way in a cluster: sends and receives by `link` from now on.
    #[must_use]
    pub fn start(registry: Addr<Registry>, cluster: Cluster, link: Arc<dyn BridgeLink>, on_order: OnOrder) -> Self {
        let (batches, waiting) = mpsc::channel(BATCHES);
        let (frames, ephemeral) = mpsc::channel(FRAMES);
        let hint = Arc::new(Notify::new());
        actix::spawn(sending::batches(cluster.clone(), link.clone(), waiting));
        actix::spawn(sending::frames(cluster.clone(), link.clone(), ephemeral));
        actix::spawn(hints(cluster.clone(), link.clone(), hint.clone()));
        actix::spawn(hearing::hear(registry.clone(), cluster.clone(), link.clone(), on_order));
        Self(Arc::new(Inner { registry, far: Some(Far { cluster, link, batches, frames, hint }) }))
    }

    /// The cluster that this node is in.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.0.far.as_ref().map(|far| &far.cluster)
    }

    /// Brings the messages of one transaction, and the ends of inboxes that got some before. In the order of calls, if each
    /// is awaited before the next.
    pub async fn deliver(&self, events: Events, heads: Vec<(UserId, Seq)>) -> Bridged {
        let events = Arc::new(events);
        let mut bridged = Bridged(None);
        if let Some(far) = &self.0.far {
            let (done, safe) = oneshot::channel();
            bridged = Bridged(Some(safe));
            let batch = Batch { events: events.clone(), heads: heads.clone(), done };
            // Gone only when the node is: then what is not told now is told after the start.
            let _ = far.batches.send(batch).await;
        }
        // The registry is gone only when the node is; sessions then read what they missed from the store.
        if !events.is_empty() {
            let _ = self.0.registry.send(Deliver(events)).await;
        }
        if !heads.is_empty() {
            let _ = self.0.registry.send(Nudge(heads)).await;
        }
        bridged
    }

    /// Tells all sessions of these users something that is not stored.
    pub async fn tell(&self, users: Vec<UserId>, frame: &ServerFrame, kind: FrameKind) {
        let text = frame.text();
        self.tell_others(&users, &text, kind);
        // The registry is gone only when the node is.
        let _ = self.0.registry.send(Tell { users, frame: Ephemeral { text, kind } }).await;
    }

    /// The same for whoever cannot wait: shed when the registry is busy.
    pub fn try_tell(&self, users: Vec<UserId>, frame: &ServerFrame, kind: FrameKind) {
        let text = frame.text();
        self.tell_others(&users, &text, kind);
        if tell(&self.0.registry, "registry", Tell { users, frame: Ephemeral { text, kind } }) == Told::Full {
            crate::metrics::shed(kind.label());
        }
    }

    fn tell_others(&self, users: &[UserId], text: &str, kind: FrameKind) {
        let Some(far) = &self.0.far else { return };
        let frame = Frame { users: users.to_vec(), text: text.into(), kind };
        if !users.is_empty() && far.frames.try_send(frame).is_err() {
            crate::metrics::shed(kind.label());
        }
    }

    /// Which of these users have a session anywhere, as far as is known.
    pub async fn online(&self, users: Vec<UserId>) -> Vec<UserId> {
        let mut elsewhere = self.online_elsewhere(&users).await;
        let here = self.0.registry.send(WhoIsOnline(users)).await.unwrap_or_default();
        for user in &here {
            elsewhere.remove(user);
        }
        here.into_iter().chain(elsewhere).collect()
    }

    /// Which of these users have a session on another node, as far as is known.
    pub async fn online_elsewhere(&self, users: &[UserId]) -> HashSet<UserId> {
        match &self.0.far {
            Some(far) => far.cluster.online_elsewhere(users).await,
            None => HashSet::new(),
        }
    }

    /// A session of `user` has joined the registry: returns when the other nodes will tell this one of the user's messages.
    /// What was written before stands in the inbox; so whoever reads that now misses nothing.
    pub async fn joined(&self, user: UserId) {
        if let Some(far) = &self.0.far {
            far.cluster.joined(user).await;
        }
    }

    /// Tells the node in `slot` to do something.
    ///
    /// # Errors
    /// [`bus::Error`]; [`bus::Error::Closed`] also when this node is alone.
    pub async fn order(&self, slot: Slot, order: Order) -> Result<(), bus::Error> {
        let Some(far) = &self.0.far else { return Err(bus::Error::Closed("this node is alone".into())) };
        send_order(far.link.as_ref(), slot, order).await
    }

    /// Has the other nodes look at `account_events` now, and not only when they look anyway.
    pub fn hint_events(&self) {
        if let Some(far) = &self.0.far {
            far.hint.notify_one();
        }
    }
}

async fn hints(cluster: Cluster, link: Arc<dyn BridgeLink>, hint: Arc<Notify>) {
    loop {
        hint.notified().await;
        for slot in cluster.everybody().slots() {
            // A hint may be lost; who does not get it looks soon anyway.
            drop(send_order(link.as_ref(), slot, Order::LookAtEvents));
        }
        tokio::time::sleep(HINTS).await;
    }
}

fn send_order(link: &dyn BridgeLink, slot: Slot, order: Order) -> impl Future<Output = Result<(), bus::Error>> + use<> {
    let mut packer = Packer::new(RECORD_BYTES);
    packer.order(order);
    let sent: Vec<_> = packer.finish().into_iter().map(|record| link.send(slot, record)).collect();
    async move {
        for sent in sent {
            sent.await?;
        }
        Ok(())
    }
}
