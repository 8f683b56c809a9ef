//! What a receiver must see: every number once and in order, every `seq` in turn. Compact: two counters in the good
//! case, ranges only where something is amiss. Nothing here does I/O.

use std::ops::Range;

use crate::wire::LineId;

/// What one number of a sequence turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one awaited, or one further on (what was jumped over is remembered as missing).
    Next,
    /// One that had been jumped over: it came after a later one.
    Late,
    /// One that was here before.
    Again,
}

/// A run of numbers that should come as n, n+1, n+2 …
#[derive(Debug, Clone)]
pub(crate) struct Sequence {
    next: u64,
    /// Jumped over and not seen since; ascending, disjoint.
    missing: Vec<Range<u64>>,
}

impl Sequence {
    /// A sequence whose first number is `next`.
    pub(crate) fn starting_at(next: u64) -> Self {
        Self { next, missing: Vec::new() }
    }

    /// The number awaited.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Takes note of `n` and says what it was.
    pub(crate) fn observe(&mut self, n: u64) -> Place {
        if n >= self.next {
            if n > self.next {
                self.missing.push(self.next..n);
            }
            self.next = n + 1;
            return Place::Next;
        }
        let at = self.missing.partition_point(|gap| gap.end <= n);
        match self.missing.get(at).cloned() {
            Some(gap) if gap.contains(&n) => {
                let rest = [gap.start..n, n + 1..gap.end].into_iter().filter(|range| !range.is_empty());
                self.missing.splice(at..=at, rest);
                Place::Late
            }
            _ => Place::Again,
        }
    }

    /// The ranges not seen of all numbers below `end`.
    pub(crate) fn unseen(&self, end: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let tail = (self.next < end).then_some(self.next..end);
        self.missing.iter().cloned().chain(tail)
    }
}

/// What went wrong, counted. All zero is the only good result.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Tally {
    /// Accepted messages that a recipient never got.
    pub(crate) lost: u64,
    /// Messages, or places in an inbox, that came more than once.
    pub(crate) repeats: u64,
    /// Messages that came after a later one.
    pub(crate) out_of_order: u64,
    /// Places in an inbox (`seq`) that were jumped over and never came.
    pub(crate) gaps: u64,
}

impl Tally {
    /// Whether nothing went wrong.
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// What one connection has seen of its user's inbox.
#[derive(Debug, Default)]
pub(crate) struct InboxCheck {
    /// Unknown until the first `welcome` says where the inbox stands.
    seqs: Option<Sequence>,
    /// The lines whose messages this connection must get, ascending by id.
    lines: Vec<(LineId, Sequence)>,
    repeats: u64,
    out_of_order: u64,
}

impl InboxCheck {
    /// Awaits another line from its number 0 on.
    pub(crate) fn expect_line(&mut self, line: LineId) {
        if let Err(at) = self.lines.binary_search_by_key(&line, |(id, _)| *id) {
            self.lines.insert(at, (line, Sequence::starting_at(0)));
        }
    }

    /// Takes note of where the inbox stood at the first `welcome`; later ones change nothing.
    pub(crate) fn welcome(&mut self, head_seq: u64) {
        self.seqs.get_or_insert_with(|| Sequence::starting_at(head_seq + 1));
    }

    /// The last `seq` seen: what a reconnect gives as `?after=`.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.seqs.as_ref().map(|seqs| seqs.next() - 1)
    }

    /// Takes note of a message; `number` is absent for one that is not ours. True if it had not been here before.
    pub(crate) fn observe(&mut self, seq: u64, number: Option<(LineId, u64)>) -> bool {
        let seq_place = self.seqs.get_or_insert_with(|| Sequence::starting_at(seq)).observe(seq);
        let line_place = number.and_then(|(line, n)| {
            let at = self.lines.binary_search_by_key(&line, |(id, _)| *id).ok()?;
            self.lines.get_mut(at).map(|(_, sequence)| sequence.observe(n))
        });
        let places = [Some(seq_place), line_place];
        if places.contains(&Some(Place::Again)) {
            self.repeats += 1;
        } else if places.contains(&Some(Place::Late)) {
            self.out_of_order += 1;
        }
        line_place.is_some_and(|place| place != Place::Again)
    }

    /// Adds this connection's findings to `tally`. `owed` says how many of a range of a line's numbers were accepted.
    pub(crate) fn settle(
        &self,
        tally: &mut Tally,
        sent: impl Fn(LineId) -> u64,
        owed: impl Fn(LineId, Range<u64>) -> u64,
    ) {
        tally.repeats += self.repeats;
        tally.out_of_order += self.out_of_order;
        if let Some(seqs) = &self.seqs {
            tally.gaps += seqs.unseen(0).map(|range| range.end - range.start).sum::<u64>();
        }
        for (line, sequence) in &self.lines {
            tally.lost += sequence.unseen(sent(*line)).map(|range| owed(*line, range)).sum::<u64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: LineId = LineId(7);

    /// Shows the checker (seq, number) pairs of one line of `sent` messages, all of them accepted.
    fn judge(sent: u64, seen: &[(u64, u64)]) -> Tally {
        let mut check = InboxCheck::default();
        check.expect_line(LINE);
        check.welcome(10);
        for (seq, n) in seen {
            check.observe(*seq, Some((LINE, *n)));
        }
        let mut tally = Tally::default();
        check.settle(&mut tally, |_| sent, |_, range| range.end - range.start);
        tally
    }

    #[test]
    fn all_in_order_is_clean() {
        assert!(judge(3, &[(11, 0), (12, 1), (13, 2)]).is_clean());
    }

    #[test]
    fn a_lost_message_is_a_loss_and_nothing_else() {
        assert_eq!(judge(3, &[(11, 0), (12, 2)]), Tally { lost: 1, ..Tally::default() });
        assert_eq!(judge(3, &[(11, 0), (12, 1)]), Tally { lost: 1, ..Tally::default() }, "the last one too");
    }

    #[test]
    fn a_repeated_message_is_a_repeat_whether_its_seq_is_new_or_old() {
        assert_eq!(judge(2, &[(11, 0), (12, 0), (13, 1)]), Tally { repeats: 1, ..Tally::default() });
        assert_eq!(judge(2, &[(11, 0), (11, 0), (12, 1)]), Tally { repeats: 1, ..Tally::default() });
    }

    #[test]
    fn a_reordered_message_is_out_of_order_and_not_lost() {
        let swapped_in_inbox = judge(3, &[(11, 1), (12, 0), (13, 2)]);
        assert_eq!(swapped_in_inbox, Tally { out_of_order: 1, ..Tally::default() });
        let swapped_on_the_way = judge(3, &[(12, 1), (11, 0), (13, 2)]);
        assert_eq!(swapped_on_the_way, Tally { out_of_order: 1, ..Tally::default() });
    }

    #[test]
    fn a_skipped_seq_is_a_gap_and_not_a_loss() {
        assert_eq!(judge(2, &[(11, 0), (13, 1)]), Tally { gaps: 1, ..Tally::default() });
        assert_eq!(judge(1, &[(12, 0)]), Tally { gaps: 1, ..Tally::default() }, "right after welcome too");
    }

    #[test]
    fn a_message_that_was_never_accepted_is_not_missed() {
        let mut check = InboxCheck::default();
        check.expect_line(LINE);
        check.welcome(0);
        check.observe(1, Some((LINE, 1)));
        let mut tally = Tally::default();
        check.settle(&mut tally, |_| 2, |_, _| 0);
        assert!(tally.is_clean());
    }

    #[test]
    fn ranges_are_split_by_what_comes_late() {
        let mut sequence = Sequence::starting_at(0);
        assert_eq!(sequence.observe(5), Place::Next);
        assert_eq!(sequence.observe(2), Place::Late);
        assert_eq!(sequence.observe(2), Place::Again);
        assert_eq!(sequence.unseen(7).collect::<Vec<_>>(), [0..2, 3..5, 6..7]);
        assert_eq!(sequence.observe(0), Place::Late);
        assert_eq!(sequence.observe(4), Place::Late);
        assert_eq!(sequence.unseen(6).collect::<Vec<_>>(), [1..2, 3..4]);
    }

    #[test]
    fn a_foreign_message_counts_for_seq_only() {
        let mut check = InboxCheck::default();
        check.welcome(0);
        assert!(!check.observe(1, None));
        assert_eq!(check.last_seq(), Some(1));
    }
}
