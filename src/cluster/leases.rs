//! Slots as leases in Redis: taken, renewed and given back, each in one step that no other node can come between.

use std::sync::LazyLock;
use std::time::Duration;

use deadpool_redis::redis::{Script, pipe};

use super::nodes::{Node, NodeRecord, Nodes, Seat};
use super::redis::{Error, Redis};
use crate::ids::Slot;

/// Writes the lease anew if it is still this epoch's. 1: done, 0: nobody holds the slot, -1: another does.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1])
        if not held then return 0 end
        if string.sub(held, 1, 16) ~= ARGV[1] then return -1 end
        redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
        return 1",
    )
});
/// Gives the slot back if it is still this epoch's.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1])
        if held and string.sub(held, 1, 16) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
        return 0",
    )
});

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The slot is held on.
    Kept,
    /// Redis knows nothing of it: it was emptied, or the lease ran out.
    Missing,
    /// Another node holds it.
    Taken,
}

/// The leases of all slots.
#[derive(Clone, Debug)]
pub struct Leases {
    redis: Redis,
    prefix: String,
    slots: u16,
    ttl: Duration,
}

impl Leases {
    /// The leases of `slots` slots, each held for `ttl` at a time; their keys begin with `prefix`.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str, slots: u16, ttl: Duration) -> Self {
        Self { redis, prefix: prefix.to_owned(), slots, ttl }
    }

    /// The key of a slot.
    #[must_use]
    pub fn key(&self, slot: Slot) -> String {
        format!("{}:slot:{slot}", self.prefix)
    }

    /// How long a lease lasts.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Who is there: one question for all slots.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn read(&self) -> Result<Nodes, Error> {
        let mut question = pipe();
        question.cmd("MGET");
        for slot in 0..self.slots {
            question.arg(self.key(Slot(slot)));
        }
        let now = crate::clock::monotonic();
        let (values,): (Vec<Option<String>>,) = self.redis.ask(&question).await?;
        Ok(Nodes::read(&values, now))
    }

    /// Takes a slot that nobody holds; `false`: somebody does.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn take(&self, seat: Seat, record: &NodeRecord) -> Result<bool, Error> {
        let mut question = pipe();
        let value = Node::value(seat.epoch, record);
        question.cmd("SET").arg(self.key(seat.slot)).arg(value).arg("NX").arg("PX").arg(self.ttl_millis());
        let (done,): (Option<String>,) = self.redis.ask(&question).await?;
        Ok(done.is_some())
    }

    /// Holds a slot on, with what the node says about itself now. With the epoch of somebody else, whose slot this is by
    /// right, it takes it over: `held` is then theirs.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn renew(&self, held: Seat, now: Seat, record: &NodeRecord) -> Result<Renewal, Error> {
        let mut call = RENEW.key(self.key(held.slot));
        call.arg(held.epoch.to_string()).arg(Node::value(now.epoch, record)).arg(self.ttl_millis());
        Ok(match self.redis.run::<i64>(&call).await? {
            1 => Renewal::Kept,
            0 => Renewal::Missing,
            _ => Renewal::Taken,
        })
    }

    /// Gives a slot back.
    ///
    /// # Errors
    /// [`Error::Away`]: it runs out by itself.
    pub async fn release(&self, seat: Seat) -> Result<(), Error> {
        self.redis.run::<i64>(RELEASE.key(self.key(seat.slot)).arg(seat.epoch.to_string())).await.map(drop)
    }

    fn ttl_millis(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }
}
