//! What of a topic is here: the partitions that this node holds, what is fetched of them, handed out and finished.
//! Nothing here does I/O.
//!
//! A partition comes with a new [`Term`] each time. When the group wants it back, what is fetched goes and nothing more is
//! handed out; it is let go when all that was handed out is finished, or when the time for that is up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::pipeline::bus::{Claim, Offset, Partition, Place, Record, Term, Topic};

/// Terms of all shelves: a partition that comes back never has one that it had before.
static TERMS: AtomicU64 = AtomicU64::new(1);

/// The partitions of one topic that are held here.
#[derive(Debug)]
pub(super) struct Shelf {
    topic: Topic,
    parts: BTreeMap<Partition, Part>,
    /// Fetched and not handed out.
    fetched_records: usize,
    fetched_bytes: usize,
    /// The partition that was served last.
    turn: Partition,
    /// This node takes its leave: whatever comes is wanted back at once.
    leaving: bool,
}

#[derive(Debug)]
struct Part {
    term: Term,
    fetched: VecDeque<Record>,
    /// From the first record that was handed out on.
    progress: Option<Progress>,
    wanted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Behind the last record that was handed out.
    handed: u64,
    /// All before it are finished.
    finished: u64,
    /// What the brokers were told, and what they have confirmed.
    told: u64,
    confirmed: u64,
}

/// A position that the brokers are to know.
pub(super) type Position = (Partition, Offset);

impl Part {
    fn idle(&self) -> bool {
        self.progress.is_none_or(|progress| progress.finished >= progress.handed)
    }
}

impl Shelf {
    pub(super) fn new(topic: Topic) -> Self {
        let (parts, turn) = (BTreeMap::new(), Partition(0));
        Self { topic, parts, fetched_records: 0, fetched_bytes: 0, turn, leaving: false }
    }

    /// These partitions are held here from now on.
    pub(super) fn assign(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.forget(*partition);
            let term = Term(TERMS.fetch_add(1, Ordering::Relaxed));
            let part = Part { term, fetched: VecDeque::new(), progress: None, wanted: self.leaving };
            self.parts.insert(*partition, part);
        }
    }

    /// Takes a fetched record in, unless its partition is not held, or not for long.
    pub(super) fn put(&mut self, partition: Partition, offset: Offset, key: Bytes, payload: Bytes) {
        let Some(part) = self.parts.get_mut(&partition).filter(|part| !part.wanted) else { return };
        self.fetched_records += 1;
        self.fetched_bytes += key.len() + payload.len();
        let place = Place { topic: self.topic.clone(), partition, offset };
        part.fetched.push_back(Record { place, term: part.term, key, payload });
    }

    /// Hands up to `max` records out, each partition's in order; no partition holds up another.
    pub(super) fn take(&mut self, max: usize) -> Vec<Record> {
        let waiting: Vec<Partition> =
            self.parts.iter().filter(|(_, part)| !part.fetched.is_empty()).map(|(partition, _)| *partition).collect();
        if waiting.is_empty() {
            return Vec::new();
        }
        let share = max.div_ceil(waiting.len());
        let behind = waiting.partition_point(|partition| *partition <= self.turn);
        let mut taken = Vec::new();
        for partition in waiting[behind..].iter().chain(&waiting[..behind]) {
            let Some(part) = self.parts.get_mut(partition) else { continue };
            let count = share.min(max - taken.len()).min(part.fetched.len());
            for record in part.fetched.drain(..count) {
                self.fetched_records -= 1;
                self.fetched_bytes -= record.key.len() + record.payload.len();
                let offset = record.place.offset;
                let first = Progress { handed: 0, finished: offset.0, told: offset.0, confirmed: offset.0 };
                part.progress.get_or_insert(first).handed = offset.next().0;
                taken.push(record);
            }
            self.turn = *partition;
            if taken.len() == max {
                break;
            }
        }
        taken
    }

    /// All before `next` are finished.
    pub(super) fn commit(&mut self, claim: Claim, next: Offset) {
        if let Some(progress) = self.part(claim).and_then(|part| part.progress.as_mut()) {
            progress.finished = progress.finished.max(next.0.min(progress.handed));
        }
    }

    /// What was handed out from `first` on is not worked on.
    pub(super) fn give_back(&mut self, claim: Claim, first: Offset) {
        if let Some(progress) = self.part(claim).and_then(|part| part.progress.as_mut()) {
            progress.handed = progress.handed.min(first.0.max(progress.finished));
        }
    }

    /// Whether work on what was handed out may begin.
    pub(super) fn holds(&self, claim: Claim) -> bool {
        self.parts.get(&claim.partition).is_some_and(|part| part.term == claim.term && !part.wanted)
    }

    /// Nothing more is handed out of these.
    pub(super) fn want_back(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            let Some(part) = self.parts.get_mut(partition) else { continue };
            part.wanted = true;
            for record in part.fetched.drain(..) {
                self.fetched_records -= 1;
                self.fetched_bytes -= record.key.len() + record.payload.len();
            }
        }
    }

    /// Nothing more is handed out at all.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.want_back(&self.partitions());
    }

    /// Whether all that was handed out of these is finished.
    pub(super) fn idle(&self, partitions: &[Partition]) -> bool {
        partitions.iter().all(|partition| self.parts.get(partition).is_none_or(Part::idle))
    }

    /// The partitions are gone; how far each was finished. Whoever finishes something of them later moves nothing.
    pub(super) fn let_go(&mut self, partitions: &[Partition]) -> Vec<Position> {
        let mut positions = Vec::new();
        for partition in partitions {
            if let Some(progress) = self.forget(*partition).and_then(|part| part.progress)
                && progress.finished > progress.confirmed
            {
                positions.push((*partition, Offset(progress.finished)));
            }
        }
        positions
    }

    /// The positions that the brokers have not been told yet; they count as told from now on.
    pub(super) fn due(&mut self) -> Vec<Position> {
        let mut due = Vec::new();
        for (partition, part) in &mut self.parts {
            if let Some(progress) = part.progress.as_mut().filter(|progress| progress.finished > progress.told) {
                progress.told = progress.finished;
                due.push((*partition, Offset(progress.finished)));
            }
        }
        due
    }

    /// What became of positions that the brokers were told. What they did not take is due again.
    pub(super) fn told(&mut self, positions: &[Position], taken: bool) {
        for (partition, offset) in positions {
            let Some(progress) = self.parts.get_mut(partition).and_then(|part| part.progress.as_mut()) else {
                continue;
            };
            if taken {
                progress.confirmed = progress.confirmed.max(offset.0);
            } else {
                progress.told = progress.confirmed;
            }
        }
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.parts.keys().copied().collect()
    }

    /// Records and bytes that are fetched and not handed out.
    pub(super) fn fetched(&self) -> (usize, usize) {
        (self.fetched_records, self.fetched_bytes)
    }

    /// About how many records are handed out and not finished.
    pub(super) fn in_work(&self) -> u64 {
        let open = |progress: Progress| progress.handed.saturating_sub(progress.finished);
        self.parts.values().filter_map(|part| part.progress).map(open).sum()
    }

    fn part(&mut self, claim: Claim) -> Option<&mut Part> {
        self.parts.get_mut(&claim.partition).filter(|part| part.term == claim.term)
    }

    fn forget(&mut self, partition: Partition) -> Option<Part> {
        let part = self.parts.remove(&partition)?;
        for record in &part.fetched {
            self.fetched_records -= 1;
            self.fetched_bytes -= record.key.len() + record.payload.len();
        }
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(partitions: &[u32]) -> Shelf {
        let mut shelf = Shelf::new("t".into());
        shelf.assign(&partitions.iter().map(|partition| Partition(*partition)).collect::<Vec<_>>());
        shelf
    }

    fn fill(shelf: &mut Shelf, partition: u32, offsets: std::ops::Range<u64>) {
        for offset in offsets {
            shelf.put(Partition(partition), Offset(offset), Bytes::from_static(b"k"), Bytes::from_static(b"payload"));
        }
    }

    fn places(records: &[Record]) -> Vec<(u32, u64)> {
        records.iter().map(|record| (record.place.partition.0, record.place.offset.0)).collect()
    }

    #[test]
    fn a_long_partition_does_not_hold_up_a_short_one() {
        let mut shelf = shelf(&[0, 1, 2]);
        fill(&mut shelf, 0, 5..15);
        fill(&mut shelf, 2, 7..8);
        assert_eq!(places(&shelf.take(4)), [(2, 7), (0, 5), (0, 6)]);
        assert_eq!(places(&shelf.take(100)).len(), 8);
        assert_eq!((shelf.fetched(), shelf.in_work()), ((0, 0), 11));
        assert!(shelf.take(1).is_empty());
    }

    #[test]
    fn positions_move_forward_only_within_what_was_handed_out_and_are_told_once() {
        let mut shelf = shelf(&[0]);
        fill(&mut shelf, 0, 3..6);
        let claim = shelf.take(2)[0].claim();
        assert!(shelf.due().is_empty());
        shelf.commit(claim, Offset(4));
        shelf.commit(claim, Offset(0));
        assert_eq!(shelf.due(), [(Partition(0), Offset(4))]);
        assert!(shelf.due().is_empty());
        shelf.told(&[(Partition(0), Offset(4))], false);
        shelf.commit(claim, Offset(99));
        let due = shelf.due();
        assert_eq!(due, [(Partition(0), Offset(5))], "the third one was not handed out");
        shelf.told(&due, true);
        assert!(shelf.let_go(&[Partition(0)]).is_empty(), "the brokers know all of it");
    }

    #[test]
    fn what_is_wanted_back_is_let_go_when_what_was_handed_out_is_finished() {
        let mut shelf = shelf(&[0, 1]);
        fill(&mut shelf, 0, 0..5);
        let claim = shelf.take(3)[0].claim();
        shelf.want_back(&[Partition(0)]);
        fill(&mut shelf, 0, 5..9);
        assert!(!shelf.holds(claim) && shelf.take(9).is_empty() && !shelf.idle(&[Partition(0)]));
        shelf.give_back(claim, Offset(2));
        shelf.commit(claim, Offset(1));
        assert!(!shelf.idle(&[Partition(0)]));
        shelf.commit(claim, Offset(2));
        assert!(shelf.idle(&[Partition(0)]) && shelf.idle(&[Partition(1)]));
        assert_eq!(shelf.let_go(&[Partition(0), Partition(1)]), [(Partition(0), Offset(2))]);
        assert_eq!(shelf.fetched(), (0, 0));
    }

    #[test]
    fn nothing_that_was_given_back_is_waited_for() {
        let mut shelf = shelf(&[0]);
        fill(&mut shelf, 0, 4..9);
        let claim = shelf.take(9)[0].claim();
        shelf.give_back(claim, Offset(4));
        assert!(shelf.idle(&[Partition(0)]) && shelf.let_go(&[Partition(0)]).is_empty());
    }

    #[test]
    fn a_partition_that_comes_back_knows_nothing_of_its_last_term() {
        let mut shelf = shelf(&[0]);
        fill(&mut shelf, 0, 8..10);
        let late = shelf.take(9)[0].claim();
        shelf.let_go(&[Partition(0)]);
        shelf.assign(&[Partition(0)]);
        fill(&mut shelf, 0, 3..5);
        let claim = shelf.take(9)[0].claim();
        shelf.commit(late, Offset(10));
        shelf.give_back(late, Offset(3));
        assert!(!shelf.holds(late) && shelf.holds(claim) && shelf.due().is_empty());
        shelf.commit(claim, Offset(4));
        assert_eq!(shelf.due(), [(Partition(0), Offset(4))]);
    }

    #[test]
    fn who_leaves_gets_nothing_more() {
        let mut shelf = shelf(&[0]);
        fill(&mut shelf, 0, 0..2);
        shelf.leave();
        shelf.assign(&[Partition(1)]);
        fill(&mut shelf, 1, 0..2);
        assert!(shelf.take(9).is_empty() && shelf.idle(&shelf.partitions()));
        assert_eq!(shelf.fetched(), (0, 0));
    }
}
