//! One worker as a process: started, greeted, killed by its handle, and reaped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::bounds::Bounds;
use super::{Setup, flights};
use crate::script::protocol::{Confinement, FromWorker};

/// Bytes of a worker's standard error that are logged. Then it is closed.
const LOGGED_BYTES: u64 = 16 * 1024;
/// Bytes read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// One worker.
pub(super) struct Process {
    child: Child,
    /// Our end.
    pub(super) socket: UnixStream,
    /// What was read of it and is not used yet.
    pub(super) read: Vec<u8>,
}

impl Process {
    /// Starts one. The thread that does it must live as long as the server: the kernel takes its end for the parent's
    /// death.
    ///
    /// # Errors
    /// In words; nothing of it is left.
    pub(super) fn spawn(setup: &Setup) -> Result<Self, String> {
        let (child, socket) = spawn(setup).map_err(|error| format!("a worker cannot be started: {error}"))?;
        Ok(Self { child, socket, read: Vec::new() })
    }

    /// Waits until it is confined.
    ///
    /// # Errors
    /// In words: it is to be ended.
    pub(super) async fn hello(&mut self, setup: &Setup, bounds: &Bounds) -> Result<Confinement, String> {
        match timeout(setup.hello_limit, hear_hello(&self.socket, &mut self.read, bounds)).await {
            Ok(heard) => heard,
            Err(_) => Err(format!("it did not say hello within {} ms", setup.hello_limit.as_millis())),
        }
    }

    /// For the log.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it, if it lives, and waits until nothing is left of it. Says how it ended when that was its own doing.
    pub(super) async fn end(&mut self) -> String {
        // By the handle: a number could be somebody else's by now. One that has ended already cannot be killed.
        let _ = self.child.start_kill();
        match self.child.wait().await {
            Ok(status) => told(status),
            Err(error) => format!(" (not reaped: {error})"),
        }
    }
}

fn spawn(setup: &Setup) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    let input = OwnedFd::from(theirs.try_clone()?);
    let mut command = Command::new(&setup.program);
    command.args(&setup.arguments).env_clear().current_dir("/").kill_on_drop(true);
    command.stdin(input).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped());
    // With the command go our copies of its end: else its death would not end the stream.
    let mut child = command.spawn()?;
    drop(command);
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(log(stderr, child.id()));
    }
    Ok((child, ours))
}

async fn log(stderr: ChildStderr, pid: Option<u32>) {
    let mut lines = BufReader::new(stderr.take(LOGGED_BYTES)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        // Quoted: what a worker says must not look like a line of ours.
        tracing::warn!(pid, line = ?String::from_utf8_lossy(&line), "a worker says");
    }
}

async fn hear_hello(socket: &UnixStream, read: &mut Vec<u8>, bounds: &Bounds) -> Result<Confinement, String> {
    loop {
        match flights::take(read, bounds)? {
            Some((FromWorker::Hello(confinement), bytes)) => {
                read.drain(..bytes);
                return Ok(confinement);
            }
            Some(_) => return Err("its first word was not hello".to_owned()),
            None => {}
        }
        socket.readable().await.map_err(|error| error.to_string())?;
        read.reserve(READ_BYTES);
        match socket.try_read_buf(read) {
            Ok(0) => return Err("it ended".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn told(status: ExitStatus) -> String {
    const KILL: i32 = 9;
    match (status.signal(), status.code()) {
        // Ours, most likely.
        (Some(KILL), _) => String::new(),
        (Some(signal), _) => format!(" (died by signal {signal})"),
        (_, Some(code)) => format!(" (ended with code {code})"),
        (None, None) => String::new(),
    }
}
