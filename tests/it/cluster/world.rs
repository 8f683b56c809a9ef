//! A cluster of a test's own: nodes, and what they stand on; either by wires that can be cut, on servers that nobody else
//! uses, or straight on the servers that the tests of this process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::backing::{Backing, blocking};
use super::wire::{Forwarder, Wire};
use crate::app::kafka::{Door, Kafka};
use crate::app::postgres::{Database, Postgres};
use crate::app::redis::Redis;
use crate::app::{TestApp, lasting_port};
use crate::crash::server::{Home, SETTINGS, Server, Starting, Version};

/// Within this time a node must be ready after whatever was wrong is right again.
pub(crate) const RECOVERY: Duration = Duration::from_secs(120);
const KEYS: &str = "test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// Small topics: brokers on a busy machine take their time for each partition.
const SMALL: &str = "[cluster]\nslots = 8\n[kafka]\npartitions = 6\n";

/// What a node depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependency {
    Postgres,
    Kafka,
    Redis,
}

/// One node, running or not, with its wires.
pub(crate) struct Node {
    home: Home,
    pub(crate) server: Option<Server>,
    postgres: Option<Forwarder>,
    redis: Option<Forwarder>,
    brokers: Vec<Forwarder>,
    /// What the node's clock is read from, where it can be set: `+0`, `+30`.
    clock: Option<std::path::PathBuf>,
}

impl Node {
    /// Starts it and does not wait.
    pub(crate) fn spawn(&self) -> Starting {
        self.home.spawn()
    }
}

/// A cluster. Dropped, it is gone without a farewell; [`World::stop`] is the farewell.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    backing: Option<Backing>,
    redis: Option<Redis>,
    database: Option<Database>,
    broker: Option<u16>,
    objects: TempDir,
    settings: Vec<(String, String)>,
    prefix: String,
}

impl World {
    /// Nodes on the shared servers, with settings besides (`DRAIN_LIMIT_SECONDS`); all ready.
    pub(crate) async fn shared(nodes: usize, settings: &[(&str, &str)]) -> Self {
        Self::of(nodes, settings, &Version::default()).await
    }

    /// The same, of another version.
    pub(crate) async fn of(nodes: usize, settings: &[(&str, &str)], version: &Version) -> Self {
        let mut world = Self::new(settings);
        world.broker = Some(blocking(|| Kafka::shared().broker(0).port()).await);
        world.database = Some(blocking(|| Postgres::shared().database("template1")).await);
        world.redis = Some(Redis::start().await);
        for _ in 0..nodes {
            let node = world.add().await;
            world.change_to(node, version.clone());
        }
        world.start_all().await;
        world
    }

    /// Nodes on servers of their own, three brokers among them, each node by wires of its own; all ready.
    pub(crate) async fn breakable(nodes: usize, settings: &[(&str, &str)]) -> Self {
        let mut world = Self::apart(nodes, 3, settings).await;
        world.redis().start_again().await;
        for number in 0..3 {
            world.start_broker(number).await;
        }
        world.start_postgres().await;
        for number in 0..3 {
            world.backing().broker_listens(number).await;
        }
        world.start_all().await;
        world
    }

    /// The same, with nothing started.
    pub(crate) async fn apart(nodes: usize, brokers: u16, settings: &[(&str, &str)]) -> Self {
        let mut world = Self::new(settings);
        let postgres = blocking(|| {
            let postgres = Postgres::durable();
            postgres.sql("postgres", "CREATE DATABASE parlor");
            postgres.stop();
            Arc::new(postgres)
        });
        let (postgres, mut redis) = (postgres.await, Redis::start().await);
        redis.kill().await;
        // Each node has a wire to a door of its own at each broker.
        let (mut wires, mut doors): (Vec<Vec<Forwarder>>, _) = (Vec::new(), vec![Vec::new(); usize::from(brokers)]);
        for _ in 0..nodes {
            let mut own = Vec::new();
            for doors in &mut doors {
                let port = lasting_port();
                let wire = Forwarder::to(port).await;
                doors.push(Door { port, told: wire.address.port() });
                own.push(wire);
            }
            wires.push(own);
        }
        let kafka = blocking(move || Arc::new(Kafka::apart(brokers, &doors))).await;
        world.backing = Some(Backing { postgres, redis, kafka });
        for own in wires {
            world.add_with(own).await;
        }
        world
    }

    pub(crate) async fn start_postgres(&mut self) {
        let postgres = Arc::clone(&self.backing().postgres);
        blocking(move || postgres.start_again()).await;
    }

    fn new(settings: &[(&str, &str)]) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("it{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let settings = settings.iter().map(|(name, value)| (format!("PARLOR_{name}"), (*value).to_owned())).collect();
        let objects = tempfile::tempdir().unwrap();
        Self { nodes: Vec::new(), backing: None, redis: None, database: None, broker: None, objects, settings, prefix }
    }

    pub(crate) fn backing(&mut self) -> &mut Backing {
        self.backing.as_mut().expect("a cluster on servers of its own")
    }

    /// The Redis of a cluster on shared servers, which is its own.
    pub(crate) fn redis(&mut self) -> &mut Redis {
        match &mut self.backing {
            Some(backing) => &mut backing.redis,
            None => self.redis.as_mut().expect("every cluster has a Redis"),
        }
    }

    /// One node more, not started; its number.
    pub(crate) async fn add(&mut self) -> usize {
        assert!(self.backing.is_none(), "wires to brokers are made with them");
        self.add_with(Vec::new()).await
    }

    async fn add_with(&mut self, brokers: Vec<Forwarder>) -> usize {
        let number = self.nodes.len();
        let mut node = Node { home: Home::new(), server: None, postgres: None, redis: None, brokers, clock: None };
        let mut environment = vec![
            ("PARLOR_JWT_KEYS".to_owned(), KEYS.to_owned()),
            ("PARLOR_OBJECT_STORE_URL".to_owned(), format!("file://{}", self.objects.path().display())),
        ];
        let (database, kafka, redis);
        if let Some(backing) = &self.backing {
            let postgres = Forwarder::to(backing.postgres.port()).await;
            let to_redis = Forwarder::to(backing.redis.port()).await;
            database = format!("postgres://postgres@{}/parlor", postgres.address);
            redis = format!("redis://{}/0", to_redis.address);
            kafka = node.brokers.iter().map(|wire| wire.address.to_string()).collect::<Vec<_>>().join(",");
            (node.postgres, node.redis) = (Some(postgres), Some(to_redis));
            node.clock = settable_clock(&mut environment, self.objects.path(), number);
        } else {
            database = self.database.as_ref().expect("a database").url();
            redis = format!("redis://127.0.0.1:{}/0", self.redis.as_ref().expect("a redis").port());
            kafka = format!("127.0.0.1:{}", self.broker.expect("a broker"));
        }
        environment.extend([
            ("PARLOR_DATABASE_URL".to_owned(), database),
            ("PARLOR_REDIS_URL".to_owned(), redis),
            ("PARLOR_KAFKA_BROKERS".to_owned(), kafka),
        ]);
        if self.backing.as_ref().is_none_or(|backing| backing.kafka.brokers().len() < 3) {
            let one = |name: &str| (format!("PARLOR_KAFKA__{name}"), "1".to_owned());
            environment.extend(["REPLICATION", "MIN_IN_SYNC"].map(one));
        }
        environment.extend(self.settings.iter().cloned());
        let all = format!("topic_prefix = \"{}\"\n{SETTINGS}\n{SMALL}", self.prefix);
        node.home = Home::in_environment(&all, environment);
        self.nodes.push(node);
        number
    }

    /// Starts those that do not run, side by side, and waits until all are ready.
    pub(crate) async fn start_all(&mut self) {
        let starting: Vec<_> = self.nodes.iter().map(|node| node.server.is_none().then(|| node.spawn())).collect();
        for (node, starting) in self.nodes.iter_mut().zip(starting) {
            if let Some(starting) = starting {
                node.server = starting.ready().await;
                assert!(node.server.is_some(), "a node did not start: {}", node.home.log());
            }
        }
        for server in self.servers() {
            server.until_ready_says(200, RECOVERY).await;
        }
    }

    /// Starts one that does not run, and does not wait until it is ready.
    pub(crate) async fn start(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.server = node.spawn().ready().await;
        assert!(node.server.is_some(), "a node did not start: {}", node.home.log());
    }

    pub(crate) fn server(&self, node: usize) -> &Server {
        self.nodes[node].server.as_ref().expect("the node runs")
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter_map(|node| node.server.as_ref())
    }

    /// A client of one node.
    pub(crate) fn app(&self, node: usize) -> TestApp {
        let server = self.server(node);
        let mut app = TestApp::around(&format!("http://{}", server.address));
        app.internal = format!("http://{}", server.internal);
        app
    }

    /// An administrator's client of a node: the account, which is made where it is not there yet.
    pub(crate) async fn admin(&self, node: usize) -> crate::app::Account {
        let output = self.nodes[node].home.user(&["add", "root", "--role", "admin", "--password-stdin"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains("taken"), "{said}");
        self.app(node).login("root").await
    }

    /// What `GET /admin/nodes` lists, as one node has it.
    pub(crate) async fn listed(&self, by: usize, admin: &crate::app::Account) -> Vec<Value> {
        self.app(by).get("admin/nodes", admin).await.assert(200).items()
    }

    /// The id of a node: its slot's number.
    pub(crate) async fn id_of(&self, node: usize, admin: &crate::app::Account) -> String {
        let listed = self.listed(node, admin).await;
        let own = listed.iter().find(|item| item["answers"] == true).expect("a node lists itself");
        own["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a node lists another, or does not.
    pub(crate) async fn until_listed(&self, by: usize, admin: &crate::app::Account, id: &str, wanted: bool) {
        let deadline = Instant::now() + RECOVERY;
        loop {
            let listed = self.listed(by, admin).await;
            if listed.iter().any(|item| item["id"] == id) == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{id} listed is not {wanted}: {listed:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `parlor migrate …` as this node's version; what it said.
    pub(crate) async fn migrate(&self, node: usize, what: &'static str) -> (bool, String) {
        let output = self.nodes[node].home.migrate(what);
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Has another version serve as this node from its next start on.
    pub(crate) fn change_to(&mut self, node: usize, version: Version) {
        self.nodes[node].home.change_to(version);
    }

    /// What one node logged, over all its lives.
    pub(crate) fn log(&self, node: usize) -> String {
        self.nodes[node].home.log()
    }

    /// The tables of a cluster on shared servers.
    pub(crate) fn database(&self) -> &Database {
        self.database.as_ref().expect("a cluster on shared servers")
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].server.take().expect("the node runs").kill_9();
    }

    /// Stops a node as an operator does, and waits for its end.
    pub(crate) async fn terminate(&mut self, node: usize, within: Duration) {
        let mut server = self.nodes[node].server.take().expect("the node runs");
        server.signal(Signal::TERM);
        let status = server.ended(within).await;
        assert_eq!(status.code(), Some(0), "{}", self.nodes[node].home.log());
    }

    pub(crate) async fn start_broker(&mut self, number: usize) {
        let kafka = Arc::clone(&self.backing().kafka);
        blocking(move || kafka.broker(number).start()).await;
    }

    /// What lies between a node and a dependency becomes so.
    pub(crate) fn wire(&self, node: usize, to: Dependency, wire: Wire) {
        let node = &self.nodes[node];
        let forwarders: Vec<&Forwarder> = match to {
            Dependency::Postgres => node.postgres.iter().collect(),
            Dependency::Redis => node.redis.iter().collect(),
            Dependency::Kafka => node.brokers.iter().collect(),
        };
        assert!(!forwarders.is_empty(), "a cluster by wires");
        forwarders.into_iter().for_each(|forwarder| forwarder.set(wire));
    }

    /// A node's time of day jumps; false where that cannot be had here.
    pub(crate) fn jump_clock(&self, node: usize, seconds: i64) -> bool {
        let Some(clock) = &self.nodes[node].clock else { return false };
        std::fs::write(clock, format!("{seconds:+}\n")).unwrap();
        true
    }

    /// Waits until every node that runs is ready.
    pub(crate) async fn until_ready(&self) {
        for server in self.servers() {
            server.until_ready_says(200, RECOVERY).await;
        }
    }

    /// What the nodes logged.
    pub(crate) fn logs(&self) -> String {
        self.nodes.iter().map(|node| node.home.log()).collect()
    }

    /// Stops all nodes well, and fails if one of them ever panicked.
    pub(crate) async fn stop(mut self) {
        for number in 0..self.nodes.len() {
            if self.nodes[number].server.is_some() {
                self.terminate(number, Duration::from_secs(40)).await;
            }
        }
        let log = self.logs();
        let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked at")).collect();
        assert!(panics.is_empty(), "{panics:#?}");
    }
}

/// Variables under which a node's time of day is moved by what a file says; none where libfaketime is not installed.
fn settable_clock(
    environment: &mut Vec<(String, String)>,
    folder: &std::path::Path,
    number: usize,
) -> Option<std::path::PathBuf> {
    let libraries =
        ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|arch| format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1"));
    let library = libraries.into_iter().find(|path| std::path::Path::new(path).exists())?;
    let clock = folder.join(format!("clock-{number}"));
    std::fs::write(&clock, "+0\n").unwrap();
    let variables = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_CACHE_DURATION", "1"),
        // Only the time of day jumps; what measures how long something takes does not.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Some(clock)
}
