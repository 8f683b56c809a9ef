//! The receiving half: reads what is sent to this node's slot, and brings it to the registry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::watch;

use super::OnOrder;
use crate::actors::registry::{Deliver, Ephemeral, Events, Nudge, Registry, Tell};
use crate::cluster::Cluster;
use crate::cluster::doubt::Reason;
use crate::cluster::membership::Sitting;
use crate::ids::{Seq, Slot, UserId};
use crate::pipeline::bridge::{BridgeLink, BridgeReader, BridgeRecord};
use crate::pipeline::bus;
use crate::protocol::frames::SealedMessage;

/// Records taken at once.
const BATCH: usize = 256;
/// Time before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long fixing the place to read from may take.
const OPENING: Duration = Duration::from_secs(10);
/// After a failure the store is asked for what may have been missed, for this long.
const DOUBT: Duration = Duration::from_secs(5);

/// Reads the slot that this node has at the time, for as long as the bridge is open.
pub(super) async fn hear(registry: Addr<Registry>, cluster: Cluster, link: Arc<dyn BridgeLink>, on_order: OnOrder) {
    let mut seats = cluster.seats();
    let doubt = cluster.doubt().clone();
    loop {
        doubt.set(Reason::Bridge, true);
        let Some(sitting) = *seats.borrow_and_update() else {
            if seats.changed().await.is_err() {
                return;
            }
            continue;
        };
        let slot = sitting.seat.slot;
        let opened = tokio::time::timeout(OPENING, link.open(slot)).await;
        let ended = match opened.unwrap_or_else(|_| Err(unavailable("no answer in time"))) {
            Ok(mut reader) => {
                tracing::info!(%slot, "what is sent to this node is read");
                doubt.set(Reason::Bridge, false);
                doubt.for_a_while(DOUBT);
                cluster.listening(sitting.seat);
                let ear = Ear { registry: registry.clone(), cluster: cluster.clone(), on_order: on_order.clone() };
                ear.read(reader.as_mut(), &mut seats, slot).await
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(bus::Error::Closed(_)) => return,
            Err(error) => {
                crate::metrics::bridge_failed("receive");
                doubt.set(Reason::Bridge, true);
                tracing::warn!(%slot, %error, "what is sent to this node cannot be read; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn unavailable(reason: &str) -> bus::Error {
    bus::Error::Unavailable { topic: "bridge".into(), reason: reason.into() }
}

struct Ear {
    registry: Addr<Registry>,
    cluster: Cluster,
    on_order: OnOrder,
}

impl Ear {
    /// Reads until the slot is another.
    async fn read(
        &self,
        reader: &mut dyn BridgeReader,
        seats: &mut watch::Receiver<Option<Sitting>>,
        slot: Slot,
    ) -> Result<(), bus::Error> {
        loop {
            let records = tokio::select! {
                biased;
                changed = seats.changed() => {
                    changed.map_err(|_| bus::Error::Closed("the node stops".into()))?;
                    // Looked at and let go: while it is looked at, nobody can say that it is listened to.
                    let now = *seats.borrow_and_update();
                    match now {
                        // Another seat in the same slot: its partition is being read already.
                        Some(sitting) if sitting.seat.slot == slot => self.cluster.listening(sitting.seat),
                        _ => return Ok(()),
                    }
                    continue;
                }
                records = reader.receive(BATCH) => records,
            };
            match records {
                Ok(records) => self.bring(&records).await,
                Err(bus::Error::Closed(why)) => return Err(bus::Error::Closed(why)),
                // In doubt from here until the place to read from is fixed anew, and for a while.
                Err(error) => return Err(error),
            }
        }
    }

    async fn bring(&self, records: &[Bytes]) {
        crate::metrics::bridge_received(records.len() as u64);
        let mut inboxes: HashMap<UserId, Vec<(Seq, SealedMessage)>> = HashMap::new();
        let (mut nudges, mut frames, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            let record = match BridgeRecord::read(record) {
                Ok(record) => record,
                Err(error) => {
                    crate::metrics::bridge_failed("unreadable");
                    tracing::warn!(%error, "sessions read from the store instead");
                    self.cluster.doubt().for_a_while(DOUBT);
                    continue;
                }
            };
            let messages: Vec<_> = record.messages.into_iter().map(SealedMessage::from_shared).collect();
            for (user, seq, message) in record.places {
                if let Some(message) = messages.get(message as usize) {
                    inboxes.entry(user).or_default().push((seq, message.clone()));
                }
            }
            nudges.extend(record.nudges);
            frames.extend(record.frames);
            orders.extend(record.orders);
        }
        let astray = self.cluster.here().absent(inboxes.keys().copied());
        crate::metrics::bridge_astray(astray as u64);
        let events: Events = inboxes.into_iter().map(|(user, arrivals)| (user, arrivals.into())).collect();
        // The registry is gone only when the node is; sessions then read what they missed from the store.
        if !events.is_empty() {
            let _ = self.registry.send(Deliver(Arc::new(events))).await;
        }
        if !nudges.is_empty() {
            let _ = self.registry.send(Nudge(nudges)).await;
        }
        for frame in frames {
            let ephemeral = Ephemeral { text: frame.text.as_ref().into(), kind: frame.kind };
            let _ = self.registry.send(Tell { users: frame.users, frame: ephemeral }).await;
        }
        orders.into_iter().for_each(|order| (self.on_order)(order));
    }
}
