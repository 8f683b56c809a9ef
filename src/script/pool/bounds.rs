//! What a worker may answer at most. It is told the limits and keeps them; one that does not is no longer ours.

use crate::script::call::{Diagnostic, Direction, Failure, FailureKind, Prints, Ran, Wanted};
use crate::script::protocol::{MAX_FRAME_BYTES, RunLimits, ToWorker};

/// Bytes of a failure's words.
const WORDS_BYTES: usize = 16 * 1024;
/// Diagnostics of one source. A worker finds at most 21.
const DIAGNOSTICS: usize = 100;
/// Bytes of all of them.
const DIAGNOSTICS_BYTES: usize = 64 * 1024;
/// Most bytes of a number in a frame, and of a length or number of at most 32 bits.
const NUMBER: usize = 10;
const LENGTH: usize = 5;
/// Tags, flags, and the numbers that stand once in an answer: its own, the three of what a run used, two counts.
const FRAME_EXTRA: usize = 8 + 4 * NUMBER + 2 * LENGTH;
/// The longest body of a hello, in bytes: it has the words of all that is missing.
pub(super) const HELLO_BYTES: usize = WORDS_BYTES + FRAME_EXTRA;
/// The longest body of what is said of a source, in bytes.
pub(super) const CHECK_BYTES: usize = DIAGNOSTICS_BYTES + DIAGNOSTICS * (1 + 3 * LENGTH) + FRAME_EXTRA;
/// A processor clock may be ahead of ours by so much.
const CLOCK_SLACK_MICROS: u64 = 100_000;

/// The bounds of answers, from the limits of runs.
///
/// A frame is decoded before it is looked at, so its length is bounded by what the longest right one has. The dearest lie
/// is a list of empty lines: a byte each in the frame, 24 in memory, in a list that doubles as it grows, and is there
/// twice while it does: at most 72 times the frame, for as long as it takes to refuse it, one such frame for each thread
/// that drives workers. With the limits as they come (8 replies of 64 KiB) that is a frame of 532 KiB and 38 MiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    limits: RunLimits,
    /// The longest body of what a run came to, in bytes.
    run_bytes: usize,
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Bounds {
    pub(super) fn new(limits: RunLimits) -> Self {
        let body = to_usize(limits.message_bytes);
        let replies = (limits.replies as usize).saturating_mul(body.saturating_add(NUMBER + LENGTH));
        // Either what is wanted, of one direction or the other, or a failure.
        let outcome = replies.max(body.saturating_add(LENGTH)).max(WORDS_BYTES + 2 * LENGTH);
        let prints = (limits.print_lines as usize).saturating_mul(LENGTH).saturating_add(limits.print_bytes as usize);
        let run_bytes = outcome.saturating_add(prints).saturating_add(FRAME_EXTRA).min(MAX_FRAME_BYTES);
        Self { limits, run_bytes }
    }

    /// The longest body that an answer to this may have, in bytes.
    pub(super) fn frame_bytes(&self, asked: &ToWorker) -> usize {
        match asked {
            ToWorker::Run { .. } => self.run_bytes,
            ToWorker::Check { .. } => CHECK_BYTES,
            ToWorker::Begin(_) => 0,
        }
    }

    /// Whether a worker that keeps the limits may have answered this, `wall_micros` after it was asked.
    pub(super) fn allow_run(&self, direction: Direction, ran: &Ran, wall_micros: u64) -> Result<(), String> {
        match (&ran.outcome, direction) {
            (Ok(Wanted::Incoming { replies, .. }), Direction::Incoming) => {
                at_most("replies", replies.len(), self.limits.replies as usize)?;
                replies.iter().try_for_each(|reply| self.allow_body(&reply.message_body))?;
            }
            (Ok(Wanted::Outgoing { message_body }), Direction::Outgoing) => self.allow_body(message_body)?,
            (Ok(_), _) => return Err(format!("what an {direction} run cannot want")),
            (Err(failure), _) => allow_failure(failure)?,
        }
        self.allow_prints(&ran.prints)?;
        if ran.cpu_micros > wall_micros.saturating_add(CLOCK_SLACK_MICROS) {
            return Err(format!("{} µs of processor time within {wall_micros} µs", ran.cpu_micros));
        }
        let most = self.limits.states_bytes.saturating_add(self.limits.heap_bytes);
        at_most("bytes of heap", to_usize(ran.heap_bytes), to_usize(most))
    }

    fn allow_body(&self, body: &str) -> Result<(), String> {
        at_most("bytes of a body", body.len(), to_usize(self.limits.message_bytes))
    }

    fn allow_prints(&self, prints: &Prints) -> Result<(), String> {
        at_most("printed lines", prints.lines.len(), self.limits.print_lines as usize)?;
        let bytes: usize = prints.lines.iter().map(String::len).sum();
        at_most("printed bytes", bytes, self.limits.print_bytes as usize)
    }
}

/// Whether a worker may have said this of a source.
pub(super) fn allow_check(found: &Result<Vec<Diagnostic>, Failure>) -> Result<(), String> {
    match found {
        Ok(found) => {
            at_most("diagnostics", found.len(), DIAGNOSTICS)?;
            at_most("bytes of diagnostics", found.iter().map(|one| one.message.len()).sum(), DIAGNOSTICS_BYTES)
        }
        Err(failure) => allow_failure(failure),
    }
}

fn allow_failure(failure: &Failure) -> Result<(), String> {
    if !failure.kind.is_the_scripts() || failure.kind == FailureKind::WorkerKilled {
        return Err(format!("a failure that is not a worker's to tell, {}", failure.kind.name()));
    }
    at_most("bytes of a failure", failure.detail.len(), WORDS_BYTES)
}

fn at_most(what: &str, n: usize, most: usize) -> Result<(), String> {
    if n > most { Err(format!("{n} {what}, at most {most} are allowed")) } else { Ok(()) }
}
