//! What carries envelopes between topics: the promises that every bus keeps, and no word about how.
//!
//! Nothing above this trait knows which bus it has. The same contract tests run against each of them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

/// The name of a stage's input, such as `parlor.router`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Topic(pub Arc<str>);

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Topic {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// A part of a topic. Records of one key are always in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u32);

/// A record's place in its partition: 0, 1, 2 …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its topic.
    pub topic: Topic,
    /// Its partition of the topic.
    pub partition: Partition,
    /// Its place in the partition.
    pub offset: Offset,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition.0, self.offset.0)
    }
}

/// Which of a consumer's holdings of a partition: a new one each time that the partition is given to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// A partition as a consumer holds it, from when the bus gives it until the bus takes it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The partition.
    pub partition: Partition,
    /// Since when.
    pub term: Term,
}

/// A record as a consumer receives it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// Under which holding of its partition it was received.
    pub term: Term,
    /// What it was published under: the sender's id.
    pub key: Bytes,
    /// An envelope, or whatever somebody published instead.
    pub payload: Bytes,
}

impl Record {
    /// The claim under which it was received.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim { partition: self.place.partition, term: self.term }
    }
}

/// What went wrong on the bus.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The record was not made durable and never will be; publishing it again is safe.
    #[error("{topic} cannot take records now: {reason}")]
    Unavailable {
        /// Where the record was to stand.
        topic: Topic,
        /// What the disk or the broker said.
        reason: Arc<str>,
    },
    /// The record is larger than the bus carries.
    #[error("a record of {bytes} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// The record's size.
        bytes: usize,
        /// What the bus carries at most.
        limit: usize,
    },
    /// The bus is stopped, or has failed for good: only a restart helps.
    #[error("the bus is closed: {0}")]
    Closed(Arc<str>),
    /// The topic has its one consumer on this node.
    #[error("{0} has its consumer on this node already")]
    AlreadySubscribed(Topic),
}

/// Leave to publish one record: holds part of the bus's bound on unfinished bytes until the record is finished.
#[derive(Debug)]
pub struct Room(pub(crate) Option<OwnedSemaphorePermit>);

/// What a publish came to: where the record stands, once it is durable.
pub type Receipt = BoxFuture<'static, Result<Place, Error>>;

/// A durable log with topics, keyed order and consumer positions.
pub trait Bus: Send + Sync + 'static {
    /// Waits until the bus has room for a record of `bytes`, key and payload together; a wrong estimate is corrected
    /// when the record is published. This is where back-pressure begins: whoever brings new
    /// messages in waits here.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Closed`].
    fn room(&self, bytes: usize) -> BoxFuture<'static, Result<Room, Error>>;

    /// Leave for a record that a stage makes of one already inside. Never waits: what is inside may always move on,
    /// or a full bus could not empty itself. Bounded by the records in flight.
    fn room_inside(&self) -> Room {
        Room(None)
    }

    /// Puts a record in line. The order of calls is the order within a key. The record is durable when the receipt
    /// resolves, and not before; dropping the receipt does not take the record back. A record that is refused leaves the
    /// order of those behind it as it is: publishing it again puts it behind them.
    fn publish(&self, room: Room, topic: &Topic, key: Bytes, payload: Bytes) -> Receipt;

    /// The one consumer of a topic on this node; starts behind the last committed position.
    ///
    /// # Errors
    /// [`Error::Closed`] when the bus is stopped, [`Error::AlreadySubscribed`].
    fn subscribe(&self, topic: &Topic) -> Result<Box<dyn Consumer>, Error>;

    /// Puts a record that cannot be handled aside, durably, with the reason.
    fn dead_letter(&self, record: &Record, reason: &str) -> BoxFuture<'static, Result<(), Error>>;

    /// Has this node take its leave: resolves when nothing is left that the node would have to finish. A bus that others
    /// share hands out no more records here and waits for those that it handed out; a bus of this node alone runs empty.
    /// May take for ever: whoever calls it has a limit.
    fn drain(&self) -> BoxFuture<'static, ()>;

    /// Stops taking records, makes what is in line durable, and returns when the last byte is.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// Resolves with the reason when the bus has failed for good and only a restart helps; never otherwise.
    fn failed(&self) -> BoxFuture<'static, Arc<str>>;

    /// Whether records are taken and handed out now.
    ///
    /// # Errors
    /// Why not, in a sentence for the operator.
    fn health(&self) -> Result<(), Arc<str>>;

    /// Brings the gauges up to date.
    fn measure(&self);
}

/// The reading end of one topic.
pub trait Consumer: Send {
    /// Waits for records and returns up to `max` of them (at least one), each partition's in order. To give up waiting
    /// loses nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the bus is stopped, [`Error::Unavailable`] when it cannot be read now.
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Record>, Error>>;

    /// A handle that commits, for whoever finishes records elsewhere.
    fn committer(&self) -> Arc<dyn Committer>;
}

/// Moves a consumer's position.
pub trait Committer: Send + Sync {
    /// All records of the partition before `next` are finished and need never be seen again. Not durable at once: a
    /// crash may bring finished records back, and they are finished again to the same end. Nothing happens when the
    /// claim is over: somebody else may be at work there.
    fn commit(&self, claim: Claim, next: Offset);

    /// Whether work on received records of the claim may begin. It may not any more when the bus wants the partition
    /// back, for another node or because this one takes its leave, or has lost it. On a bus of one node it always may.
    fn holds(&self, _claim: Claim) -> bool {
        true
    }

    /// The records of the claim from `first` on are not worked on and will not be: they need not be waited for.
    fn give_back(&self, _claim: Claim, _first: Offset) {}
}
