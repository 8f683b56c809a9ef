//! Which records of a topic are being worked on, and how far all before are finished.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::bus::{Committer, Offset, Partition, Place, Record};

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
    partitions: HashMap<Partition, VecDeque<Slot>>,
    again: Vec<Abandoned>,
    round: Round,
    /// Tickets that are neither finished nor abandoned.
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

    /// Notes that work on a received record begins. Records of one partition must come in order.
    pub async fn begin(&self, record: Record) -> Ticket {
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

    /// Begins the next attempt at an abandoned record.
    pub async fn begin_again(&self, record: Record) -> Ticket {
        self.ticket(record, false).await
    }

    async fn ticket(&self, record: Record, new: bool) -> Ticket {
        let Ok(permit) = self.0.window.clone().acquire_owned().await else { return std::future::pending().await };
        let place = record.place.clone();
        let mut state = self.0.lock();
        state.working += 1;
        let round = state.round;
        if new {
            let slots = state.partitions.entry(place.partition).or_default();
            slots.push_back(Slot { offset: place.offset, record: Some(record), crashes: 0 });
        }
        drop(state);
        Ticket { place, round, at_work: false, inner: self.0.clone(), finished: false, _window: permit }
    }
}

impl State {
    fn ended(&mut self, changed: &Notify) {
        self.working -= 1;
        if self.working == 0 && !self.again.is_empty() {
            changed.notify_one();
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held has left at worst an unfinished record, which is done again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Where the record stands.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
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
        let mut state = self.inner.lock();
        state.ended(&self.inner.changed);
        let Some(slots) = state.partitions.get_mut(&self.place.partition) else { return };
        if let Ok(at) = slots.binary_search_by_key(&self.place.offset, |slot| slot.offset) {
            slots[at].record = None;
        }
        let mut next = None;
        while slots.front().is_some_and(|slot| slot.record.is_none()) {
            next = slots.pop_front().map(|slot| slot.offset.next());
        }
        // Under the lock, so that positions are committed in the order in which they were reached.
        if let Some(next) = next {
            self.inner.committer.commit(self.place.partition, next);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut state = self.inner.lock();
        let slots = state.partitions.entry(self.place.partition).or_default();
        if let Ok(at) = slots.binary_search_by_key(&self.place.offset, |slot| slot.offset)
            && let Some(record) = slots[at].record.clone()
        {
            slots[at].crashes += u32::from(self.at_work);
            let crashes = slots[at].crashes;
            state.again.push(Abandoned { record, crashes });
        }
        state.ended(&self.inner.changed);
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
        fn commit(&self, partition: Partition, next: Offset) {
            self.0.lock().unwrap().push((partition, next));
        }
    }

    fn record(partition: u32, offset: u64) -> Record {
        let place = Place { topic: "t".into(), partition: Partition(partition), offset: Offset(offset) };
        Record { place, key: Bytes::new(), payload: Bytes::new() }
    }

    fn tracker(window: usize) -> (Tracker, Arc<Commits>) {
        let commits = Arc::new(Commits::default());
        (Tracker::new(commits.clone(), Arc::new(Semaphore::new(window))), commits)
    }

    #[tokio::test]
    async fn an_abandoned_record_comes_back_and_holds_the_position() {
        let (tracker, commits) = tracker(10);
        let first = tracker.begin(record(0, 0)).await;
        let second = tracker.begin(record(0, 1)).await;
        drop(first);
        second.finish();
        assert!(commits.0.lock().unwrap().is_empty());
        let again = tracker.abandoned().await;
        assert_eq!(again.len(), 1);
        let ticket = tracker.begin_again(again[0].record.clone()).await;
        ticket.finish();
        assert_eq!(*commits.0.lock().unwrap(), [(Partition(0), Offset(2))]);
    }

    #[tokio::test]
    async fn only_the_record_that_was_worked_on_is_to_blame() {
        let (tracker, _) = tracker(10);
        let (mut first, second) = (tracker.begin(record(0, 0)).await, tracker.begin(record(0, 1)).await);
        let mut last_round = first.round();
        first.begin_work();
        drop((second, first));
        for round in 1..=3 {
            let again = tracker.abandoned().await;
            let crashes: Vec<u32> = again.iter().map(|abandoned| abandoned.crashes).collect();
            assert_eq!(crashes, [round, 0]);
            let mut tickets = Vec::new();
            for abandoned in again {
                tickets.push(tracker.begin_again(abandoned.record).await);
            }
            assert!(tickets.iter().all(|ticket| ticket.round() > last_round));
            last_round = tickets[0].round();
            tickets[0].begin_work();
        }
    }

    #[tokio::test]
    async fn the_window_bounds_what_is_begun() {
        let (tracker, _) = tracker(1);
        let held = tracker.begin(record(0, 0)).await;
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
                    tickets.insert(n, tracker.begin(record(0, n * 3)).await);
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
