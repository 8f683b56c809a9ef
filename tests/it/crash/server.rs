//! The real program as a child process: started, ready, killed, stopped, frozen, refused.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(60);

/// Limits that no test reaches by sending fast, and tokens that outlive every test.
pub(crate) const SETTINGS: &str = "
workers = 2
reconnect_spread_seconds = 1
[accounts]
access_seconds = 86400
[accounts.limits]
per_account = { attempts = 100000, seconds = 1 }
per_address = { attempts = 100000, seconds = 1 }
registrations_per_address = { attempts = 100000, seconds = 1 }
[session]
messages_per_second = 1000000
message_burst = 1000000
other_frames_per_second = 1000000
other_frames_burst = 1000000
";

/// Where the parts of a test live: the data folder, the settings, the log. One that fails keeps its folder.
pub(crate) struct Home {
    folder: Option<TempDir>,
    path: PathBuf,
    pub(crate) data: PathBuf,
    environment: Vec<(String, String)>,
    version: Version,
}

/// Which Parlor it is that serves: a program, and what it is told beside the settings.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) program: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
}

impl Default for Version {
    /// The program that is tested, as it is.
    fn default() -> Self {
        Self { program: env!("CARGO_BIN_EXE_parlor").into(), environment: Vec::new() }
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with(SETTINGS)
    }

    pub(crate) fn with(settings: &str) -> Self {
        Self::in_environment(settings, Vec::new())
    }

    /// With variables for the server besides.
    pub(crate) fn in_environment(settings: &str, environment: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("parlor.toml"), settings).unwrap();
        Self { data: path.join("data"), path, environment, folder: Some(folder), version: Version::default() }
    }

    /// Has another version serve from its next start on.
    pub(crate) fn change_to(&mut self, version: Version) {
        self.version = version;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `parlor user …` with this server's settings, and the tests' password on standard input.
    pub(crate) fn user(&self, arguments: &[&str]) -> Output {
        run(self.command("user", arguments, &self.data), crate::app::PASSWORD)
    }

    /// `parlor migrate …` with this server's settings.
    pub(crate) fn migrate(&self, what: &str) -> Output {
        run(self.command("migrate", &[what], &self.data), "")
    }

    /// Its version's program, in its environment.
    fn command(&self, what: &str, arguments: &[&str], data: &Path) -> Command {
        let mut command = program(&self.version.program);
        command.arg(what).args(arguments).arg("--data").arg(data);
        command.envs(self.environment.iter().chain(&self.version.environment).cloned());
        command
    }

    fn serve(&self, data: &Path, more: &[&str]) -> Command {
        let mut command = self.command("serve", more, data);
        let config = self.path("parlor.toml");
        for (flag, value) in
            [("--listen", "127.0.0.1:0"), ("--internal-listen", "127.0.0.1:0"), ("--config", config.to_str().unwrap())]
        {
            if !more.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command
    }

    /// Starts the server and does not wait for it.
    pub(crate) fn spawn(&self) -> Starting {
        self.spawn_on(&self.data)
    }

    pub(crate) fn spawn_on(&self, data: &Path) -> Starting {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = self.serve(data, &[]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, ready) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            if let Some(line) = lines.next() {
                let _ = sender.send(line);
            }
            lines.for_each(drop);
        });
        Starting { child: Process(child), ready }
    }

    /// Starts the server and waits until it serves.
    pub(crate) async fn start(&self) -> Server {
        self.start_on(&self.data).await
    }

    pub(crate) async fn start_on(&self, data: &Path) -> Server {
        match self.spawn_on(data).ready().await {
            Some(server) => server,
            None => panic!("it did not start: {}", self.log()),
        }
    }

    /// Starts a server that is expected to refuse, with `more` arguments, which win over the usual ones.
    pub(crate) fn refused(&self, more: &[&str]) -> Refusal {
        let child = self.serve(&self.data, more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let (sender, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        match done.recv_timeout(START) {
            Ok(output) => Refusal::of(output.unwrap()),
            Err(_) => {
                signal(pid, Signal::KILL);
                panic!("it was to be refused and serves");
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

/// The program that is tested.
pub(crate) fn parlor() -> Command {
    program(Path::new(env!("CARGO_BIN_EXE_parlor")))
}

fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    // What is meant for the test is no setting of the server's.
    std::env::vars().filter(|(name, _)| name.starts_with("PARLOR_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.env("PARLOR_LOG", "info,actix_server=warn");
    command
}

/// `parlor user …`, with a password on standard input.
pub(crate) fn user(data: &Path, arguments: &[&str], password: &str) -> Output {
    let mut command = parlor();
    command.arg("user").args(arguments).arg("--data").arg(data);
    run(command, password)
}

pub(crate) fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Commands that read none may have closed it already.
    let _ = writeln!(child.stdin.take().unwrap(), "{input}");
    child.wait_with_output().unwrap()
}

/// What a server said that did not start.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
    pub(crate) output: String,
}

impl Refusal {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), said: text(output.stderr), output: text(output.stdout) }
    }

    /// It exited with a failure, and said why in one line that has all of `words`.
    pub(crate) fn says(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.output, "", "it never said it was ready");
        let lines: Vec<&str> = self.said.lines().collect();
        assert_eq!(lines.len(), 1, "one line: {}", self.said);
        for word in words {
            assert!(lines[0].contains(word), "{word:?} is not in: {}", lines[0]);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}

/// A child of ours, killed with whoever started it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that may not be ready.
pub(crate) struct Starting {
    child: Process,
    ready: tokio::sync::oneshot::Receiver<String>,
}

impl Starting {
    /// Waits until it serves; `None` when it ended instead.
    pub(crate) async fn ready(self) -> Option<Server> {
        let line = tokio::time::timeout(START, self.ready).await.expect("it does not start").ok()?;
        let address = |from: &str, to: &str| {
            let rest = line.split_once(from).unwrap_or_else(|| panic!("{line}")).1;
            rest.split(to).next().unwrap().to_owned()
        };
        let (address, internal) = (address("ready: http://", " "), address("internal http://", ")"));
        Some(Server { child: self.child, address, internal })
    }

    pub(crate) fn kill_9(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }
}

/// A server that serves.
pub(crate) struct Server {
    child: Process,
    pub(crate) address: String,
    pub(crate) internal: String,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1{path}", self.address)
    }

    pub(crate) fn signal(&self, what: Signal) {
        signal(self.child.0.id(), what);
    }

    /// Freezes it, and returns when every thread stands still: the signal alone leaves them running for a while.
    pub(crate) async fn freeze(&self) {
        self.signal(Signal::STOP);
        let threads = format!("/proc/{}/task", self.child.0.id());
        let stands = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
        loop {
            let mut stats = std::fs::read_dir(&threads).unwrap().map(|thread| thread.unwrap().path().join("stat"));
            if stats.all(|stat| std::fs::read_to_string(stat).map_or(true, stands)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn kill_9(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it as an operator does, and expects it to be well.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended(Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// What /readyz says: the status, and what stands against being ready.
    pub(crate) async fn readiness(&self) -> (u16, Value) {
        let answer = reqwest::get(format!("http://{}/readyz", self.internal)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Waits until /readyz answers `status`, and returns its checks.
    pub(crate) async fn until_ready_says(&self, status: u16, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let (now, body) = self.readiness().await;
            if now == status {
                return body["checks"].clone();
            }
            assert!(Instant::now() < deadline, "/readyz still says {now} {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
