//! The server as its users meet it: the real binary on ports and in a folder of its own, watched while a test runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) mod certificate;
mod http;
pub(crate) mod kafka;
pub(crate) mod postgres;
mod process;
mod raw;
pub(crate) mod redis;
mod socket;

pub(crate) use http::{Reply, reply};
pub(crate) use process::{Finished, Process, finish};
pub(crate) use raw::{Frame, Raw};
pub(crate) use socket::{ConnectOptions, Socket};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Settings that make a test quick; a test's own come on top.
const FAST: [(&str, &str); 7] = [
    ("workers", "2"),
    ("reconnect_spread_seconds", "0"),
    ("drain_limit_seconds", "5"),
    ("accounts.leeway_seconds", "0"),
    ("accounts.limits.per_account", "{ attempts = 1000, seconds = 1 }"),
    ("accounts.limits.per_address", "{ attempts = 1000, seconds = 1 }"),
    // Whoever has one need not wait for it in every test.
    ("scripts.jolie.home", "\"/nowhere\""),
];

/// A server of the test's own. Dropped, it stops, and fails the test if it did not stop well or logged an error.
pub(crate) struct TestApp {
    folder: TempDir,
    process: Option<Process>,
    client: reqwest::Client,
    errors_expected: bool,
    listen: String,
    environment: Vec<(String, String)>,
    /// `http://ADDRESS:PORT`.
    pub(crate) url: String,
    /// The same of the internal port.
    pub(crate) internal: String,
}

/// A user who has logged in.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

impl TestApp {
    /// A server with the settings that make tests quick.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server with these settings besides: dotted keys, values as in TOML.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::in_environment(settings, &[]).await
    }

    /// The same, with these variables besides.
    pub(crate) async fn in_environment(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let all: BTreeMap<&str, &str> = FAST.iter().chain(settings).copied().collect();
        let text: String = all.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(folder.path().join("parlor.toml"), text).unwrap();
        Self::in_folder(folder, "127.0.0.1:0", environment).await
    }

    /// A server that is at the same address again when it is started anew: for programs that come back.
    pub(crate) async fn on_fixed_ports() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text: String = FAST.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(folder.path().join("parlor.toml"), text).unwrap();
        // Free a moment ago; nobody else asks for this one by number.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).unwrap();
        Self::in_folder(folder, &free.to_string(), &[]).await
    }

    /// A client of a server that the test itself runs.
    pub(crate) fn around(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, internal, listen) = (url.to_owned(), String::new(), String::new());
        let environment = Vec::new();
        Self { folder, process: None, client: client(), errors_expected: false, listen, environment, url, internal }
    }

    async fn in_folder(folder: TempDir, listen: &str, environment: &[(&str, &str)]) -> Self {
        let (client, url, internal, listen) = (client(), String::new(), String::new(), listen.to_owned());
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut app =
            Self { folder, process: None, client, errors_expected: false, listen, environment, url, internal };
        app.launch().await;
        app
    }

    /// Starts the binary and waits until it is ready.
    async fn launch(&mut self) {
        let (config, data) = (self.folder.path().join("parlor.toml"), self.data());
        let mut command = parlor();
        command.arg("serve").arg("--config").arg(config).arg("--data").arg(data);
        command.args(["--listen", &self.listen, "--internal-listen", "127.0.0.1:0"]);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        let process = Process::start(command);
        let line = process.out_line("parlor ready: ").await;
        let words: Vec<&str> = line.split_whitespace().collect();
        self.url = words[2].to_owned();
        self.internal = words[4].trim_end_matches(')').to_owned();
        self.process = Some(process);
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A place for the test's own files, gone with the server.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn process(&self) -> &Process {
        self.process.as_ref().expect("the server was stopped")
    }

    /// From here on `ERROR` lines are part of the test.
    pub(crate) fn expect_errors(&mut self) {
        self.errors_expected = true;
    }

    /// Tells the server to stop.
    pub(crate) fn terminate(&self) {
        self.process().signal(rustix::process::Signal::TERM);
    }

    /// Waits for the end of a server that is about to stop, and says with which status.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let process = self.process.take().expect("the server was stopped");
        let status = process.exited(PATIENCE).await;
        self.judge(&process);
        status.code()
    }

    /// Stops the server well and starts it anew on its data.
    pub(crate) async fn restart(&mut self) {
        self.terminate();
        assert_eq!(self.ended().await, Some(0));
        self.launch().await;
    }

    /// Starts a server that has ended anew on its data.
    pub(crate) async fn restart_after_end(&mut self) {
        if self.process.is_some() {
            assert_eq!(self.ended().await, Some(0));
        }
        self.launch().await;
    }

    /// Kills the server at once and starts it anew on its data.
    pub(crate) async fn kill9(&mut self) {
        let process = self.process.take().expect("the server was stopped");
        process.signal(rustix::process::Signal::KILL);
        process.exited(PATIENCE).await;
        self.judge(&process);
        self.launch().await;
    }

    /// Makes an account, and logs in.
    pub(crate) async fn register(&self, name: &str) -> Account {
        let reply = self.post("users", None, &json!({"username": name, "password": PASSWORD})).await;
        reply.assert(201).account()
    }

    /// Logs in once more.
    pub(crate) async fn login(&self, name: &str) -> Account {
        let reply = self.post("login", None, &json!({"username": name, "password": PASSWORD})).await;
        reply.assert(200).account()
    }

    /// Runs `parlor` with this folder's data, as an operator would; says what it printed.
    pub(crate) async fn cli(&self, args: &[&str], input: &str) -> String {
        let mut command = parlor();
        command.args(args).arg("--data").arg(self.data());
        let done = finish(command, input).await;
        assert_eq!(done.code, Some(0), "{args:?}: {}{}", done.out, done.err);
        done.out
    }

    /// An administrator, who has logged in.
    pub(crate) async fn admin(&self, name: &str) -> Account {
        self.cli(&["user", "add", name, "--role", "admin", "--password-stdin"], PASSWORD).await;
        self.login(name).await
    }

    /// The value of a metric without labels, or the sum over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get_url(&format!("{}/metrics", self.internal)).await.assert(200).text;
        let of_name = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{')));
        of_name.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric is as wanted.
    pub(crate) async fn until_metric(&self, name: &str, within: Duration, wanted: impl Fn(f64) -> bool) {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let value = self.metric(name).await;
            if wanted(value) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name} is {value} for more than {within:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What must not be in a log.
    fn judge(&self, process: &Process) {
        let bad = |line: &&String| line.contains("panicked at") || (!self.errors_expected && line.contains(" ERROR "));
        let log = process.log();
        let bad: Vec<&String> = log.iter().filter(bad).collect();
        assert!(bad.is_empty(), "the server's log has {bad:#?}");
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        let stopped = process.stop();
        if std::thread::panicking() {
            let log = process.log();
            let tail = log.len().saturating_sub(40);
            eprintln!("--- the server's log, last lines ---\n{}", log[tail..].join("\n"));
            return;
        }
        self.judge(&process);
        match stopped {
            Some(status) => assert_eq!(status.code(), Some(0), "the server's exit status"),
            None => panic!("the server did not stop within its time and was killed; its log: {:#?}", process.log()),
        }
    }
}

fn client() -> reqwest::Client {
    // No connection is kept: the server may end an idle one just when the next request is on its way.
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE * 3).build().unwrap()
}

/// The binary, in an environment without settings of this machine.
pub(crate) fn parlor() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_parlor"));
    let ours = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("PARLOR_"));
    for name in ours {
        command.env_remove(name);
    }
    command
}

/// A port for a server that has to find it again when it is started anew: below those that whoever connects is given.
pub(crate) fn lasting_port() -> u16 {
    loop {
        let port = rand::Rng::random_range(&mut rand::rng(), 20_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The command that prepares what some tests need, for their failures.
pub(crate) const SETUP: &str = "run tests/setup.sh once: it puts what this test needs under ~/.cache/parlor-tests";

/// The checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is in a folder of the repository, by name.
pub(crate) fn listed(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    paths
}

/// Where `tests/setup.sh` put it.
pub(crate) fn cache() -> PathBuf {
    let home = std::env::var("XDG_CACHE_HOME").ok().filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = home.unwrap_or_else(|| PathBuf::from(std::env::var("HOME").expect("HOME")).join(".cache"));
    let cache = home.join("parlor-tests");
    assert!(cache.join("ready-3").exists(), "{SETUP}");
    cache
}

/// A `sendMessage` frame.
pub(crate) fn send_frame(to: &[&Account], body: &str, id: &str) -> Value {
    let ids: Vec<i64> = to.iter().map(|account| account.id).collect();
    json!({"type": "sendMessage", "messageBody": body, "recipientIds": ids, "clientMessageId": id})
}
