//! The sending half: what gathers while Redis is asked where the readers are is asked for together, and sent in order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{BATCHES, Batch, RECORD_BYTES};
use crate::cluster::Cluster;
use crate::cluster::presence::Route;
use crate::ids::{Slot, UserId};
use crate::pipeline::bridge::{BridgeLink, Frame, Packer};
use crate::pipeline::bus;

/// Frames that are sent together at most.
const FRAMES: usize = 512;
/// Records of frames on their way at once; while so many are, frames are shed.
const FRAMES_UNDER_WAY: usize = 256;
/// Time before a record that was not taken is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// A record on its way.
struct Sending {
    slot: Slot,
    record: Bytes,
    safe: BoxFuture<'static, Result<(), bus::Error>>,
}

/// Sends what transactions lead to, for as long as somebody may bring more.
pub(super) async fn batches(cluster: Cluster, link: Arc<dyn BridgeLink>, mut batches: mpsc::Receiver<Batch>) {
    let mut waiting = Vec::new();
    while batches.recv_many(&mut waiting, BATCHES).await > 0 {
        let users: HashSet<UserId> = waiting.iter().flat_map(concerned).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let route = cluster.whom(&users).await;
        count(&route);
        let mut sending = Vec::new();
        for slot in route.slots() {
            // Put in line here, one batch after the other: that is their order there.
            let records = pack(&waiting, &route, slot);
            sending.extend(records.into_iter().map(|record| send(link.as_ref(), slot, record)));
        }
        let done: Vec<_> = waiting.drain(..).map(|batch| batch.done).collect();
        if sending.is_empty() {
            tell_done(done);
        } else {
            actix::spawn(confirm(link.clone(), sending, done));
        }
    }
}

fn concerned(batch: &Batch) -> impl Iterator<Item = UserId> {
    batch.events.iter().map(|(user, _)| *user).chain(batch.heads.iter().map(|(user, _)| *user))
}

fn count(route: &Route) {
    for slot in route.slots() {
        crate::metrics::bridge_told(if route.everything.contains(&slot) { "everything" } else { "presence" });
    }
}

fn pack(batches: &[Batch], route: &Route, slot: Slot) -> Vec<Bytes> {
    let mut packer = Packer::new(RECORD_BYTES);
    for batch in batches {
        for (user, arrivals) in batch.events.iter().filter(|(user, _)| route.concerns(slot, *user)) {
            arrivals.iter().for_each(|(seq, message)| packer.place(*user, *seq, message.shared()));
        }
        let heads = batch.heads.iter().filter(|(user, _)| route.concerns(slot, *user));
        heads.for_each(|(user, head)| packer.nudge(*user, *head));
    }
    packer.finish()
}

fn send(link: &dyn BridgeLink, slot: Slot, record: Bytes) -> Sending {
    crate::metrics::bridge_sent(1);
    Sending { slot, safe: link.send(slot, record.clone()), record }
}

/// Waits until all is safe. What is sent again comes late, and sessions read it from the store meanwhile.
async fn confirm(link: Arc<dyn BridgeLink>, sending: Vec<Sending>, done: Vec<oneshot::Sender<()>>) {
    for mut sending in sending {
        loop {
            match sending.safe.await {
                Ok(()) => break,
                Err(bus::Error::Closed(_)) => return,
                Err(error @ bus::Error::TooLarge { .. }) => {
                    crate::metrics::bridge_failed("too_large");
                    tracing::error!(slot = %sending.slot, %error, "a node is not told: its sessions read from the store, late");
                    break;
                }
                Err(error) => {
                    crate::metrics::bridge_failed("send");
                    tracing::warn!(slot = %sending.slot, %error, "a node is not told yet; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                    sending = send(link.as_ref(), sending.slot, sending.record);
                }
            }
        }
    }
    tell_done(done);
}

fn tell_done(done: Vec<oneshot::Sender<()>>) {
    for done in done {
        // Whoever waits may be gone.
        let _ = done.send(());
    }
}

/// Sends frames that are not stored: nobody waits for them, and they are the first to be shed.
pub(super) async fn frames(cluster: Cluster, link: Arc<dyn BridgeLink>, mut frames: mpsc::Receiver<Frame>) {
    let under_way = Arc::new(Semaphore::new(FRAMES_UNDER_WAY));
    let mut waiting = Vec::new();
    while frames.recv_many(&mut waiting, FRAMES).await > 0 {
        let users: HashSet<UserId> = waiting.iter().flat_map(|frame| frame.users.iter().copied()).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let route = cluster.whom(&users).await;
        for slot in route.slots() {
            let mut packer = Packer::new(RECORD_BYTES);
            for frame in &waiting {
                let users: Vec<UserId> =
                    frame.users.iter().copied().filter(|user| route.concerns(slot, *user)).collect();
                if !users.is_empty() && !packer.frame(users, &frame.text, frame.kind) {
                    crate::metrics::shed(frame.kind.label());
                }
            }
            for record in packer.finish() {
                let Ok(leave) = under_way.clone().try_acquire_owned() else {
                    crate::metrics::shed("bridge");
                    continue;
                };
                let sending = send(link.as_ref(), slot, record);
                actix::spawn(async move {
                    if sending.safe.await.is_err() {
                        crate::metrics::shed("bridge");
                    }
                    drop(leave);
                });
            }
        }
        waiting.clear();
    }
}
