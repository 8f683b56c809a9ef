//! What the nodes of a cluster stand on: Postgres, Redis and Kafka, each to be killed, frozen and started anew.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::Rng as _;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::app::Process;
use crate::app::postgres::Postgres;

/// A server that takes longer to answer has failed. Brokers take their time on a busy machine.
const START: Duration = Duration::from_secs(120);

/// One broker for all tests of this process that do it no harm, on a port of its own. It is gone with the process.
pub(crate) async fn shared_broker() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    let broker = SHARED.get_or_init(|| {
        let mut broker = Broker::set(1, 0).pop().unwrap();
        broker.start(&[]);
        broker
    });
    broker.wait().await;
    broker
}

/// Does what blocks on a thread where it may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A port below those that the system gives to whoever connects, so that a server that is down finds its own again.
fn port() -> u16 {
    loop {
        let port = rand::rng().random_range(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until somebody listens.
async fn wait_for(port: u16, what: &str) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < START, "{what} does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Kafka broker that keeps its data from start to start.
pub(crate) struct Broker {
    folder: TempDir,
    id: usize,
    pub(crate) port: u16,
    controller: u16,
    voters: String,
    /// For each node that is to reach it by a wire of its own: where it listens for that node.
    pub(crate) doors: Vec<u16>,
    process: Option<Process>,
}

impl Broker {
    /// So many brokers of one cluster, none of them started, each with `doors` doors.
    pub(crate) fn set(brokers: usize, doors: usize) -> Vec<Self> {
        let controllers: Vec<u16> = (0..brokers).map(|_| port()).collect();
        let voters: Vec<String> =
            controllers.iter().enumerate().map(|(n, port)| format!("{}@127.0.0.1:{port}", n + 1)).collect();
        let voters = voters.join(",");
        let broker = |(n, controller): (usize, &u16)| Self {
            folder: tempfile::tempdir().unwrap(),
            id: n + 1,
            port: port(),
            controller: *controller,
            voters: voters.clone(),
            doors: (0..doors).map(|_| port()).collect(),
            process: None,
        };
        controllers.iter().enumerate().map(broker).collect()
    }

    /// Starts it and does not wait; `wires` are the addresses by which each node reaches its door.
    pub(crate) fn start(&mut self, wires: &[u16]) {
        let mut command = Command::new("bash");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh")).arg(self.folder.path());
        command.args([self.id.to_string(), self.port.to_string(), self.controller.to_string(), self.voters.clone()]);
        if !wires.is_empty() {
            let list = |scheme: &str, ports: &[u16]| -> String {
                let doors = ports.iter().enumerate().map(|(n, port)| format!(",NODE{n}://127.0.0.1:{port}"));
                format!("{scheme}://127.0.0.1:{}{}", self.port, doors.collect::<String>())
            };
            let controller = format!(",CONTROLLER://127.0.0.1:{}", self.controller);
            let plain: String = (0..wires.len()).map(|n| format!(",NODE{n}:PLAINTEXT")).collect();
            command.arg(format!("listeners={}{controller}", list("PLAINTEXT", &self.doors)));
            command.arg(format!("advertised.listeners={}", list("PLAINTEXT", wires)));
            command.arg(format!("listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{plain}"));
            command.arg("inter.broker.listener.name=PLAINTEXT");
        }
        self.process = Some(Process::start(command));
    }

    pub(crate) async fn wait(&self) {
        wait_for(self.port, &format!("broker {} (its log is in {})", self.id, self.folder.path().display())).await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// Kills it and returns when it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.process.take().expect("it runs"));
    }
}

/// A Redis that forgets everything when it ends.
pub(crate) struct Redis {
    folder: TempDir,
    pub(crate) port: u16,
    process: Option<Process>,
}

impl Redis {
    /// One that is not started.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), port: port(), process: None }
    }

    pub(crate) async fn start() -> Self {
        let mut redis = Self::new();
        redis.start_again().await;
        redis
    }

    pub(crate) async fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        let (port, folder): (String, PathBuf) = (self.port.to_string(), self.folder.path().to_owned());
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        self.process = Some(Process::start(command));
        wait_for(self.port, "redis").await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    pub(crate) fn kill(&mut self) {
        drop(self.process.take().expect("it runs"));
    }

    /// Throws away all that it knows.
    pub(crate) fn flush(&self) {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        tcp.write_all(b"FLUSHALL\r\n").unwrap();
        let mut answer = [0; 5];
        tcp.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+OK\r\n");
    }
}

/// All of it, for one test that may do it harm.
pub(crate) struct Backing {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) redis: Redis,
    pub(crate) brokers: Vec<Broker>,
}
