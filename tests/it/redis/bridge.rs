//! The bridge, over a link in memory that a test can stop: what is sent, to whom, in which order, and when it is safe.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parlor::actors::bridge::Bridge;
use parlor::actors::presence::{Bridged, Presence};
use parlor::actors::registry::{Events, Registry};
use parlor::ids::{Seq, Slot, UserId};
use parlor::pipeline::bridge::{BridgeLink, BridgeReader, BridgeRecord, FrameKind, Order};
use parlor::pipeline::bus::Error;
use parlor::protocol::frames::{SealedMessage, ServerFrame};
use parlor::store::Store;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{Member, Redis, Shared, Wish, setup, until};

/// Carries records in memory.
#[derive(Clone, Default)]
struct Wire {
    sent: Shared<Vec<(Slot, Bytes)>>,
    readers: Shared<HashMap<Slot, mpsc::UnboundedSender<Bytes>>>,
    refusing: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl BridgeLink for Wire {
    fn send(&self, slot: Slot, record: Bytes) -> BoxFuture<'static, Result<(), Error>> {
        let outcome = if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed("the test says so".into()))
        } else if self.refusing.load(Ordering::SeqCst) {
            Err(Error::Unavailable { topic: "bridge".into(), reason: "the test says so".into() })
        } else {
            if let Some(reader) = self.readers.lock().unwrap().get(&slot) {
                let _ = reader.send(record.clone());
            }
            self.sent.lock().unwrap().push((slot, record));
            Ok(())
        };
        std::future::ready(outcome).boxed()
    }

    fn open(&self, slot: Slot) -> BoxFuture<'static, Result<Box<dyn BridgeReader>, Error>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.readers.lock().unwrap().insert(slot, sender);
        std::future::ready(Ok(Box::new(Wired(receiver)) as Box<dyn BridgeReader>)).boxed()
    }
}

struct Wired(mpsc::UnboundedReceiver<Bytes>);

impl BridgeReader for Wired {
    fn receive(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        async move {
            match self.0.recv().await {
                Some(record) => Ok(vec![record]),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

/// A node with its bridge, and what it was ordered.
struct Station {
    bridge: Bridge,
    member: Member,
    orders: Shared<Vec<Order>>,
    _folder: TempDir,
}

async fn station(redis: &Redis, wire: &Wire, host: &str) -> Station {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let member = Member::start(setup(redis, Wish::Any, 8, host));
    let presence = Presence::new(store).start();
    let registry = Registry::new(presence.clone(), member.here().clone(), Arc::default()).start();
    let orders: Shared<Vec<Order>> = Arc::default();
    let heard = orders.clone();
    let on_order = Arc::new(move |order| heard.lock().unwrap().push(order));
    let bridge = Bridge::start(registry, member.cluster.clone(), Arc::new(wire.clone()), on_order);
    presence.send(Bridged(bridge.clone())).await.unwrap();
    member.seated().await;
    Station { bridge, member, orders, _folder: folder }
}

async fn two(redis: &Redis, wire: &Wire) -> (Station, Station) {
    let (first, second) = (station(redis, wire, "a").await, station(redis, wire, "b").await);
    first.member.sees(2).await;
    second.member.sees(2).await;
    (first, second)
}

fn events(user: i64, seq: i64, text: &str) -> Events {
    vec![(UserId(user), [(Seq(seq), SealedMessage::from_shared(text.into()))].into())]
}

fn records(wire: &Wire) -> Vec<(Slot, BridgeRecord)> {
    let sent = wire.sent.lock().unwrap();
    sent.iter().map(|(slot, record)| (*slot, BridgeRecord::read(record).unwrap())).collect()
}

#[actix_web::test]
async fn messages_go_where_their_readers_are_in_order_and_are_safe_when_the_bus_has_them() {
    let (redis, wire) = (Redis::start().await, Wire::default());
    let (first, second) = two(&redis, &wire).await;
    second.member.comes(42).await;
    let mut all = Vec::new();
    for seq in 1..=100 {
        all.push(first.bridge.deliver(events(42, seq, &format!("m{seq}")), Vec::new()).await);
        all.push(first.bridge.deliver(events(43, seq, "nobody is there"), vec![(UserId(44), Seq(seq))]).await);
    }
    for bridged in all {
        assert!(bridged.safe().await);
    }
    let there = second.member.seat().unwrap().slot;
    let mut got = Vec::new();
    for (slot, record) in records(&wire) {
        assert_eq!(slot, there);
        assert_eq!(record.nudges, []);
        got.extend(
            record.places.iter().map(|(user, seq, n)| (user.0, seq.0, record.messages[*n as usize].to_string())),
        );
    }
    assert_eq!(got, (1..=100).map(|seq| (42, seq, format!("m{seq}"))).collect::<Vec<_>>());
}

#[actix_web::test]
async fn what_the_bus_refuses_is_sent_again_and_a_bus_that_is_closed_leaves_it_unfinished() {
    let (redis, wire) = (Redis::start().await, Wire::default());
    let (first, second) = two(&redis, &wire).await;
    second.member.comes(42).await;
    wire.refusing.store(true, Ordering::SeqCst);
    let refused = first.bridge.deliver(events(42, 1, "x"), Vec::new()).await.safe();
    let refused = actix_web::rt::spawn(refused);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!refused.is_finished(), "it waits for the bus");
    wire.refusing.store(false, Ordering::SeqCst);
    assert!(refused.await.unwrap());
    assert_eq!(records(&wire).len(), 1);
    wire.closed.store(true, Ordering::SeqCst);
    assert!(!first.bridge.deliver(events(42, 2, "y"), Vec::new()).await.safe().await);
    // Where nobody has to be told, nothing has to be safe.
    assert!(first.bridge.deliver(events(43, 1, "z"), Vec::new()).await.safe().await);
}

#[actix_web::test]
async fn frames_go_to_those_concerned_a_message_too_large_is_a_nudge_and_orders_arrive() {
    let (redis, wire) = (Redis::start().await, Wire::default());
    let (first, second) = two(&redis, &wire).await;
    second.member.comes(42).await;
    let large = "x".repeat(600 * 1024);
    assert!(first.bridge.deliver(events(42, 7, &large), Vec::new()).await.safe().await);
    assert_eq!(records(&wire)[0].1.nudges, [(UserId(42), Seq(7))]);
    wire.sent.lock().unwrap().clear();
    let frame = ServerFrame::Presence { user_id: UserId(1), online: true };
    first.bridge.tell(vec![UserId(42), UserId(43)], &frame, FrameKind::Presence).await;
    first.bridge.try_tell(vec![UserId(43)], &frame, FrameKind::Typing);
    let record = until("the frame", || records(&wire).pop()).await.1;
    assert_eq!((record.frames.len(), &record.frames[0].users), (1, &vec![UserId(42)]));
    assert_eq!(*record.frames[0].text, *frame.text());
    let there = second.member.seat().unwrap().slot;
    first.bridge.order(there, Order::Drain).await.unwrap();
    first.bridge.hint_events();
    until("both orders", || {
        let orders = second.orders.lock().unwrap();
        (*orders == [Order::Drain, Order::LookAtEvents]).then_some(())
    })
    .await;
    assert_eq!(*first.orders.lock().unwrap(), [], "nobody orders oneself");
    let online = first.bridge.online(vec![UserId(42), UserId(43)]).await;
    assert_eq!(online, [UserId(42)]);
}
