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
/// that drives workers. With the limits as they come (8 replies of 64 KiB) that is a frame of 533 kB and 38 MB.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::script::call::{Language, Reply, Severity};
    use crate::script::pool::work::Work;
    use crate::script::protocol::{FromWorker, HEAD_BYTES, encode};

    const WALL: u64 = 1000;

    fn limits() -> RunLimits {
        RunLimits {
            heap_bytes: 8_000_000,
            cpu_micros: 50_000,
            message_bytes: 100,
            replies: 8,
            print_lines: 50,
            print_bytes: 8192,
            states_bytes: 100_000_000,
        }
    }

    fn ran(outcome: Result<Wanted, Failure>) -> Ran {
        Ran { outcome, prints: Prints::default(), cpu_micros: 0, wall_micros: 0, heap_bytes: 0 }
    }

    fn replies(count: usize, bytes: usize) -> Ran {
        let reply = Reply { to: UserId(i64::MIN), message_body: "x".repeat(bytes) };
        ran(Ok(Wanted::Incoming { drop: false, replies: vec![reply; count] }))
    }

    fn edited(bytes: usize) -> Ran {
        ran(Ok(Wanted::Outgoing { message_body: "x".repeat(bytes) }))
    }

    fn failed(kind: FailureKind, bytes: usize) -> Failure {
        Failure { line: Some(u32::MAX), ..Failure::new(kind, "x".repeat(bytes)) }
    }

    fn allowed(direction: Direction, ran: &Ran) -> Result<(), String> {
        Bounds::new(limits()).allow_run(direction, ran, WALL)
    }

    #[test]
    fn what_a_run_wants_is_bounded_and_is_of_its_direction() {
        let (incoming, outgoing) = (Direction::Incoming, Direction::Outgoing);
        let cases = [
            (incoming, replies(8, 100), true),
            (incoming, replies(9, 1), false),
            (incoming, replies(1, 101), false),
            (incoming, edited(1), false),
            (outgoing, edited(100), true),
            (outgoing, edited(101), false),
            (outgoing, replies(0, 0), false),
        ];
        for (direction, ran, fine) in cases {
            assert_eq!(allowed(direction, &ran).is_ok(), fine, "{direction}: {ran:?}");
        }
    }

    #[test]
    fn a_failure_is_a_scripts_and_its_words_are_bounded() {
        let fine = |failure: Failure| {
            let checked = allow_check(&Err(failure.clone())).is_ok();
            assert_eq!(allowed(Direction::Incoming, &ran(Err(failure))).is_ok(), checked);
            checked
        };
        for kind in [FailureKind::Compile, FailureKind::Error, FailureKind::CpuLimit, FailureKind::BadResult] {
            assert!(fine(failed(kind, WORDS_BYTES)));
            assert!(!fine(failed(kind, WORDS_BYTES + 1)));
        }
        for kind in [FailureKind::WorkerKilled, FailureKind::Overloaded, FailureKind::Unavailable] {
            assert!(!fine(failed(kind, 1)), "{kind:?}");
        }
    }

    #[test]
    fn lines_bytes_time_and_heap_are_bounded() {
        let with = |change: &dyn Fn(&mut Ran)| {
            let mut ran = replies(0, 0);
            change(&mut ran);
            allowed(Direction::Incoming, &ran).is_ok()
        };
        for (over, fine) in [(0, true), (1, false)] {
            assert_eq!(with(&|ran| ran.prints.lines = vec![String::new(); 50 + over]), fine);
            assert_eq!(with(&|ran| ran.prints.lines = vec!["x".repeat(4096), "x".repeat(4096 + over)]), fine);
            assert_eq!(with(&|ran| ran.cpu_micros = WALL + CLOCK_SLACK_MICROS + over as u64), fine);
            assert_eq!(with(&|ran| ran.heap_bytes = 108_000_000 + over as u64), fine);
        }
    }

    #[test]
    fn diagnostics_are_bounded_by_number_and_by_bytes() {
        let found = |count: usize, bytes: usize| {
            let (severity, message) = (Severity::Warning, "x".repeat(bytes));
            allow_check(&Ok(vec![Diagnostic { severity, line: 1, column: 1, message }; count]))
        };
        assert_eq!(found(DIAGNOSTICS, DIAGNOSTICS_BYTES / DIAGNOSTICS), Ok(()));
        assert!(found(DIAGNOSTICS + 1, 0).is_err());
        assert_eq!(found(1, DIAGNOSTICS_BYTES), Ok(()));
        assert!(found(1, DIAGNOSTICS_BYTES + 1).is_err());
    }

    /// Bytes of the body.
    fn length(answer: &FromWorker) -> usize {
        let mut out = Vec::new();
        encode(answer, &mut out).unwrap();
        out.len() - HEAD_BYTES
    }

    #[test]
    fn the_longest_right_answer_fits_its_frame_and_not_much_else_does() {
        let check = Work::check(Language::Luau, Direction::Incoming, "").frame;
        let (severity, line, column) = (Severity::Warning, u32::MAX, u32::MAX);
        let message = "x".repeat(DIAGNOSTICS_BYTES / DIAGNOSTICS);
        let found = Ok(vec![Diagnostic { severity, line, column, message }; DIAGNOSTICS]);
        let longest = length(&FromWorker::Checked { number: u64::MAX, found });
        let most = Bounds::new(limits()).frame_bytes(&check);
        assert!((longest..longest + 4 * DIAGNOSTICS).contains(&most), "{longest}, {most}");
        for (message_bytes, replies_most) in [(100, 8), (10_000, 0), (65_536, 8)] {
            let limits = RunLimits { message_bytes, replies: replies_most, ..limits() };
            let bounds = Bounds::new(limits);
            let bytes = to_usize(message_bytes);
            let outcomes = [
                replies(replies_most as usize, bytes),
                edited(bytes),
                ran(Err(failed(FailureKind::Error, WORDS_BYTES))),
            ];
            let longest = outcomes.into_iter().map(|ran| {
                let lines = vec!["x".repeat(limits.print_bytes as usize / 50); 50];
                let prints = Prints { lines, cut: true };
                let (cpu_micros, wall_micros, heap_bytes) = (u64::MAX, u64::MAX, u64::MAX);
                length(&FromWorker::Ran {
                    number: u64::MAX,
                    ran: Ran { prints, cpu_micros, wall_micros, heap_bytes, ..ran },
                })
            });
            let longest = longest.max().unwrap();
            assert!((longest..longest + 500).contains(&bounds.run_bytes), "{longest}, {bounds:?}");
        }
        assert_eq!(Bounds::new(RunLimits { message_bytes: u64::MAX, ..limits() }).run_bytes, MAX_FRAME_BYTES);
    }
}
