//! What the HTTP side and the process know of their node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore};

use crate::accounts::Accounts;
use crate::actors::bridge::Bridge;
use crate::actors::registry::{Count, Registry};
use crate::cluster::Cluster;
use crate::cluster::nodes::Node;
use crate::metrics;
use crate::pipeline::bridge::Order;
use crate::pipeline::bus::{self, Bus};
use crate::store::Store;

/// What is said of what is as it should be.
const OK: &str = "ok";
/// How long the tables may take to answer before they count as away.
const PING_LIMIT: Duration = Duration::from_secs(3);

/// What stands for and against being ready, each in words.
#[derive(Debug, Default)]
pub struct Checks {
    /// `ok`, or what is wrong.
    pub said: BTreeMap<&'static str, String>,
    /// Something is wrong without which clients cannot be served.
    pub refused: bool,
}

impl Checks {
    /// Without this clients cannot be served.
    pub fn must(&mut self, name: &'static str, outcome: Result<(), String>) {
        self.refused |= outcome.is_err();
        self.may(name, outcome);
    }

    /// Without this they are served nevertheless, only not as well.
    pub fn may(&mut self, name: &'static str, outcome: Result<(), String>) {
        self.said.insert(name, outcome.map_or_else(|why| why, |()| OK.to_owned()));
    }

    /// Each by name, and whether nothing is wrong with it.
    pub fn passed(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.said.iter().map(|(name, said)| (*name, said == OK))
    }
}

/// What the HTTP side knows of its node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) started_at: DateTime<Utc>,
    pub(super) stages: Vec<String>,
    pub(super) registry: Addr<Registry>,
    pub(super) store: Store,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) bridge: Bridge,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) stop: Arc<Notify>,
    pub(super) failed: Notify,
    /// Records that may yet be taken into work.
    pub(super) window: Arc<Semaphore>,
    pub(super) accounts: Accounts,
    pub(super) limits: QueueLimits,
    pub(super) store_check: StoreCheck,
}

/// How the tables answered last. A node that is up has had an answer.
#[derive(Default)]
pub(super) struct StoreCheck {
    failed: Mutex<Option<String>>,
    /// Somebody asks them now.
    asking: AtomicBool,
}

impl StoreCheck {
    fn keep(&self, outcome: Result<(), String>) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
    }

    fn last(&self) -> Result<(), String> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.map_or(Ok(()), Err)
    }
}

/// Bounds of queues, as the settings have them.
pub(super) struct QueueLimits {
    pub(super) in_flight: usize,
    pub(super) unfinished_bytes: usize,
}

impl NodeHandle {
    /// The node's name: the number of its slot; a node alone is `0`.
    #[must_use]
    pub fn id(&self) -> String {
        let seat = self.0.bridge.cluster().map(Cluster::seat);
        seat.map_or_else(|| "0".to_owned(), |seat| seat.map_or_else(|| "none".to_owned(), |seat| seat.slot.to_string()))
    }

    /// The name of its host; empty for a node alone.
    #[must_use]
    pub fn host(&self) -> String {
        self.0.bridge.cluster().map(|cluster| cluster.record().host).unwrap_or_default()
    }

    /// The other nodes, as far as is known.
    #[must_use]
    pub fn others(&self) -> Vec<Node> {
        let Some(cluster) = self.0.bridge.cluster() else { return Vec::new() };
        let own = cluster.seat().map(|seat| seat.slot);
        cluster.nodes().live().iter().filter(|node| Some(node.seat.slot) != own).cloned().collect()
    }

    /// Has another node hand its clients over and stop. `false`: there is none in that slot.
    ///
    /// # Errors
    /// [`bus::Error`] when it cannot be told.
    pub async fn drain_other(&self, id: &str) -> Result<bool, bus::Error> {
        let Some(other) = self.others().into_iter().find(|node| node.seat.slot.to_string() == id) else {
            return Ok(false);
        };
        self.0.bridge.order(other.seat.slot, Order::Drain).await.map(|()| true)
    }

    /// When it was started.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    /// What it hosts.
    #[must_use]
    pub fn stages(&self) -> &[String] {
        &self.0.stages
    }

    /// Whether it is about to stop.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// From now on the node takes nobody in.
    pub(super) fn begin_draining(&self) {
        self.0.draining.store(true, Ordering::Release);
        if let Some(cluster) = self.0.bridge.cluster() {
            cluster.say(|record| record.draining = true, true);
        }
    }

    pub(super) fn registry(&self) -> &Addr<Registry> {
        &self.0.registry
    }

    /// Live websockets.
    pub async fn sessions(&self) -> usize {
        self.0.registry.send(Count).await.unwrap_or_default()
    }

    /// Has the node drain and stop.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    /// Resolves when somebody asked the node to stop.
    pub async fn asked_to_stop(&self) {
        self.0.stop.notified().await;
    }

    /// Resolves when the node can only be restarted.
    pub async fn failed(&self) -> Arc<str> {
        tokio::select! {
            reason = self.0.bus.failed() => reason,
            () = self.0.failed.notified() => "the registry is gone".into(),
        }
    }

    /// What stands for and against being ready, now: the tables are asked.
    pub async fn checks(&self) -> Checks {
        self.ask_store().await;
        self.checks_at_hand()
    }

    /// The same with the answer that the tables gave when they were asked last; for the next time they are asked now, and nobody waits.
    pub fn checks_of_late(&self) -> Checks {
        if !self.0.store_check.asking.swap(true, Ordering::AcqRel) {
            let node = self.clone();
            tokio::spawn(async move {
                node.ask_store().await;
                node.0.store_check.asking.store(false, Ordering::Release);
            });
        }
        self.checks_at_hand()
    }

    async fn ask_store(&self) {
        let outcome = match tokio::time::timeout(PING_LIMIT, self.0.store.ping()).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it has not answered within {} s", PING_LIMIT.as_secs())),
        };
        self.0.store_check.keep(outcome);
    }

    fn checks_at_hand(&self) -> Checks {
        let mut checks = Checks::default();
        let store = self.0.store_check.last();
        checks.must("store", store.and_then(|()| self.0.store.refusal().map_or(Ok(()), Err)));
        checks.must("bus", self.0.bus.health().map_err(|why| why.to_string()));
        if let Some(cluster) = self.0.bridge.cluster() {
            let said = |words: String| if words == OK { Ok(()) } else { Err(words) };
            checks.must("slot", said(cluster.slot_check()));
            checks.may("redis", said(cluster.redis_note()));
        }
        let draining = if self.draining() { Err("this node is about to stop".to_owned()) } else { Ok(()) };
        checks.must("draining", draining);
        checks
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        self.0.bus.measure();
        let QueueLimits { in_flight, unfinished_bytes } = self.0.limits;
        let (hashing, most_hashing) = self.0.accounts.passwords_in_line();
        for (queue, length, limit) in [
            ("records_in_work", in_flight - self.0.window.available_permits().min(in_flight), in_flight),
            ("passwords", hashing, most_hashing),
        ] {
            metrics::queue_length(length as f64, queue);
            metrics::queue_limit(limit as f64, queue);
        }
        // Its length is measured by the bus.
        metrics::queue_limit(unfinished_bytes as f64, "bus_bytes");
    }
}
