//! The server under test: one that runs already, or one started for this run on a folder of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{cli::Target, machine::Cpus, progress::say};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How much of a failed server's log is shown.
const LOG_TAIL_LINES: usize = 20;

/// No limit that is there against abuse may be what is measured.
const SETTINGS: &str = "\
# Written by parlor-bench for one run.
[session]
messages_per_second = 1000000
message_burst = 1000000
sessions_per_user = 100000

[accounts.limits]
per_account = { attempts = 1000000, seconds = 1 }
per_address = { attempts = 1000000, seconds = 1 }
registrations_per_address = { attempts = 1000000, seconds = 1 }
";

/// See the module.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where its HTTP is; several for the nodes of a cluster.
    pub(crate) urls: Vec<String>,
    /// Its processes, as far as they are on this machine and known.
    pub(crate) pids: Vec<u32>,
    /// From its start to its ready line.
    pub(crate) startup: Option<Duration>,
    spawned: Option<Spawned>,
}

#[derive(Debug)]
struct Spawned {
    child: Child,
    log: PathBuf,
    /// Removed with everything in it when dropped.
    _folder: tempfile::TempDir,
}

impl Server {
    /// Finds or starts it.
    pub(crate) async fn find(target: &Target) -> anyhow::Result<Self> {
        match &target.spawn {
            Some(program) => Self::spawn(program, target).await,
            None => Ok(Self { pids: target.server_pid.clone(), ..Self::at(target.url.clone()) }),
        }
    }

    /// One that runs already, nobody knows where.
    pub(crate) fn at(urls: Vec<String>) -> Self {
        Self { urls, pids: Vec::new(), startup: None, spawned: None }
    }

    async fn spawn(program: &Path, target: &Target) -> anyhow::Result<Self> {
        let folder = match &target.data {
            Some(parent) => tempfile::Builder::new().prefix("parlor-bench-").tempdir_in(parent),
            None => tempfile::Builder::new().prefix("parlor-bench-").tempdir(),
        }
        .context("a temporary folder for the server")?;
        let (config, log) = (folder.path().join("parlor.toml"), folder.path().join("server.log"));
        std::fs::write(&config, SETTINGS).context("the server's settings")?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(folder.path().join("data")).arg("--config").arg(&config);
        command.args(["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
        if let Some(workers) = target.workers {
            command.args(["--workers", &workers.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command.stderr(std::fs::File::create(&log).context("the server's log")?);

        let start = Instant::now();
        let child = start_on(target.server_cpus.as_ref(), || {
            command.spawn().with_context(|| format!("cannot start {}", program.display()))
        })?;
        let pid = child.id();
        let mut spawned = Spawned { child, log, _folder: folder };
        match tokio::time::timeout(START_LIMIT, spawned.ready_url()).await {
            Ok(Ok(url)) => {
                let startup = start.elapsed();
                say(&format!("the server is ready at {url} after {} ms", startup.as_millis()));
                Ok(Self {
                    urls: vec![url],
                    pids: pid.into_iter().collect(),
                    startup: Some(startup),
                    spawned: Some(spawned),
                })
            }
            Ok(Err(error)) => Err(error.context(spawned.log_tail())),
            Err(_elapsed) => bail!("no ready line within {} s\n{}", START_LIMIT.as_secs(), spawned.log_tail()),
        }
    }

    /// Asks a server that this run started to stop, and waits.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Some(mut spawned) = self.spawned else { return Ok(()) };
        if let Some(pid) = self.pids.first().and_then(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            kill_process(pid, Signal::TERM).context("cannot stop the server")?;
        }
        match tokio::time::timeout(STOP_LIMIT, spawned.child.wait()).await {
            Ok(status) => {
                let status = status?;
                if !status.success() {
                    bail!("the server ended with {status}; {}", spawned.log_tail());
                }
                Ok(())
            }
            Err(_elapsed) => {
                spawned.child.kill().await?;
                bail!("the server did not stop within {} s of SIGTERM and was killed", STOP_LIMIT.as_secs())
            }
        }
    }
}

impl Spawned {
    /// Reads the server's standard output up to the line with its address; what comes later is thrown away.
    async fn ready_url(&mut self) -> anyhow::Result<String> {
        let stdout = self.child.stdout.take().context("the server's standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = first_http_url(&line) {
                let url = url.to_owned();
                // A full pipe would stop the server.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(url);
            }
        }
        bail!("the server ended before it was ready")
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!(
            "its log ends:\n{}",
            lines.get(lines.len().saturating_sub(LOG_TAIL_LINES)..).unwrap_or_default().join("\n")
        )
    }
}

/// Starts a process on `cpus` and puts this one on all the others. A child inherits where it may run, so no `taskset` is
/// needed and the process id is the server's own.
fn start_on<T>(cpus: Option<&Cpus>, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let Some(cpus) = cpus else { return start() };
    let all = Cpus::allowed()?;
    cpus.pin()?;
    let started = start();
    let others = all.without(cpus);
    if others.is_empty() {
        say("warning: the generator shares the server's processors, there are no others");
        all.pin()?;
    } else {
        others.pin()?;
    }
    started
}

/// The first address in a line.
fn first_http_url(line: &str) -> Option<&str> {
    let url = line.get(line.find("http://")?..)?;
    let end = url.find(|c: char| c.is_whitespace() || matches!(c, ')' | ',' | '"')).unwrap_or(url.len());
    url.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_gives_the_public_address() {
        let line = "parlor ready: http://127.0.0.1:8080 (internal http://127.0.0.1:9090) stages=all";
        assert_eq!(first_http_url(line), Some("http://127.0.0.1:8080"));
        assert_eq!(first_http_url("at (http://[::1]:1)"), Some("http://[::1]:1"));
        assert_eq!(first_http_url("starting"), None);
    }
}
