//! A worker process, held as the server would hold it: fed over a socket pair, killed at the wall limit.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use parlor::script::call::Ran;
use parlor::script::protocol::{self, Confinement, FromWorker, ToWorker};

/// When it is killed: the default of the server, and some for a busy machine.
const WALL_LIMIT: Duration = Duration::from_secs(3);

pub(super) struct Worker {
    pub(super) child: Child,
    socket: UnixStream,
    read: Vec<u8>,
    pub(super) confinement: Confinement,
}

impl Worker {
    pub(super) fn start() -> Self {
        let mut worker = Self::with(Command::new(env!("CARGO_BIN_EXE_parlor")).arg("worker"));
        let Some(FromWorker::Hello(confinement)) = worker.receive() else { panic!("no hello") };
        worker.confinement = confinement;
        worker.send(&[ToWorker::Begin(super::limits())]);
        worker
    }

    /// Starts that command over a socket pair.
    pub(super) fn with(command: &mut Command) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(WALL_LIMIT)).unwrap();
        let theirs = OwnedFd::from(theirs);
        let second = theirs.try_clone().unwrap();
        let child = command.env_clear().stdin(Stdio::from(theirs)).stdout(Stdio::from(second)).stderr(Stdio::null());
        let child = child.spawn().unwrap();
        Self { child, socket: ours, read: Vec::new(), confinement: Confinement::default() }
    }

    pub(super) fn send(&mut self, frames: &[ToWorker]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| protocol::encode(frame, &mut bytes).unwrap());
        self.socket.write_all(&bytes).unwrap();
    }

    /// The next answer; `None` when there was none in time, or the worker is gone: then it is killed.
    pub(super) fn receive(&mut self) -> Option<FromWorker> {
        loop {
            if let Some((frame, bytes)) = protocol::decode(&self.read).expect("a frame") {
                self.read.drain(..bytes);
                return Some(frame);
            }
            let mut more = [0; 65536];
            match self.socket.read(&mut more) {
                Ok(read @ 1..) => self.read.extend_from_slice(&more[..read]),
                _ => {
                    let _ = self.child.kill();
                    return None;
                }
            }
        }
    }

    /// Makes one run.
    pub(super) fn ran(&mut self, frame: ToWorker) -> Option<Ran> {
        self.send(&[frame]);
        match self.receive()? {
            FromWorker::Ran { ran, .. } => Some(ran),
            other => panic!("{other:?}"),
        }
    }

    /// Closes the socket and waits for its end.
    pub(super) fn hang_up(&mut self) -> std::process::ExitStatus {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
        self.child.wait().unwrap()
    }

    pub(super) fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
