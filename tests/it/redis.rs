//! Slots, presence, rates and the bridge, against a real Redis that is paused, emptied, killed and started again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use parlor::cluster::membership::Wish;
use parlor::cluster::nodes::{NodeRecord, Seat};
use parlor::cluster::{Cluster, Setup};
use parlor::config::cluster::ClusterOptions;
use parlor::config::redis::RedisOptions;
use parlor::config::secret::Secret;
use parlor::ids::{Slot, UserId};

use crate::app::redis::Redis;

mod bridge;
mod presence;
mod race;
mod rates;
mod slots;

/// How long a lease lasts here.
const LEASE: Duration = Duration::from_millis(1500);
/// How long a thing may take that needs a tick or a lease to pass, on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// A node as far as Redis is concerned: nothing of it listens.
struct Member {
    cluster: Cluster,
    ear: tokio::task::JoinHandle<()>,
}

impl std::ops::Deref for Member {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.ear.abort();
    }
}

fn setup(redis: &Redis, wish: Wish, slots: u32, host: &str) -> Setup {
    Setup {
        redis_url: Some(Secret::new(redis.url())),
        // Patient: the machine that tests run on may be very busy.
        redis: RedisOptions { lookup_ms: 500, announce_ms: 1000, ..RedisOptions::default() },
        cluster: ClusterOptions {
            slots,
            lease_ms: u64::try_from(LEASE.as_millis()).unwrap(),
            ..ClusterOptions::default()
        },
        prefix: "parlor".into(),
        wish,
        record: NodeRecord { host: host.into(), ..NodeRecord::default() },
    }
}

impl Member {
    /// A node that has begun, whose bridge listens wherever it sits.
    fn start(setup: Setup) -> Self {
        let cluster = Cluster::new(setup).unwrap();
        let (mut seats, listener) = (cluster.seats(), cluster.clone());
        let ear = tokio::spawn(async move {
            loop {
                let now = *seats.borrow_and_update();
                now.into_iter().for_each(|sitting| listener.listening(sitting.seat));
                if seats.changed().await.is_err() {
                    return;
                }
            }
        });
        cluster.start();
        Self { cluster, ear }
    }

    fn any(redis: &Redis, host: &str) -> Self {
        Self::start(setup(redis, Wish::Any, 8, host))
    }

    /// Waits until it has a slot that Redis knows of.
    async fn seated(&self) -> Seat {
        until("a slot", || self.seats().borrow().filter(|sitting| sitting.confirmed).map(|sitting| sitting.seat)).await
    }

    /// Waits until it sees so many nodes, itself included.
    async fn sees(&self, nodes: usize) {
        until("the others", || (self.nodes().live().len() == nodes).then_some(())).await;
    }

    /// A user's first session comes; says whether Redis knew in time.
    async fn comes(&self, user: i64) {
        self.here().came(UserId(user));
        self.joined(UserId(user)).await;
    }

    /// Which nodes this one would tell of what concerns a user.
    async fn tells(&self, user: i64) -> Vec<Slot> {
        let mut slots: Vec<Slot> = self.whom(&[UserId(user)]).await.slots().collect();
        slots.sort_unstable();
        slots
    }
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what} for {LONG:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What two tasks of a test share.
type Shared<T> = Arc<Mutex<T>>;
