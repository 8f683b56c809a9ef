//! Nodes that go and nodes that come, on purpose: clients are handed over, and neither lose nor repeat anything (G8).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::world::World;
use super::{STOP, habits, seed};
use crate::app::{Account, TestApp};
use crate::crash::checker::Order;
use crate::crash::load::Load;

/// A socket that looks for a word of its server does so as often as this.
const LOOK: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_rolling_restart_under_load_loses_and_repeats_nothing() {
    let seed = seed("rolling");
    let mut world = World::shared(3, &[]).await;
    // Nothing but `stopping` may be what a message is rejected with.
    let mut load = Load::start(world.server(0), 5, habits(Order::Strict), seed).await;
    load.servers_are(world.servers());
    for node in 0..3 {
        load.until_accepted(60).await;
        let begun = Instant::now();
        let staying: Vec<_> = (0..3).filter(|other| *other != node).collect();
        load.servers_are(staying.iter().map(|other| world.server(*other)));
        world.terminate(node, STOP).await;
        let stopped = begun.elapsed();
        world.start(node).await;
        world.until_ready().await;
        eprintln!("node {node}: stopped in {stopped:?}, back after {:?}", begun.elapsed());
        load.servers_are(world.servers());
    }
    load.until_accepted(60).await;
    let violations = load.settle(world.server(0)).await;
    assert_eq!(violations, []);
    let closes = load.heard().closes.lock().unwrap().clone();
    assert!(closes.iter().all(|code| [0, 1012].contains(code)), "{closes:?}");
    assert!(!load.heard().reconnects.lock().unwrap().is_empty(), "clients are told");
    world.stop().await;
}

#[tokio::test]
async fn a_node_that_an_administrator_drains_by_another_hands_over_its_clients_and_ends() {
    let seed = seed("drain");
    let mut world = World::shared(3, &[]).await;
    let root = world.admin(0).await;
    let third = 2;
    let id = world.id_of(third, &root).await;
    world.until_listed(0, &root, &id, true).await;
    let mut load = Load::start(world.server(third), 5, habits(Order::Strict), seed).await;
    load.until_accepted(60).await;
    load.servers_are([world.server(0), world.server(1)]);
    world.app(0).post(&format!("admin/nodes/{id}/drain"), Some(&root), &json!({})).await.assert(202);
    let mut drained = world.nodes[third].server.take().unwrap();
    assert_eq!(drained.ended(STOP).await.code(), Some(0));
    load.until_accepted(60).await;
    let violations = load.settle(world.server(1)).await;
    assert_eq!(violations, []);
    world.until_listed(1, &root, &id, false).await;
    world.stop().await;
}

/// Sockets as an ingress spreads them: each goes where the fewest are.
struct Crowd {
    apps: Mutex<Vec<Arc<TestApp>>>,
    on: [AtomicUsize; 3],
    moves: AtomicUsize,
}

impl Crowd {
    fn new(apps: [TestApp; 2]) -> Self {
        let apps = Mutex::new(apps.into_iter().map(Arc::new).collect());
        Self { apps, on: Default::default(), moves: AtomicUsize::new(0) }
    }

    /// How many are on each node.
    fn counts(&self) -> Vec<usize> {
        let nodes = self.apps.lock().unwrap().len();
        self.on.iter().take(nodes).map(|on| on.load(Ordering::Relaxed)).collect()
    }

    /// One socket: moves when it is told to.
    async fn stay(self: Arc<Self>, account: Account) {
        loop {
            let counts = self.counts();
            let node = (0..counts.len()).min_by_key(|node| counts[*node]).unwrap();
            self.on[node].fetch_add(1, Ordering::Relaxed);
            let app = Arc::clone(&self.apps.lock().unwrap()[node]);
            let mut socket = app.socket(&account).await;
            let told = loop {
                if let Some(frame) = socket.gather("reconnect", LOOK).await.pop() {
                    break frame;
                }
            };
            tokio::time::sleep(Duration::from_millis(told["afterMs"].as_u64().unwrap())).await;
            self.moves.fetch_add(1, Ordering::Relaxed);
            self.on[node].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_node_that_comes_gets_its_share_and_then_all_is_quiet() {
    const SOCKETS: usize = 240;
    // Even is 80 on each; within a tenth of it.
    let even = 72..=88;
    let mut world = World::shared(2, &[("SESSION__SESSIONS_PER_USER", "1000")]).await;
    let mut accounts = Vec::new();
    for n in 0..4 {
        accounts.push(world.app(0).register(&format!("user{n}")).await);
    }
    let crowd = Arc::new(Crowd::new([world.app(0), world.app(1)]));
    let tasks: Vec<_> = (0..SOCKETS).map(|n| tokio::spawn(Arc::clone(&crowd).stay(accounts[n % 4].clone()))).collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    while crowd.counts().iter().sum::<usize>() < SOCKETS {
        assert!(Instant::now() < deadline, "{:?}", crowd.counts());
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(crowd.moves.load(Ordering::Relaxed), 0, "even as they are, nobody is sent away: {:?}", crowd.counts());
    world.add().await;
    world.start_all().await;
    crowd.apps.lock().unwrap().push(Arc::new(world.app(2)));
    let begun = Instant::now();
    while !crowd.counts().iter().all(|on| even.contains(on)) {
        assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", crowd.counts());
        tokio::time::sleep(LOOK).await;
    }
    let moved = crowd.moves.load(Ordering::Relaxed);
    eprintln!("even after {:?} and {moved} moves: {:?}", begun.elapsed(), crowd.counts());
    assert!(moved <= 80 + 16, "{moved} moves for a surplus of 80");
    // Those that were told already may still go.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let settled = crowd.moves.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(crowd.moves.load(Ordering::Relaxed), settled, "it does not oscillate: {:?}", crowd.counts());
    assert!(crowd.counts().iter().all(|on| even.contains(on)), "{:?}", crowd.counts());
    tasks.into_iter().for_each(|task| task.abort());
    world.stop().await;
}
