//! One worker as a process: started, greeted, killed by its handle, and reaped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Common, Lane, Setup, bounds, flights};
use crate::script::call::{Direction, Language, Severity};
use crate::script::protocol::{self, Confinement, FromWorker, RunLimits, ToWorker};

/// Bytes and lines of a worker's standard error that are logged. Then it is closed.
const LOGGED_BYTES: u64 = 16 * 1024;
const LOGGED_LINES: usize = 100;
/// Bytes read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// What a worker is tried with.
fn trial_source(language: Language) -> &'static str {
    match language {
        Language::Luau => "function incoming(message) return { action = 'FORWARD' } end",
        Language::Jolie => "main { nullProcess }",
    }
}
/// No other question has this number.
const TRIAL_NUMBER: u64 = 0;

/// One worker.
pub(super) struct Process {
    child: Child,
    /// Our end.
    pub(super) socket: UnixStream,
    /// What was read of it and is not used yet: nothing, once it has been greeted.
    read: Vec<u8>,
}

impl Process {
    /// Starts one. The thread that does it must live as long as the server: the kernel takes its end for the parent's
    /// death.
    ///
    /// # Errors
    /// In words; nothing of it is left.
    pub(super) fn spawn(setup: &Setup, lane: Lane) -> Result<Self, String> {
        let (child, socket) = spawn(setup).map_err(|error| format!("a worker cannot be started: {error}"))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        // A system that refuses this serves scripts all the same.
        let _ = setpriority_process(pid, lane.niceness());
        if lane == Lane::Own {
            let _ = keep_to_half(pid);
        }
        Ok(Self { child, socket, read: Vec::new() })
    }

    /// Waits until it is confined and, if it may run scripts at all, has shown that it can do something with one. A
    /// worker that dies of whatever it does (a limit, a system call that the filter does not know on this kernel) must
    /// not be taken for the victim of somebody's script.
    ///
    /// # Errors
    /// In words: it is to be ended.
    pub(super) async fn greet(&mut self, common: &Common, lane: Lane) -> Result<Confinement, String> {
        let limit = common.setup.hello_limit;
        let until = Instant::now() + limit;
        let late = |what: &str| format!("it did not {what} within {} ms", limit.as_millis());
        let hello = timeout_at(until, self.hear(bounds::HELLO_BYTES)).await.map_err(|_| late("say hello"))??;
        let FromWorker::Hello(confinement) = hello else { return Err("its first word was not hello".to_owned()) };
        if common.allows(&confinement) {
            let tried = timeout_at(until, self.try_out(common.setup.language, common.limits_in(lane))).await;
            tried.map_err(|_| late("answer the trial check"))??;
        }
        if !self.read.is_empty() {
            return Err("it spoke before it was asked".to_owned());
        }
        Ok(confinement)
    }

    /// Has it look over a source that is right.
    async fn try_out(&mut self, language: Language, limits: RunLimits) -> Result<(), String> {
        let (number, direction) = (TRIAL_NUMBER, Direction::Incoming);
        let mut out = Vec::new();
        let check = ToWorker::Check { number, language, direction, source: trial_source(language).to_owned() };
        for frame in [ToWorker::Begin(limits), check] {
            protocol::encode(&frame, &mut out).map_err(|error| error.to_string())?;
        }
        while !out.is_empty() {
            self.socket.writable().await.map_err(|error| error.to_string())?;
            match self.socket.try_write(&out) {
                Ok(bytes) => _ = out.drain(..bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("it takes no trial check: {error}")),
            }
        }
        match self.hear(bounds::CHECK_BYTES).await.map_err(|words| format!("at the trial check {words}"))? {
            FromWorker::Checked { number: TRIAL_NUMBER, found: Ok(found) }
                if found.iter().all(|one| one.severity != Severity::Error) =>
            {
                Ok(())
            }
            FromWorker::Checked { number: TRIAL_NUMBER, found } => {
                let words = match found {
                    Ok(found) => found.into_iter().map(|one| one.message).collect::<Vec<_>>().join("; "),
                    Err(failure) => failure.detail,
                };
                Err(format!("at the trial check it finds fault with a source that is right: {words}"))
            }
            _ => Err("it answered the trial check with something else".to_owned()),
        }
    }

    /// The next frame.
    async fn hear(&mut self, most: usize) -> Result<FromWorker, String> {
        loop {
            if let Some((frame, bytes)) = flights::take(&self.read, most)? {
                self.read.drain(..bytes);
                return Ok(frame);
            }
            self.socket.readable().await.map_err(|error| error.to_string())?;
            self.read.reserve(READ_BYTES);
            match self.socket.try_read_buf(&mut self.read) {
                Ok(0) => return Err("it ended".to_owned()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// For the log.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Gives it so much time to end by itself, then kills it, and waits until nothing is left of it.
    pub(super) async fn end(&mut self, patience: Duration) -> Ending {
        let by_itself = timeout(patience, self.child.wait()).await.is_ok();
        if !by_itself {
            // By the handle: a number could be somebody else's by now. One that has ended already cannot be killed.
            let _ = self.child.start_kill();
        }
        match self.child.wait().await {
            Ok(status) => Ending::of(status, by_itself),
            Err(error) => Ending { words: format!(" (not reaped: {error})"), ..Ending::default() },
        }
    }
}

/// How a worker ended.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// To be put behind what is said of it; nothing when it was our doing.
    pub(super) words: String,
    /// Somebody else killed it, by a signal that no script can send: its filter allows no such call.
    pub(super) from_outside: bool,
    /// It ended by itself, with nothing to complain of.
    pub(super) took_leave: bool,
}

impl Ending {
    fn of(status: ExitStatus, by_itself: bool) -> Self {
        const KILL: i32 = 9;
        const TERM: i32 = 15;
        let words = match (status.signal(), status.code()) {
            _ if !by_itself => String::new(),
            (Some(KILL), _) => {
                " (killed by SIGKILL from outside: by an operator, or by the kernel because memory ran out)".to_owned()
            }
            (Some(TERM), _) => " (killed by SIGTERM from outside)".to_owned(),
            (Some(signal), _) => format!(" (died by signal {signal})"),
            (None, Some(code)) => format!(" (ended with code {code})"),
            (None, None) => String::new(),
        };
        let from_outside = by_itself && matches!(status.signal(), Some(KILL | TERM));
        Self { words, from_outside, took_leave: by_itself && status.success() }
    }
}

/// Leaves the first half of the processors to everybody else. A process that wakes on a processor where a nicer one runs waits
/// for the rest of that one's slice, milliseconds: niceness alone is felt by the scripts of other people.
fn keep_to_half(pid: Option<Pid>) -> io::Result<()> {
    let allowed = sched_getaffinity(pid)?;
    let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|n| allowed.is_set(*n)).collect();
    let mut kept = CpuSet::new();
    for n in &processors[processors.len() / 2..] {
        kept.set(*n);
    }
    Ok(sched_setaffinity(pid, &kept)?)
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
    for _ in 0..LOGGED_LINES {
        let Ok(Some(line)) = lines.next_segment().await else { return };
        // Quoted: what a worker says must not look like a line of ours.
        tracing::warn!(pid, line = ?String::from_utf8_lossy(&line), "a worker says");
    }
}
