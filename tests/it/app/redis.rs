//! A Redis server for tests: its own port and folder, stopped when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use deadpool_redis::redis::{Client, Connection, FromRedisValue, cmd};
use rustix::process::Signal;
use tempfile::TempDir;

use super::SETUP;
use super::process::Process;

/// A server that keeps everything in memory.
pub(crate) struct Redis {
    port: u16,
    /// Where it speaks TLS, and with which certificate and key.
    tls: Option<(u16, PathBuf, PathBuf)>,
    folder: TempDir,
    process: Option<Process>,
}

impl Redis {
    /// A server that answers.
    pub(crate) async fn start() -> Self {
        Self::with(None).await
    }

    /// One that speaks TLS besides, at [`Self::tls_url`], with this certificate and key.
    pub(crate) async fn with_tls(certificate: &Path, key: &Path) -> Self {
        Self::with(Some((super::lasting_port(), certificate.to_owned(), key.to_owned()))).await
    }

    async fn with(tls: Option<(u16, PathBuf, PathBuf)>) -> Self {
        let mut redis = Self { port: super::lasting_port(), tls, folder: tempfile::tempdir().unwrap(), process: None };
        redis.start_again().await;
        redis
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it speaks TLS.
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls.as_ref().expect("it speaks TLS").0)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, empty, on its port.
    pub(crate) async fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.folder.path());
        if let Some((port, certificate, key)) = &self.tls {
            command
                .args(["--tls-auth-clients", "no", "--tls-port", &port.to_string(), "--tls-cert-file"])
                .arg(certificate);
            command.arg("--tls-key-file").arg(key).arg("--tls-ca-cert-file").arg(certificate);
        }
        assert!(Command::new("redis-server").arg("--version").output().is_ok(), "no redis-server: {SETUP}");
        self.process = Some(Process::start(command));
        for _ in 0..500 {
            if self.try_ask::<String>(&["PING"]).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Redis does not answer: {:#?}", self.process.as_ref().map(Process::out));
    }

    /// Kills it.
    pub(crate) async fn kill(&mut self) {
        let process = self.process.take().expect("it runs");
        process.signal(Signal::KILL);
        process.exited(super::PATIENCE).await;
    }

    /// Stops its process in its tracks.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::CONT);
    }

    /// What it says to a command.
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_ask(command).unwrap_or_else(|| panic!("{command:?}"))
    }

    fn try_ask<T: FromRedisValue>(&self, command: &[&str]) -> Option<T> {
        let mut connection: Connection =
            Client::open(self.url()).ok()?.get_connection_with_timeout(Duration::from_secs(5)).ok()?;
        let (name, arguments) = command.split_first()?;
        let mut command = cmd(name);
        for argument in arguments {
            command.arg(argument);
        }
        command.query(&mut connection).ok()
    }
}
