//! What the bus's callers and its thread both hold: the queues, the bound, the counters, and whether it has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use super::state::State;
use crate::pipeline::bus::Error;
use crate::pipeline::room::Ledger;

/// The parts shared between threads.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) counters: Counters,
    /// Why the bus takes nothing any more.
    ended: OnceLock<Arc<str>>,
    /// Why the bus has failed for good.
    pub(super) failed: watch::Sender<Option<Arc<str>>>,
    /// Whether the thread has written its last byte.
    pub(super) done: watch::Sender<bool>,
}

/// Counted since the bus was opened, by its thread.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) write_errors: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) carried: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) journal_bytes: AtomicU64,
    /// 1 while the disk takes no writes.
    pub(super) refusing: AtomicU64,
}

/// How the bus stands; cheap enough to be read for every scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Bytes of keys and payloads of records in line, or durable and not finished.
    pub unfinished_bytes: u64,
    /// How many such records there are.
    pub unfinished_records: u64,
    /// Batches with records that were made durable: one sync each.
    pub batches: u64,
    /// Records that were made durable.
    pub records: u64,
    /// Bytes written to the journal, its own words included.
    pub bytes_written: u64,
    /// Writes that the disk did not take.
    pub write_errors: u64,
    /// Records put aside.
    pub dead_letters: u64,
    /// Unfinished records copied to the journal's end, so that an old file could go.
    pub carried: u64,
    /// The journal's files.
    pub segments: u64,
    /// What they take on disk.
    pub journal_bytes: u64,
    /// The disk took no writes the last time it was tried: nothing is accepted for now.
    pub refusing: bool,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn set(counter: &AtomicU64, value: u64) {
        counter.store(value, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn new(state: State, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            ledger,
            counters: Counters::default(),
            ended: OnceLock::new(),
            failed: watch::Sender::new(None),
            done: watch::Sender::new(false),
        })
    }

    /// The queues. A panic elsewhere leaves them whole: every change is one assignment or push.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops publishers and consumers; the first reason given stands.
    pub(super) fn end(&self, reason: &str) {
        self.ended.get_or_init(|| reason.into());
        self.ledger.close();
        self.state().wake_all();
    }

    /// Stops the bus for good and lets the node know.
    pub(super) fn fail(&self, reason: &str) {
        self.end(reason);
        self.failed.send_if_modified(|failed| failed.replace(reason.into()).is_none());
    }

    /// Whether the bus still takes records.
    pub(super) fn open(&self) -> Result<(), Error> {
        self.ended.get().map_or(Ok(()), |reason| Err(Error::Closed(reason.clone())))
    }

    /// What a caller is told whose answer never came.
    pub(super) fn closed(&self) -> Error {
        Error::Closed(self.ended.get().cloned().unwrap_or_else(|| "it is stopped".into()))
    }

    pub(super) fn stats(&self) -> BusStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusStats {
            unfinished_bytes: self.ledger.bytes(),
            unfinished_records: self.ledger.records(),
            batches: read(&self.counters.batches),
            records: read(&self.counters.records),
            bytes_written: read(&self.counters.bytes_written),
            write_errors: read(&self.counters.write_errors),
            dead_letters: read(&self.counters.dead_letters),
            carried: read(&self.counters.carried),
            segments: read(&self.counters.segments),
            journal_bytes: read(&self.counters.journal_bytes),
            refusing: read(&self.counters.refusing) > 0,
        }
    }
}
