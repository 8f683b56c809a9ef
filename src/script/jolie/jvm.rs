//! The Java process of a worker: started, asked, and given up when it goes beyond its limits. It ends with this process.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, Uid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::home::Home;
use super::sandbox;
use super::wire::{Answer, Question, READY, body};
use crate::script::protocol::{self, Confinement, FromWorker};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// The longest greeting: how it is confined, in words.
const GREETING_BYTES: usize = 64 * 1024;
/// The shortest time between two looks at its processor time.
const LOOK: Duration = Duration::from_millis(5);
/// How Java ends when it has no memory left (`ExitOnOutOfMemoryError`), and when the system gives it none.
const OUT_OF_MEMORY: [i32; 2] = [3, 1];
/// The part of the memory that is heap; the rest is code, classes, stacks and Java itself.
const HEAP_PART: u64 = 4;

/// A limit that a question came up against. The process is not to be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Too much processor time.
    Cpu,
    /// Too much memory.
    Memory,
    /// None that is known: it ended, or does not speak as it should.
    Gone,
}

/// The process.
#[derive(Debug)]
pub struct Jvm {
    child: Child,
    input: File,
    output: File,
    clock: ClockId,
    processors: u32,
    /// Its processor time when it was last looked at: one that has ended has no clock any more.
    seen: Duration,
    /// The same when it last answered.
    before: Duration,
    /// What the last question took, with what it used in between.
    used: Duration,
    spent: bool,
}

impl Jvm {
    /// Starts it, confined, and waits until its interpreter is warm. Takes this process into namespaces of its own, if
    /// it may.
    ///
    /// # Errors
    /// In words.
    pub fn launch(home: &Home, memory: u64) -> Result<(Self, Confinement), String> {
        let as_root = Uid::effective().is_root();
        let isolated = sandbox::isolate();
        let mut command = Command::new("/proc/self/exe");
        command.args(["worker", "--java"]).arg(&home.path).arg("--memory").arg(memory.to_string());
        command.args(isolated.is_ok().then_some("--isolated")).args(as_root.then_some("--as-root"));
        // Nothing of a worker's own output may come from a script: what Java says goes nowhere.
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("Java cannot be started: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Java has no pipes".to_owned());
        };
        let (input, mut output) = (File::from(OwnedFd::from(input)), File::from(OwnedFd::from(output)));
        let mut confinement = greeting(&mut output)?;
        if let Err(why) = isolated {
            confinement.missing.push(format!("namespaces: {why}"));
        }
        if confinement.is_enough_for_java() {
            let mut ready = [0; READY.len()];
            let warm = output.read_exact(&mut ready).is_ok() && ready == READY;
            if !warm {
                return Err(format!("Java did not come up: {}", ended(&mut child)));
            }
        }
        let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).map_err(|error| format!("no clock of Java: {error}"))?;
        for end in [&input, &output] {
            rustix::fs::fcntl_setfl(end, OFlags::NONBLOCK).map_err(|error| error.to_string())?;
        }
        // Later this process cannot ask any more.
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let processors = u32::try_from(processors).unwrap_or(1);
        let (seen, before, used, spent) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, false);
        let mut jvm = Self { child, input, output, clock, processors, seen, before, used, spent };
        jvm.before = jvm.cpu();
        Ok((jvm, confinement))
    }

    /// Our ends of its pipes.
    #[must_use]
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.input.as_raw_fd(), self.output.as_raw_fd()]
    }

    /// Whether it must not be asked anything more.
    pub(super) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Processor time of the last question. What was used since the one before counts to it: threads that a script
    /// leaves behind are its own.
    pub(super) fn used(&self) -> Duration {
        self.used
    }

    fn cpu(&mut self) -> Duration {
        if let Ok(time) = clock_gettime(self.clock) {
            let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
            self.seen = Duration::new(seconds.try_into().unwrap_or_default(), nanos.try_into().unwrap_or_default());
        }
        self.seen
    }

    /// Asks, and waits for the answer for as long as there is processor time. One that neither answers nor uses any is
    /// ended by the server.
    ///
    /// # Errors
    /// The limit that ended it.
    pub(super) fn ask(&mut self, question: &Question<'_>, limit: Duration) -> Result<Answer, Stop> {
        let answered = self.converse(question, limit);
        let now = self.cpu();
        self.used = now.saturating_sub(self.before);
        self.before = now;
        self.spent |= answered.as_ref().map_or(true, |answer| answer.spoilt);
        answered
    }

    fn converse(&mut self, question: &Question<'_>, limit: Duration) -> Result<Answer, Stop> {
        let frame = question.frame();
        let mut rest = frame.as_slice();
        let mut read: Vec<u8> = Vec::new();
        loop {
            match body(&read, question) {
                Ok(Some(body)) => match Answer::read(body, question) {
                    Some(answer) => return Ok(answer),
                    None => return Err(Stop::Gone),
                },
                Ok(None) => {}
                Err(_) => return Err(Stop::Gone),
            }
            let used = self.cpu().saturating_sub(self.before);
            let left = limit.saturating_sub(used);
            if left.is_zero() {
                return Err(Stop::Cpu);
            }
            if !self.wait(!rest.is_empty(), left) {
                continue;
            }
            // Both ends do not block: what they cannot do now, the next round does.
            match self.input.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or(&[]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(self.end()),
            }
            let mut room = [0; READ_BYTES];
            match self.output.read(&mut room) {
                Ok(0) => return Err(self.end()),
                Ok(bytes) => read.extend_from_slice(room.get(..bytes).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Stop::Gone),
            }
        }
    }

    /// Waits until something can be done, or until it may have used up what is left: on all processors at once.
    fn wait(&self, to_write: bool, left: Duration) -> bool {
        let timeout = Timespec::try_from((left / self.processors).max(LOOK)).ok();
        let mut ends = vec![PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
        if to_write {
            ends.push(PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::OUT));
        }
        poll(&mut ends, timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// It has ended: why, as far as that can be told.
    fn end(&mut self) -> Stop {
        // Until it is waited for, it has its clock.
        self.cpu();
        match self.child.wait().ok().and_then(|status| status.code()) {
            Some(code) if OUT_OF_MEMORY.contains(&code) => Stop::Memory,
            _ => Stop::Gone,
        }
    }
}

/// Confines this process and becomes Java.
///
/// # Errors
/// In words: it cannot be started.
pub fn become_java(home: &Path, isolated: bool, as_root: bool, memory: u64) -> anyhow::Result<()> {
    let home = Home::open(home).map_err(anyhow::Error::msg)?;
    let (confinement, seen_at) = sandbox::enter(&home, isolated, as_root, memory);
    let enough = confinement.is_enough_for_java();
    let mut greeting = Vec::new();
    protocol::encode(&FromWorker::Hello(confinement), &mut greeting)?;
    io::stdout().write_all(&greeting)?;
    io::stdout().flush()?;
    anyhow::ensure!(enough, "Java cannot be confined");
    let mut java = Command::new(seen_at.join("runtime/bin/java"));
    java.args(flags(memory)).arg("-cp").arg(&home.class_path).args(["parlor.jolie.Host", "."]);
    // Java finds its libraries by the place of its own program in /proc, which is not there.
    java.env_clear().env("LD_LIBRARY_PATH", seen_at.join("runtime/lib"));
    // One heap of the C library's for all threads: each other one would reserve 64 MiB of address space.
    java.env("MALLOC_ARENA_MAX", "1").env("LANG", "C.UTF-8");
    Err(java.exec().into())
}

/// How Java is started: little of everything, quick to begin, and not to be talked to by anybody.
fn flags(memory: u64) -> Vec<OsString> {
    let heap = format!("-Xmx{}k", memory / HEAP_PART / 1024);
    let fixed = [
        // What it says of itself would stand between the frames.
        "-Xlog:disable",
        "-XX:+DisplayVMOutputToStderr",
        "-Xss256k",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:CICompilerCount=1",
        "-XX:ReservedCodeCacheSize=16m",
        "-XX:CompressedClassSpaceSize=16m",
        "-XX:MaxMetaspaceSize=48m",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-XX:-UseContainerSupport",
        "-XX:+DisableAttachMechanism",
        "-XX:SharedArchiveFile=host.jsa",
        "-Xshare:auto",
        "-Djava.nio.channels.spi.SelectorProvider=parlor.jolie.NoSelectors",
        "-Djava.security.egd=file:/dev/urandom",
        "-Dfile.encoding=UTF-8",
    ];
    std::iter::once(heap.into()).chain(fixed.map(OsString::from)).collect()
}

/// Reads how it is confined, which it says before it becomes Java.
fn greeting(output: &mut File) -> Result<Confinement, String> {
    let mut frame = vec![0; protocol::HEAD_BYTES];
    let words = |error: io::Error| format!("Java did not say how it is confined: {error}");
    output.read_exact(&mut frame).map_err(words)?;
    let length = frame.first_chunk().map_or(0, |head| u32::from_le_bytes(*head) as usize);
    frame.resize(protocol::HEAD_BYTES + length.min(GREETING_BYTES), 0);
    output.read_exact(frame.get_mut(protocol::HEAD_BYTES..).unwrap_or_default()).map_err(words)?;
    match protocol::decode(&frame) {
        Ok(Some((FromWorker::Hello(confinement), _))) => Ok(confinement),
        _ => Err("Java did not say how it is confined".to_owned()),
    }
}

fn ended(child: &mut Child) -> String {
    // It may live, and wait for what is never asked.
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}
