//! What may go wrong with a cluster: drawn from a seed, done, and undone.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::backing::blocking;
use super::wire::Wire;
use super::world::{Dependency, World};

/// What a node may be parted from.
const DEPENDENCIES: [Dependency; 3] = [Dependency::Postgres, Dependency::Kafka, Dependency::Redis];

/// One thing that goes wrong. Numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of a node.
    KillNode(usize),
    /// A node stands still, longer than its leases last, and goes on as if nothing had been.
    FreezeNode(usize),
    /// A node is told to stop.
    StopNode(usize),
    KillBroker(usize),
    FreezeBroker(usize),
    KillPostgres,
    /// Sessions are broken off, as at an upgrade.
    StopPostgres,
    KillRedis,
    FreezeRedis,
    /// Redis is empty from one moment to the next.
    FlushRedis,
    /// Nothing of a node's reaches a dependency: connections break.
    Cut(usize, Dependency),
    /// Nothing of a node's reaches a dependency, and nothing says so.
    Stall(usize, Dependency),
    /// A node's time of day is so many seconds off.
    JumpClock(usize, i64),
}

/// What goes wrong at once, after how long, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) after: Duration,
    pub(crate) faults: Vec<Fault>,
    pub(crate) lasts: Duration,
}

/// Every kind of fault once, and the pairs that the promises cover, in an order that the seed says.
pub(crate) fn deck(seed: u64, nodes: usize, brokers: usize) -> Vec<Event> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sets = Vec::new();
    let (node, broker) = (rng.random_range(0..nodes), rng.random_range(0..brokers));
    for fault in [
        Fault::KillNode(node),
        Fault::FreezeNode(rng.random_range(0..nodes)),
        Fault::StopNode(rng.random_range(0..nodes)),
        Fault::KillBroker(broker),
        Fault::FreezeBroker(rng.random_range(0..brokers)),
        Fault::KillPostgres,
        Fault::StopPostgres,
        Fault::KillRedis,
        Fault::FreezeRedis,
        Fault::FlushRedis,
        Fault::JumpClock(rng.random_range(0..nodes), [-45, -5, 5, 45][rng.random_range(0..4)]),
    ] {
        sets.push(vec![fault]);
    }
    for dependency in DEPENDENCIES {
        let node = rng.random_range(0..nodes);
        sets.push(vec![if rng.random() { Fault::Cut(node, dependency) } else { Fault::Stall(node, dependency) }]);
    }
    let node = rng.random_range(0..nodes);
    sets.push(vec![Fault::KillBroker(rng.random_range(0..brokers)), Fault::KillNode(node)]);
    sets.push(vec![Fault::KillRedis, Fault::KillNode(rng.random_range(0..nodes))]);
    sets.push(vec![Fault::StopPostgres, Fault::KillNode(rng.random_range(0..nodes))]);
    sets.push(vec![Fault::KillNode(0), Fault::KillNode(1)]);
    sets.shuffle(&mut rng);
    sets.into_iter().map(|faults| Event::new(faults, &mut rng)).collect()
}

impl Event {
    fn new(faults: Vec<Fault>, rng: &mut StdRng) -> Self {
        let after = Duration::from_millis(rng.random_range(0..1000));
        // What stands still stands long enough to be given up by everybody else, now and then.
        let lasts = match faults[0] {
            Fault::FreezeNode(_) => rng.random_range(8_000..14_000),
            Fault::FreezeBroker(_) => rng.random_range(2_000..9_000),
            Fault::FlushRedis | Fault::StopNode(_) => 0,
            _ => rng.random_range(300..4_000),
        };
        Self { after, faults, lasts: Duration::from_millis(lasts) }
    }

    /// Lets it happen, and puts everything right again.
    pub(crate) async fn happen(&self, world: &mut World) {
        for fault in &self.faults {
            fault.begin(world).await;
        }
        tokio::time::sleep(self.lasts).await;
        // What a node needs comes back before the node.
        for fault in &self.faults {
            fault.end(world).await;
        }
    }
}

impl Fault {
    async fn begin(self, world: &mut World) {
        match self {
            Self::KillNode(node) => world.kill(node),
            Self::FreezeNode(node) => world.server(node).freeze().await,
            Self::StopNode(node) => world.terminate(node, Duration::from_secs(40)).await,
            Self::KillBroker(broker) => world.backing().kafka.broker(broker).kill(),
            Self::FreezeBroker(broker) => world.backing().kafka.broker(broker).pause(),
            Self::KillPostgres => {
                let postgres = Arc::clone(&world.backing().postgres);
                blocking(move || postgres.kill()).await;
            }
            Self::StopPostgres => {
                let postgres = Arc::clone(&world.backing().postgres);
                blocking(move || postgres.stop()).await;
            }
            Self::KillRedis => world.redis().kill().await,
            Self::FreezeRedis => world.redis().pause(),
            Self::FlushRedis => world.redis().ask::<()>(&["FLUSHALL"]),
            Self::Cut(node, from) => world.wire(node, from, Wire::Cut),
            Self::Stall(node, from) => world.wire(node, from, Wire::Stalled),
            Self::JumpClock(node, seconds) => {
                if !world.jump_clock(node, seconds) {
                    eprintln!("no clock jumps: libfaketime is not installed (tests/setup.sh)");
                }
            }
        }
    }

    async fn end(self, world: &mut World) {
        match self {
            Self::KillNode(node) | Self::StopNode(node) => world.start(node).await,
            Self::FreezeNode(node) => world.server(node).signal(Signal::CONT),
            Self::KillBroker(broker) => {
                world.start_broker(broker).await;
                world.backing().broker_listens(broker).await;
            }
            Self::FreezeBroker(broker) => world.backing().kafka.broker(broker).resume(),
            Self::KillPostgres | Self::StopPostgres => {
                world.start_postgres().await;
            }
            Self::KillRedis => world.redis().start_again().await,
            Self::FreezeRedis => world.redis().go_on(),
            Self::FlushRedis => {}
            Self::Cut(node, from) | Self::Stall(node, from) => world.wire(node, from, Wire::Whole),
            Self::JumpClock(node, _) => {
                world.jump_clock(node, 0);
            }
        }
    }
}

#[test]
fn a_seed_says_what_happens_and_every_deck_has_every_kind() {
    assert_eq!(deck(7, 3, 3), deck(7, 3, 3));
    assert_ne!(deck(7, 3, 3), deck(8, 3, 3));
    for seed in 0..50 {
        let faults: Vec<Fault> = deck(seed, 3, 3).into_iter().flat_map(|event| event.faults).collect();
        let kinds: std::collections::HashSet<_> = faults.iter().map(std::mem::discriminant).collect();
        assert!(kinds.len() >= 12, "{faults:?}");
        for dependency in DEPENDENCIES {
            let parted = |fault: &Fault| matches!(fault, Fault::Cut(_, d) | Fault::Stall(_, d) if *d == dependency);
            assert!(faults.iter().any(parted), "{dependency:?}");
        }
    }
}
