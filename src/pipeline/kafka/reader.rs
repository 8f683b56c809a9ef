//! The reading end of a topic: one consumer of the topic's group on this node. A thread (`poller`) fetches; this is what
//! it and the stage's feeder share.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};

use super::shelf::Shelf;
use crate::pipeline::bus::{Claim, Committer, Consumer, Error, Offset, Record, Topic};

/// What a reader has been told to do; only ever the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Course {
    /// Read on.
    Read,
    /// Hand out nothing more, wait for what is handed out, and leave the group.
    Drain,
    /// Leave the group at once.
    Leave,
}

/// What the thread and the consumer share.
pub(super) struct Reader {
    pub(super) topic: Topic,
    shelf: Mutex<Shelf>,
    /// Something was taken off the shelf.
    taken: Condvar,
    /// Something came, or ended.
    arrived: Notify,
    course: AtomicU8,
    closed: Mutex<Option<Arc<str>>>,
    /// What kept records from being read, until somebody was told.
    trouble: Mutex<Option<Error>>,
    /// Whether the group is left.
    pub(super) left: watch::Sender<bool>,
    /// Records of the partitions held here that are not finished, as the library last saw it.
    pub(super) lag: AtomicI64,
}

impl Reader {
    pub(super) fn new(topic: Topic) -> Arc<Self> {
        Arc::new(Self {
            shelf: Mutex::new(Shelf::new(topic.clone())),
            topic,
            taken: Condvar::new(),
            arrived: Notify::new(),
            course: AtomicU8::new(Course::Read as u8),
            closed: Mutex::new(None),
            trouble: Mutex::new(None),
            left: watch::Sender::new(false),
            lag: AtomicI64::new(0),
        })
    }

    /// A panic elsewhere leaves it whole: no change of it calls anybody.
    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn course(&self) -> Course {
        match self.course.load(Ordering::Acquire) {
            0 => Course::Read,
            1 => Course::Drain,
            _ => Course::Leave,
        }
    }

    /// Sets a course, if it is further than the present one.
    pub(super) fn steer(&self, course: Course) {
        self.course.fetch_max(course as u8, Ordering::AcqRel);
        if course != Course::Read {
            self.shelf().leave();
        }
        self.taken.notify_all();
    }

    /// Lets whoever receives know that the bus has closed.
    pub(super) fn close(&self, why: &Arc<str>) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.clone());
        self.steer(Course::Leave);
        self.arrived.notify_one();
    }

    /// Lets whoever receives know that something is on the shelf.
    pub(super) fn arrived(&self) {
        self.arrived.notify_one();
    }

    /// Lets whoever receives know what keeps records from being read.
    pub(super) fn trouble(&self, error: Error) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.arrived.notify_one();
    }

    /// Waits until no more is on the shelf than `most` says, or the reader is told to leave. Says whether that is so.
    pub(super) fn wait_below(&self, most: impl Fn((usize, usize)) -> bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut shelf = self.shelf();
        loop {
            if most(shelf.fetched()) || self.course() != Course::Read {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            shelf = self.taken.wait_timeout(shelf, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn open(&self) -> Result<(), Error> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.as_ref().map_or(Ok(()), |why| Err(Error::Closed(why.clone())))
    }
}

/// The consumer of the topic on this node. Dropped, it leaves the group.
pub(super) struct KafkaConsumer(pub(super) Arc<Reader>);

impl Consumer for KafkaConsumer {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        let reader = &self.0;
        Box::pin(async move {
            loop {
                reader.open()?;
                let records = reader.shelf().take(max.max(1));
                if !records.is_empty() {
                    reader.taken.notify_all();
                    return Ok(records);
                }
                if let Some(error) = reader.trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    return Err(error);
                }
                // A wake-up that comes between looking and waiting is kept for us: there is one waiter at most.
                reader.arrived.notified().await;
            }
        })
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(KafkaCommitter(self.0.clone()))
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.0.steer(Course::Leave);
    }
}

/// Moves positions. The thread tells the brokers.
struct KafkaCommitter(Arc<Reader>);

impl Committer for KafkaCommitter {
    fn commit(&self, claim: Claim, next: Offset) {
        self.0.shelf().commit(claim, next);
    }

    fn holds(&self, claim: Claim) -> bool {
        self.0.shelf().holds(claim)
    }

    fn give_back(&self, claim: Claim, first: Offset) {
        self.0.shelf().give_back(claim, first);
    }
}
