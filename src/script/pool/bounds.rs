//! What a worker may answer at most. It is told the limits and keeps them; one that does not is no longer ours.

use crate::script::call::{Diagnostic, Direction, Failure, FailureKind, Prints, Ran, Wanted};
use crate::script::protocol::{MAX_FRAME_BYTES, RunLimits};

/// Bytes of a failure's words, of one diagnostic's, and of all that is missing from a confinement.
const WORDS_BYTES: usize = 16 * 1024;
/// Diagnostics of one source.
const DIAGNOSTICS: usize = 1000;
/// Bytes of all of them.
const DIAGNOSTICS_BYTES: usize = 256 * 1024;
/// Room for numbers and lengths in a frame.
const FRAME_EXTRA: usize = 1024;
/// A processor clock may be ahead of ours by so much.
const CLOCK_SLACK_MICROS: u64 = 100_000;

/// The bounds of answers, from the limits of runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    limits: RunLimits,
    /// The longest body of a frame that may come, in bytes.
    pub(super) frame_bytes: usize,
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Bounds {
    pub(super) fn new(limits: RunLimits) -> Self {
        let body = to_usize(limits.message_bytes);
        // A reply has its recipient and a length besides, a printed line its length: at most ten bytes each.
        let wanted = body.saturating_add(20).saturating_mul((limits.replies as usize).max(1));
        let prints = (limits.print_lines as usize).saturating_mul(10).saturating_add(limits.print_bytes as usize);
        let ran = wanted.saturating_add(prints).saturating_add(WORDS_BYTES);
        let frame_bytes = ran.max(DIAGNOSTICS_BYTES).saturating_add(FRAME_EXTRA).min(MAX_FRAME_BYTES);
        Self { limits, frame_bytes }
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
