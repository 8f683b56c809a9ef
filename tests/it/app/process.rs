//! A process that a test started: its output is kept, it is signalled by its own handle, and it never outlives the test.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::PATIENCE;

/// How long a server that is told to stop may take.
const STOPPING: Duration = Duration::from_secs(15);

/// A running process.
pub(crate) struct Process {
    child: Mutex<Child>,
    /// Names this process and no later one of the same number.
    handle: OwnedFd,
    out: Arc<Mutex<Vec<String>>>,
    log: Arc<Mutex<Vec<String>>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

/// What a process that ended left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let pid = Pid::from_child(&child);
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("a handle of one's own child");
        let (out, log) = (Arc::default(), Arc::default());
        let readers = vec![
            keep_lines(child.stdout.take().expect("piped"), Arc::clone(&out)),
            keep_lines(child.stderr.take().expect("piped"), Arc::clone(&log)),
        ];
        Self { child: Mutex::new(child), handle, out, log, readers: Mutex::new(readers) }
    }

    /// The first line on standard output that begins so.
    pub(crate) async fn out_line(&self, start: &str) -> String {
        self.line(&self.out, |line| line.starts_with(start), start).await
    }

    /// The first line on standard output that ends so, as a message does.
    pub(crate) async fn out_line_with(&self, end: &str) -> String {
        self.line(&self.out, |line| line.ends_with(end), end).await
    }

    /// The first line on standard error that holds this.
    pub(crate) async fn log_line(&self, part: &str) -> String {
        self.line(&self.log, |line| line.contains(part), part).await
    }

    async fn line(&self, lines: &Mutex<Vec<String>>, wanted: impl Fn(&str) -> bool, name: &str) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(line) = lines.lock().unwrap().iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late && self.status().is_none(), "no {name:?} in {:#?} {:#?}", self.out(), self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn out(&self) -> Vec<String> {
        self.out.lock().unwrap().clone()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Writes to its standard input.
    pub(crate) fn type_in(&self, text: &str) {
        let mut child = self.child.lock().unwrap();
        let input = child.stdin.as_mut().expect("its input is open");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&self) {
        drop(self.child.lock().unwrap().stdin.take());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended needs no signal.
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }

    /// Its resident memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let pid = self.child.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Resident bytes of it and its children together.
    pub(crate) fn family_memory(&self) -> u64 {
        let pid = self.child.lock().unwrap().id();
        let children = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flat_map(|thread| {
            let list = std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
            list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        });
        let resident = |pid: String| -> u64 {
            // One that has just ended has none.
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        children.chain([pid.to_string()]).map(resident).sum()
    }

    fn status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn exited(&self, within: Duration) -> ExitStatus {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            if let Some(status) = self.status() {
                self.join_readers();
                return status;
            }
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "still running after {within:?}; out {:#?} err {:#?}", self.out(), self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it; `None`: it had to be killed. For `Drop`, so it blocks.
    pub(crate) fn stop(&self) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let status = if self.ends_within(STOPPING) { self.status() } else { None };
        if status.is_none() {
            self.signal(Signal::KILL);
            self.ends_within(PATIENCE);
            // Reaped, so that nothing of it is left.
            self.status();
        }
        self.join_readers();
        status
    }

    fn ends_within(&self, time: Duration) -> bool {
        let time = Timespec::try_from(time).unwrap();
        let ended = rustix::event::poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&time));
        matches!(ended, Ok(1))
    }

    fn join_readers(&self) {
        for reader in self.readers.lock().unwrap().drain(..) {
            reader.join().unwrap();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status().is_none() {
            self.signal(Signal::KILL);
            self.ends_within(PATIENCE);
            self.status();
        }
    }
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) async fn finish(command: Command, input: &str) -> Finished {
    let process = Process::start(command);
    if !input.is_empty() {
        process.type_in(input);
    }
    process.end_input();
    let status = process.exited(PATIENCE * 2).await;
    let join = |lines: Vec<String>| lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    Finished { code: status.code(), out: join(process.out()), err: join(process.log()) }
}

fn keep_lines(from: impl Read + Send + 'static, to: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
            to.lock().unwrap().push(text);
            line.clear();
        }
    })
}
