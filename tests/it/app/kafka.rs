//! Kafka brokers for tests: one that all tests of this process share, or some of a test's own to be killed and stopped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig as _;

/// What keeps a broker, and ends it when this process has ended, however it did.
const KEEPER: &str = include_str!("kafka.sh");
/// How long brokers may take to be up: a virtual machine starts, on a machine that has other things to do.
const STARTING: Duration = Duration::from_secs(120);
/// How brokers are made small and quick.
const SMALL: [&str; 16] = [
    "process.roles=broker,controller",
    "controller.listener.names=CONTROLLER",
    "inter.broker.listener.name=PLAINTEXT",
    "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
    "ssl.keystore.type=PEM",
    "ssl.keystore.location=@FOLDER@/broker.pem",
    "log.dirs=@FOLDER@/data",
    "auto.create.topics.enable=false",
    "offsets.topic.num.partitions=4",
    "group.initial.rebalance.delay.ms=0",
    "group.min.session.timeout.ms=1000",
    "broker.session.timeout.ms=6000",
    "log.cleaner.dedupe.buffer.size=16777216",
    "background.threads=2",
    "num.network.threads=2",
    "num.io.threads=4",
];
/// What each listener speaks.
const PROTOCOLS: &str = "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL";
/// The users of listeners that ask for one.
const USERS: [&str; 4] = [
    r#"listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_parlor="parlor-secret";"#,
    "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
    r#"listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_parlor="parlor-secret";"#,
    "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
];

/// A cluster of brokers. Dropped, they are killed and their files go.
pub(crate) struct Kafka {
    brokers: Vec<Broker>,
}

/// One more way into a broker: where it listens, and where it tells those to come back who came in there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) port: u16,
    pub(crate) told: u16,
}

impl Door {
    fn list(doors: &[Self], port: impl Fn(&Self) -> u16) -> String {
        let list = doors.iter().enumerate();
        list.map(|(n, door)| format!(",DOOR{n}://127.0.0.1:{}", port(door))).collect()
    }
}

/// One broker, at addresses that stay its own.
pub(crate) struct Broker {
    ports: Ports,
    folder: PathBuf,
    keeper: Mutex<Keeper>,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    controller: u16,
    sasl: u16,
    tls: u16,
    sasl_tls: u16,
}

struct Keeper {
    _process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Kafka {
    /// The broker that all tests of this process share, started for the first that asks. It is gone with the process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(1))
    }

    /// So many brokers of the test's own, ready. With three, two have to have a record before it counts.
    pub(crate) fn start(count: u16) -> Self {
        let kafka = Self::apart(count, &[]);
        kafka.brokers.iter().for_each(Broker::start);
        kafka.wait_for(usize::from(count));
        kafka
    }

    /// The same with none of them started; each has doors besides.
    pub(crate) fn apart(count: u16, doors: &[Vec<Door>]) -> Self {
        let libs = libs();
        let all: Vec<Ports> = (0..count).map(|_| Ports::free()).collect();
        let voters: Vec<String> =
            (1..).zip(&all).map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller)).collect();
        let (copies, in_sync) = (count.min(3), count.min(3).div_ceil(2));
        let brokers: Vec<Broker> = (1..)
            .zip(all)
            .map(|(id, ports)| {
                let mut settings: Vec<String> = SMALL.iter().chain(&USERS).map(|&setting| setting.to_owned()).collect();
                settings.push(format!("node.id={id}"));
                settings.push(format!("controller.quorum.voters={}", voters.join(",")));
                let doors = doors.get(id - 1).map_or(&[][..], Vec::as_slice);
                let (inside, outside) = (Door::list(doors, |door| door.port), Door::list(doors, |door| door.told));
                let controller = format!("CONTROLLER://127.0.0.1:{}", ports.controller);
                settings.push(format!("listeners={}{inside},{controller}", ports.listeners()));
                settings.push(format!("advertised.listeners={}{outside}", ports.listeners()));
                let plain: String = (0..doors.len()).map(|n| format!(",DOOR{n}:PLAINTEXT")).collect();
                settings.push(format!("{PROTOCOLS}{plain}"));
                settings.push(format!("default.replication.factor={copies}"));
                settings.push(format!("offsets.topic.replication.factor={copies}"));
                settings.push(format!("min.insync.replicas={in_sync}"));
                settings.push(format!("transaction.state.log.replication.factor={copies}"));
                settings.push(format!("transaction.state.log.min.isr={in_sync}"));
                Broker::new(&libs, ports, &settings)
            })
            .collect();
        Self { brokers }
    }

    /// `HOST:PORT,…`.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> =
            self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.ports.plain)).collect();
        addresses.join(",")
    }

    pub(crate) fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker with this number, from 0.
    pub(crate) fn broker(&self, number: usize) -> &Broker {
        &self.brokers[number]
    }

    /// Waits until so many brokers are up.
    pub(crate) fn wait_for(&self, count: usize) {
        let admin = self.admin();
        let deadline = Instant::now() + STARTING;
        loop {
            let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(1));
            if metadata.is_ok_and(|metadata| metadata.brokers().len() >= count) {
                return;
            }
            assert!(Instant::now() < deadline, "Kafka did not start:\n{}", self.brokers[0].log());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Makes a topic with as many copies as there are brokers, three at most. Blocks.
    pub(crate) fn make_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let copies = i32::try_from(self.brokers.len().min(3)).unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        // The test's own thread may be a runtime's.
        std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                let made = futures_util::FutureExt::boxed_local(async {
                    self.admin().create_topics([&topic], &options).await.unwrap().remove(0).unwrap();
                });
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(made);
            });
            making.join().unwrap();
        });
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("log_level", "0");
        AdminClient::from_config(&config).unwrap()
    }
}

impl Broker {
    fn new(libs: &Path, ports: Ports, settings: &[String]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "kafka.sh"]).arg(libs).arg(std::env::temp_dir()).args(settings);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell for Kafka");
        let commands = process.stdin.take().expect("its input");
        let mut answers = BufReader::new(process.stdout.take().expect("its output"));
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        let keeper = Mutex::new(Keeper { _process: process, commands, answers });
        Self { ports, folder: folder.trim().into(), keeper }
    }

    /// Starts it, on what it had on its disk.
    pub(crate) fn start(&self) {
        self.order("start");
    }

    /// `kill -9`; its disk stays.
    pub(crate) fn kill(&self) {
        self.order("kill");
    }

    /// Stops it where it stands (SIGSTOP).
    pub(crate) fn pause(&self) {
        self.order("pause");
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn resume(&self) {
        self.order("resume");
    }

    /// Where it asks for a user: `parlor`, with the password `parlor-secret`.
    pub(crate) fn sasl(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// Where it speaks TLS.
    pub(crate) fn tls(&self) -> String {
        format!("localhost:{}", self.ports.tls)
    }

    /// Where it does both.
    pub(crate) fn sasl_tls(&self) -> String {
        format!("localhost:{}", self.ports.sasl_tls)
    }

    /// The certificate to check it against.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Its own door, without a user.
    pub(crate) fn port(&self) -> u16 {
        self.ports.plain
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default()
    }

    fn order(&self, command: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.commands, "{command}").unwrap();
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "done", "{command}: {}", self.log());
    }
}

impl Ports {
    fn free() -> Self {
        let port = super::lasting_port;
        Self { plain: port(), controller: port(), sasl: port(), tls: port(), sasl_tls: port() }
    }

    fn listeners(self) -> String {
        format!(
            "PLAINTEXT://127.0.0.1:{},SASL_PLAINTEXT://127.0.0.1:{},SSL://localhost:{},SASL_SSL://localhost:{}",
            self.plain, self.sasl, self.tls, self.sasl_tls
        )
    }
}

/// Kafka's programs, as `tests/setup.sh` brought them.
fn libs() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers.sh");
    let done = Command::new("bash").arg(script).args(["--where", "kafka"]).output().unwrap();
    assert!(done.status.success(), "{}", super::SETUP);
    String::from_utf8(done.stdout).unwrap().trim().into()
}
