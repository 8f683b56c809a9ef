//! Which records of a topic are being worked on, and how far all before are finished.
//!
//! A partition may be taken away, and given again at a lower offset. Records count under the [`Claim`] by which they
//! came: when that is over, none of them is begun any more, what is in work ends without moving a position, and a new
//! claim begins with nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::bus::{Claim, Committer, Offset, Partition, Place, Record, Term};

/// Rounds of all trackers: one count, so that a stage that hears from two topics can compare them.
static ROUNDS: AtomicU64 = AtomicU64::new(0);

/// When a ticket was handed out: before or after what was abandoned was gathered and begun anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Round(u64);

/// A record whose work ended without finishing it, to be done again.
#[derive(Clone, Debug)]
pub struct Abandoned {
    /// The record.
    pub record: Record,
    /// How often a stage was at work on this very record when that happened; those that only waited behind it are
    /// not to blame.
    pub crashes: u32,
}

/// Hands out a [`Ticket`] for each record and commits the position behind which nothing is unfinished.
#[derive(Clone)]
pub struct Tracker(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    committer: Arc<dyn Committer>,
    window: Arc<Semaphore>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    partitions: HashMap<Partition, Line>,
    again: Vec<Abandoned>,
    round: Round,
    /// Tickets that are neither finished nor abandoned.
    working: usize,
}

/// What of one partition is between being received and being committed, under one claim.
#[derive(Default)]
struct Line {
    term: Term,
    slots: VecDeque<Slot>,
    working: usize,
}

/// One record between being received and being committed.
struct Slot {
    offset: Offset,
    record: Option<Record>,
    crashes: u32,
}

/// The duty to finish one record. Whoever drops it unfinished (a panic, a dead stage) has the record done again.
pub struct Ticket {
    place: Place,
    term: Term,
    round: Round,
    at_work: bool,
    inner: Arc<Inner>,
    finished: bool,
    _window: OwnedSemaphorePermit,
}

impl Tracker {
    /// A tracker whose tickets together never exceed the permits of `window`.
    #[must_use]
    pub fn new(committer: Arc<dyn Committer>, window: Arc<Semaphore>) -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), committer, window, changed: Notify::new() }))
    }

    /// Waits until at least one more record may be worked on, and says how many, up to `max`.
    pub async fn room(&self, max: usize) -> usize {
        // Closed only with the process.
        let Ok(permit) = self.0.window.acquire().await else { return std::future::pending().await };
        drop(permit);
        self.0.window.available_permits().clamp(1, max)
    }

    /// Notes that work on a received record begins. Records of one partition must come in order. `None` when its
    /// partition is wanted back or lost: whoever has it next begins at this record.
    pub async fn begin(&self, record: Record) -> Option<Ticket> {
        self.ticket(record, true).await
    }

    /// Waits until records were abandoned *and* no other is being worked on, so that nothing later overtakes them;
    /// returns them, each partition's in order, and begins the next round. Cancelling it loses nothing.
    pub async fn abandoned(&self) -> Vec<Abandoned> {
        self.wait_abandoned().await;
        let mut state = self.0.lock();
        state.round = Round(ROUNDS.fetch_add(1, Ordering::Relaxed) + 1);
        let mut again = std::mem::take(&mut state.again);
        again.sort_by_key(|Abandoned { record, .. }| (record.place.partition, record.place.offset));
        again
    }

    /// Waits until there are abandoned records and nothing else is being worked on.
    pub async fn wait_abandoned(&self) {
        loop {
            {
                let state = self.0.lock();
                if !state.again.is_empty() && state.working == 0 {
                    return;
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// Whether records were abandoned: then nothing new should be begun before they are.
    #[must_use]
    pub fn has_abandoned(&self) -> bool {
        !self.0.lock().again.is_empty()
    }

    /// Begins the next attempt at an abandoned record; `None` as in [`Tracker::begin`].
    pub async fn begin_again(&self, record: Record) -> Option<Ticket> {
        self.ticket(record, false).await
    }

    async fn ticket(&self, record: Record, new: bool) -> Option<Ticket> {
        let Ok(permit) = self.0.window.clone().acquire_owned().await else { return std::future::pending().await };
        let (place, claim) = (record.place.clone(), record.claim());
        let mut state = self.0.lock();
        if !self.0.committer.holds(claim) {
            self.0.committer.give_back(claim, place.offset);
            return None;
        }
        state.working += 1;
        let round = state.round;
        let line = state.partitions.entry(place.partition).or_default();
        if line.term != claim.term {
            *line = Line { term: claim.term, ..Line::default() };
        }
        line.working += 1;
        if new {
            line.slots.push_back(Slot { offset: place.offset, record: Some(record), crashes: 0 });
        }
        drop(state);
        let (term, inner) = (claim.term, self.0.clone());
        Some(Ticket { place, term, round, at_work: false, inner, finished: false, _window: permit })
    }
}

impl State {
    /// The line of a claim, unless a later one has taken its place.
    fn line(&mut self, claim: Claim) -> Option<&mut Line> {
        self.partitions.get_mut(&claim.partition).filter(|line| line.term == claim.term)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has left at worst an unfinished record, which is done again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket is gone, in whichever way.
    fn ended(&self, state: &mut State, claim: Claim) {
        state.working -= 1;
        if let Some(line) = state.line(claim) {
            line.working -= 1;
            // What is left there is somebody else's to do.
            if line.working == 0 && !self.committer.holds(claim) {
                state.partitions.remove(&claim.partition);
            }
        }
        if state.working == 0 && !state.again.is_empty() {
            self.changed.notify_one();
        }
    }
}

impl Ticket {
    /// Where the record stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The claim under which the record was received.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim { partition: self.place.partition, term: self.term }
    }

    /// When it was handed out. Whoever crashed over a record drops all of the same sender's of that round and of
    /// rounds before: they come again, in order, in a later one.
    #[must_use]
    pub fn round(&self) -> Round {
        self.round
    }

    /// A stage begins to work on the record: if the ticket is dropped now, the record is to blame.
    pub fn begin_work(&mut self) {
        self.at_work = true;
    }

    /// All that the record led to is safe.
    pub fn finish(mut self) {
        self.finished = true;
        let (claim, offset) = (self.claim(), self.place.offset);
        let mut state = self.inner.lock();
        if let Some(next) = state.line(claim).and_then(|line| line.finish(offset)) {
            // Under the lock, so that positions are committed in the order in which they were reached.
            self.inner.committer.commit(claim, next);
        }
        self.inner.ended(&mut state, claim);
    }
}

impl Line {
    /// Notes that a record is finished; how far all before are, if that is further than before.
    fn finish(&mut self, offset: Offset) -> Option<Offset> {
        if let Ok(at) = self.slots.binary_search_by_key(&offset, |slot| slot.offset) {
            self.slots[at].record = None;
        }
        let mut next = None;
        while self.slots.front().is_some_and(|slot| slot.record.is_none()) {
            next = self.slots.pop_front().map(|slot| slot.offset.next());
        }
        next
    }

    /// Notes that the work on a record ended without finishing it.
    fn abandon(&mut self, offset: Offset, at_work: bool) -> Option<Abandoned> {
        let at = self.slots.binary_search_by_key(&offset, |slot| slot.offset).ok()?;
        let record = self.slots[at].record.clone()?;
        self.slots[at].crashes += u32::from(at_work);
        Some(Abandoned { record, crashes: self.slots[at].crashes })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let (claim, offset) = (self.claim(), self.place.offset);
        let mut state = self.inner.lock();
        let abandoned = state.line(claim).and_then(|line| line.abandon(offset, self.at_work));
        if self.inner.committer.holds(claim) {
            state.again.extend(abandoned);
        } else {
            self.inner.committer.give_back(claim, offset);
        }
        self.inner.ended(&mut state, claim);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Commits(Mutex<Vec<(Partition, Offset)>>);

    impl Committer for Commits {
        fn commit(&self, claim: Claim, next: Offset) {
            self.0.lock().unwrap().push((claim.partition, next));
        }
    }

    /// A bus that takes a partition away and gives it again.
    #[derive(Default)]
    struct Moving {
        held: Mutex<Option<Term>>,
        commits: Mutex<Vec<(Term, Offset)>>,
        given_back: Mutex<Vec<Offset>>,
    }

    impl Moving {
        fn give(&self, term: Option<u64>) {
            *self.held.lock().unwrap() = term.map(Term);
        }

        fn commits(&self) -> Vec<(u64, u64)> {
            self.commits.lock().unwrap().iter().map(|(term, next)| (term.0, next.0)).collect()
        }

        fn given_back(&self) -> Vec<u64> {
            self.given_back.lock().unwrap().iter().map(|offset| offset.0).collect()
        }
    }

    impl Committer for Moving {
        fn commit(&self, claim: Claim, next: Offset) {
            self.commits.lock().unwrap().push((claim.term, next));
        }

        fn holds(&self, claim: Claim) -> bool {
            *self.held.lock().unwrap() == Some(claim.term)
        }

        fn give_back(&self, _: Claim, first: Offset) {
            self.given_back.lock().unwrap().push(first);
        }
    }

    fn moving() -> (Tracker, Arc<Moving>) {
        let bus = Arc::new(Moving::default());
        bus.give(Some(1));
        (Tracker::new(bus.clone(), Arc::new(Semaphore::new(10))), bus)
    }

    fn record(partition: u32, offset: u64) -> Record {
        in_term(partition, offset, 0)
    }

    fn in_term(partition: u32, offset: u64, term: u64) -> Record {
        let place = Place { topic: "t".into(), partition: Partition(partition), offset: Offset(offset) };
        Record { place, term: Term(term), key: Bytes::new(), payload: Bytes::new() }
    }

    fn tracker(window: usize) -> (Tracker, Arc<Commits>) {
        let commits = Arc::new(Commits::default());
        (Tracker::new(commits.clone(), Arc::new(Semaphore::new(window))), commits)
    }

    #[tokio::test]
    async fn an_abandoned_record_comes_back_and_holds_the_position() {
        let (tracker, commits) = tracker(10);
        let first = tracker.begin(record(0, 0)).await.unwrap();
        let second = tracker.begin(record(0, 1)).await.unwrap();
        drop(first);
        second.finish();
        assert!(commits.0.lock().unwrap().is_empty());
        let again = tracker.abandoned().await;
        assert_eq!(again.len(), 1);
        let ticket = tracker.begin_again(again[0].record.clone()).await.unwrap();
        ticket.finish();
        assert_eq!(*commits.0.lock().unwrap(), [(Partition(0), Offset(2))]);
    }

    #[tokio::test]
    async fn only_the_record_that_was_worked_on_is_to_blame() {
        let (tracker, _) = tracker(10);
        let (mut first, second) =
            (tracker.begin(record(0, 0)).await.unwrap(), tracker.begin(record(0, 1)).await.unwrap());
        let mut last_round = first.round();
        first.begin_work();
        drop((second, first));
        for round in 1..=3 {
            let again = tracker.abandoned().await;
            let crashes: Vec<u32> = again.iter().map(|abandoned| abandoned.crashes).collect();
            assert_eq!(crashes, [round, 0]);
            let mut tickets = Vec::new();
            for abandoned in again {
                tickets.push(tracker.begin_again(abandoned.record).await.unwrap());
            }
            assert!(tickets.iter().all(|ticket| ticket.round() > last_round));
            last_round = tickets[0].round();
            tickets[0].begin_work();
        }
    }

    #[tokio::test]
    async fn what_is_wanted_back_is_finished_but_not_begun() {
        let (tracker, bus) = moving();
        let first = tracker.begin(in_term(0, 5, 1)).await.unwrap();
        bus.give(None);
        assert!(tracker.begin(in_term(0, 6, 1)).await.is_none());
        assert_eq!(bus.given_back(), [6]);
        first.finish();
        assert_eq!(bus.commits(), [(1, 6)]);
        assert!(tracker.0.lock().partitions.is_empty(), "nothing is remembered of what is gone");
    }

    #[tokio::test]
    async fn a_partition_that_comes_back_at_a_lower_offset_begins_anew_and_late_tickets_move_nothing() {
        let (tracker, bus) = moving();
        let late = [tracker.begin(in_term(0, 5, 1)).await.unwrap(), tracker.begin(in_term(0, 6, 1)).await.unwrap()];
        bus.give(Some(2));
        let anew = tracker.begin(in_term(0, 3, 2)).await.unwrap();
        late.into_iter().for_each(Ticket::finish);
        assert!(bus.commits().is_empty());
        anew.finish();
        assert_eq!(bus.commits(), [(2, 4)]);
    }

    #[tokio::test]
    async fn what_is_abandoned_when_its_partition_is_gone_is_left_to_others() {
        let (tracker, bus) = moving();
        let (before, after) = (tracker.begin(in_term(0, 5, 1)).await, tracker.begin(in_term(0, 6, 1)).await);
        drop(before);
        bus.give(None);
        drop(after);
        let again = tracker.abandoned().await;
        assert_eq!(again.iter().map(|abandoned| abandoned.record.place.offset.0).collect::<Vec<_>>(), [5]);
        assert!(tracker.begin_again(again[0].record.clone()).await.is_none());
        assert_eq!(bus.given_back(), [6, 5]);
        assert!(!tracker.has_abandoned() && bus.commits().is_empty());
    }

    #[tokio::test]
    async fn the_window_bounds_what_is_begun() {
        let (tracker, _) = tracker(1);
        let held = tracker.begin(record(0, 0)).await.unwrap();
        let waits = tokio::time::timeout(std::time::Duration::from_millis(20), tracker.room(5)).await;
        assert!(waits.is_err());
        held.finish();
        assert_eq!(tracker.room(5).await, 1);
    }

    proptest! {
        #[test]
        fn the_position_never_passes_an_unfinished_record(order in Just((0u64..40).collect::<Vec<_>>()).prop_shuffle()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (tracker, commits) = tracker(100);
                let mut tickets = HashMap::new();
                for n in 0..40 {
                    // Offsets have holes, as they may in Kafka.
                    tickets.insert(n, tracker.begin(record(0, n * 3)).await.unwrap());
                }
                let mut finished = std::collections::HashSet::new();
                for n in order {
                    tickets.remove(&n).unwrap().finish();
                    finished.insert(n);
                    let next = commits.0.lock().unwrap().last().map_or(0, |(_, offset)| offset.0);
                    let contiguous = (0..40).take_while(|n| finished.contains(n)).last().map_or(0, |n| n * 3 + 1);
                    assert_eq!(next, contiguous);
                }
            });
        }
    }
}
