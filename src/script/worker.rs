//! A worker: reads what to run from its standard input, answers on its standard output. One thread, no runtime.
//!
//! Answers are gathered while whole frames wait, so that a busy worker makes few system calls; never for long, because
//! the server kills a worker whose oldest run makes no progress.

use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};

use super::call::{Failure, FailureKind};
use super::confine::Confined;
use super::engine::{Call, Engine};
use super::protocol::{self, FromWorker, RunLimits, ToWorker};

/// Bytes read at once.
const READ_BYTES: usize = 128 * 1024;
/// Answers of so many bytes are sent without waiting for more.
const WRITE_BYTES: usize = 64 * 1024;
/// Answers that have waited so long are sent before the next run.
const WRITE_AFTER: Duration = Duration::from_millis(1);

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not speak the protocol, or an answer does not fit it.
    #[error("worker: {0}")]
    Protocol(#[from] protocol::Error),
    /// Frames came in an order that they cannot.
    #[error("worker: {0}")]
    OutOfTurn(&'static str),
    /// The other end is gone.
    #[error("worker: the socket: {0}")]
    Socket(#[from] Errno),
    /// The interpreter cannot be used.
    #[error("worker: {0}")]
    Engine(#[from] Failure),
}

/// Says how this process is confined, and answers until standard input ends, or until the engine is spent.
///
/// # Errors
/// [`Error`].
pub fn serve<E: Engine>(confined: Confined, engine: impl FnOnce(RunLimits) -> Result<E, Failure>) -> Result<(), Error> {
    let mut lines = Lines::default();
    lines.answer(&FromWorker::Hello(confined.confinement.clone()))?;
    lines.flush()?;
    let limits = match lines.next()? {
        Some(ToWorker::Begin(limits)) => limits,
        Some(_) => return Err(Error::OutOfTurn("the first frame must be Begin")),
        None => return Ok(()),
    };
    confined.bound_memory(memory_bound(&limits));
    // It ends with this process: what it holds is not given back, for which some system call might be missing.
    let mut engine = ManuallyDrop::new(engine(limits)?);
    while let Some(frame) = lines.next()? {
        if lines.have_waited() {
            lines.flush()?;
        }
        let answer = answer(&mut *engine, frame)?;
        lines.answer(&answer)?;
        if engine.is_spent() {
            break;
        }
    }
    lines.flush()
}

/// What all states may take, with what the allocator loses between them, one state over its limit, frames and sources.
fn memory_bound(limits: &RunLimits) -> u64 {
    limits.states_bytes.saturating_mul(2) + limits.heap_bytes.saturating_mul(4) + 16 * protocol::MAX_FRAME_BYTES as u64
}

fn answer(engine: &mut impl Engine, frame: ToWorker) -> Result<FromWorker, Error> {
    // An engine that was brought down is told of by the end of its worker: that cannot be a lie.
    let down = |failure: Option<&Failure>| match failure {
        Some(failure) if failure.kind == FailureKind::WorkerKilled => Err(Error::Engine(failure.clone())),
        _ => Ok(()),
    };
    Ok(match frame {
        ToWorker::Begin(_) => return Err(Error::OutOfTurn("a second Begin")),
        ToWorker::Run { number, owner, language: _, hash, source, direction, input, seed } => {
            let call = Call { owner, hash, source: source.as_deref(), direction, input: &input, seed };
            match engine.run(call) {
                Some(ran) => {
                    down(ran.outcome.as_ref().err())?;
                    FromWorker::Ran { number, ran }
                }
                None => FromWorker::Missing { number },
            }
        }
        ToWorker::Check { number, language: _, direction, source } => {
            let found = engine.check(direction, &source);
            down(found.as_ref().err())?;
            FromWorker::Checked { number, found }
        }
    })
}

/// The two ends of the socket, with what was read and what is to be written.
#[derive(Default)]
struct Lines {
    read: Vec<u8>,
    /// Where the system puts what is read next.
    room: Vec<u8>,
    /// What of `read` was decoded already.
    taken: usize,
    written: Vec<u8>,
    /// When the first answer of `written` was made.
    since: Option<Instant>,
}

impl Lines {
    /// The next frame, waiting for it when there is none; answers are sent before. `None`: there will be none.
    fn next(&mut self) -> Result<Option<ToWorker>, Error> {
        loop {
            let waiting = self.read.get(self.taken..).unwrap_or(&[]);
            if let Some((frame, bytes)) = protocol::decode(waiting)? {
                self.taken += bytes;
                return Ok(Some(frame));
            }
            self.flush()?;
            self.read.drain(..self.taken);
            self.taken = 0;
            self.room.resize(READ_BYTES, 0);
            let read = loop {
                match rustix::io::read(stdin(), self.room.as_mut_slice()) {
                    Err(Errno::INTR) => {}
                    other => break other?,
                }
            };
            self.read.extend_from_slice(self.room.get(..read).unwrap_or(&[]));
            if read == 0 {
                return Ok(None);
            }
        }
    }

    fn answer(&mut self, answer: &FromWorker) -> Result<(), Error> {
        protocol::encode(answer, &mut self.written)?;
        self.since.get_or_insert_with(Instant::now);
        if self.written.len() > WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn have_waited(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() > WRITE_AFTER)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut rest = self.written.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(stdout(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or(&[]),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.written.clear();
        self.since = None;
        Ok(())
    }
}
