//! A Postgres server for tests, and in it a database of its own for each. The unit tests of the store use this file too.
#![allow(dead_code, reason = "two test programs include this file, and neither needs all of it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// What keeps the server, and stops it when this process has ended, however it did.
const KEEPER: &str = include_str!("postgres.sh");
/// Quick and not durable: a test's data need not survive the machine.
const QUICK: [&str; 6] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=400",
    "shared_buffers=64MB",
    "max_wal_size=2GB",
];

/// A server of its own port and folder. Dropped, it is stopped and its folder goes.
pub(crate) struct Postgres {
    port: u16,
    folder: PathBuf,
    bin: PathBuf,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// The server that all tests of this process share, started for the first that asks. It is gone with the process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&QUICK))
    }

    /// A server that keeps what it has committed through `kill` and `stop`, on a port that stays its own.
    pub(crate) fn durable() -> Self {
        Self::start(&["max_connections=400"])
    }

    /// A server with these settings, ready.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let bin = programs();
        // Free a moment ago; nobody else asks for this one by number.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut command = as_postgres();
        command.args(["sh", "-c", KEEPER, "postgres.sh"]).arg(&bin).arg(std::env::temp_dir());
        command.arg(free.port().to_string()).args(settings);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell for Postgres");
        let commands = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().expect("its output"));
        let mut folder = String::new();
        answers.read_line(&mut folder).expect("the folder of Postgres");
        assert!(!folder.is_empty(), "initdb failed, see above");
        let keeper = Mutex::new(Keeper { process, commands, answers });
        let server = Self { port: free.port(), folder: folder.trim_end().into(), bin, keeper };
        server.tell("start");
        server
    }

    /// Where a database of this server is.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server, as long as it is up.
    pub(crate) fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("postmaster.pid");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    /// Starts it anew after [`Self::stop`] or [`Self::kill`], with what it had committed; returns when it is ready.
    pub(crate) fn start_again(&self) {
        self.tell("start");
    }

    /// Stops it at once and well: sessions are broken off.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&self) {
        self.tell("kill");
    }

    fn tell(&self, command: &str) {
        let mut keeper = self.keeper.lock().expect("the keeper");
        let commands = keeper.commands.as_mut().expect("the keeper's input");
        writeln!(commands, "{command}").expect("the keeper listens");
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).expect("the keeper answers");
        assert_eq!(answer.trim_end(), "done", "{command} of Postgres");
    }

    /// Does this SQL, statement by statement, and returns what it selects, a row a line.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql]);
        let done = psql.stdin(Stdio::null()).output().expect("psql");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// From here on it speaks TLS with whoever wants that.
    pub(crate) fn speak_tls(&self, certificate: &Path, key: &Path) {
        for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let to = self.folder.join("data").join(name);
            std::fs::copy(from, &to).expect("a copy for Postgres");
            let mut own = Command::new("sh");
            // Its own, and nobody else's: else it is refused.
            own.args(["-c", "chmod 600 $0 && chown --reference=$1 $0"]).arg(&to).arg(self.folder.join("data"));
            assert!(own.status().expect("a shell").success());
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// Puts a line before all others in `pg_hba.conf`: who is let in how.
    pub(crate) fn admit(&self, line: &str) {
        let path = self.folder.join("data/pg_hba.conf");
        let lines = std::fs::read_to_string(&path).expect("pg_hba.conf");
        std::fs::write(&path, format!("{line}\n{lines}")).expect("pg_hba.conf");
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// A database of the caller's own, made from `template` (`template1`: an empty one).
    pub(crate) fn database(&'static self, template: &str) -> Database {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database { server: self, name }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        keeper.commands = None;
        let _ = keeper.process.wait();
    }
}

/// A database of one test. Dropped, it goes, and whoever still uses it is cut off.
pub(crate) struct Database {
    server: &'static Postgres,
    name: String,
}

impl Database {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.server.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// Debian keeps the programs out of the path, a folder for each version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort_by(|one, other| other.cmp(one));
    folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let all = |folder: &&PathBuf| ["initdb", "pg_isready", "psql"].iter().all(|name| folder.join(name).exists());
    let found = folders.iter().find(all).cloned();
    found.expect("Postgres is not installed: run tests/setup.sh, or install the package postgresql")
}

/// Postgres refuses to run as root.
fn as_postgres() -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command
    } else {
        Command::new("env")
    };
    // Not in the group of the terminal: Ctrl-C is for the test program, and the server then goes with it.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.current_dir(Path::new("/"));
    command
}

#[test]
fn a_server_starts_crashes_and_comes_back_with_what_was_committed() {
    let server = Postgres::durable();
    server.sql("postgres", "CREATE TABLE kept (n BIGINT); INSERT INTO kept VALUES (7)");
    let pid = server.pid();
    server.kill();
    server.start_again();
    assert_ne!(server.pid(), pid);
    assert_eq!(server.sql("postgres", "SELECT n FROM kept"), "7");
    let folder = server.folder.clone();
    drop(server);
    assert!(!folder.exists());
}
