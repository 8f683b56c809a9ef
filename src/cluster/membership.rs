//! A node's seat: takes a slot, holds it, notices when it is lost, takes another; and knows who else is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::doubt::{Doubt, Reason};
use super::here::Here;
use super::leases::{Leases, Renewal};
use super::nodes::{Epoch, NodeRecord, Nodes, Seat};
use super::presence::Presence;
use super::redis::Error;
use crate::clock::monotonic;
use crate::ids::Slot;

/// How often it is looked who is there.
const TICK: Duration = Duration::from_secs(1);
/// A tick that is this late: the process was stopped, or starved.
const LATE: Duration = Duration::from_secs(2);
/// How long after taking a seat others may not have heard of it, and after a pause something may have been missed.
const SETTLING: Duration = Duration::from_secs(3);

/// Which slot a node wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The lowest that is free.
    Any,
    /// This one. `ours`: nobody of another host's name has it by right, so that a process that was started anew takes it
    /// over from the one before at once.
    This {
        /// Which.
        slot: Slot,
        /// Whether the slot goes with the host's name.
        ours: bool,
    },
}

/// Where a node sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sitting {
    /// Where.
    pub seat: Seat,
    /// Whether Redis said so; else it is where the node may sit, and nobody is announced.
    pub confirmed: bool,
}

/// A node's place among the others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Membership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    leases: Leases,
    presence: Presence,
    here: Here,
    doubt: Doubt,
    wish: Wish,
    slots: u16,
    record: Mutex<NodeRecord>,
    /// The record has changed: say so now.
    changed: Notify,
    nodes: Mutex<Arc<Nodes>>,
    seat: watch::Sender<Option<Sitting>>,
    /// Whether this process ever held a seat: then nobody who sits there now came before it.
    held_once: AtomicBool,
    /// Why there is none.
    why: Mutex<Arc<str>>,
}

/// The seat as the loop knows it.
struct Held {
    seat: Seat,
    /// Whether Redis said so.
    confirmed: bool,
    renew_at: Instant,
    /// What the lease says of completeness.
    said_complete: bool,
}

impl Membership {
    /// A node without a seat yet, that wants one of `slots`.
    #[must_use]
    pub fn new(
        leases: Leases,
        presence: Presence,
        here: Here,
        doubt: Doubt,
        wish: Wish,
        slots: u16,
        record: NodeRecord,
    ) -> Self {
        doubt.set(Reason::Slot, true);
        Self(Arc::new(Inner {
            leases,
            presence,
            here,
            doubt,
            wish,
            slots,
            record: Mutex::new(record),
            changed: Notify::new(),
            nodes: Mutex::new(Arc::new(Nodes::unknown())),
            seat: watch::Sender::new(None),
            held_once: AtomicBool::new(false),
            why: Mutex::new("no slot yet: Redis was not asked".into()),
        }))
    }

    /// The seat, and its changes.
    #[must_use]
    pub fn seats(&self) -> watch::Receiver<Option<Sitting>> {
        self.0.seat.subscribe()
    }

    /// The seat now.
    #[must_use]
    pub fn seat(&self) -> Option<Seat> {
        self.0.seat.borrow().map(|sitting| sitting.seat)
    }

    /// What is sent to this seat is being read from now on: who comes may be announced under it.
    pub fn listening(&self, seat: Seat) {
        // Under the lock of the seat: it must not change in between.
        self.0.seat.send_if_modified(|sitting| {
            if *sitting == Some(Sitting { seat, confirmed: true }) {
                self.0.here.sit(Some(seat));
            }
            false
        });
    }

    /// Why there is no seat.
    #[must_use]
    pub fn why(&self) -> Arc<str> {
        self.0.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The nodes as they were read last.
    #[must_use]
    pub fn nodes(&self) -> Arc<Nodes> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key of this node's lease, if it holds one.
    #[must_use]
    pub fn lease_key(&self) -> Option<String> {
        self.seat().map(|seat| self.0.leases.key(seat.slot))
    }

    /// Changes what this node says about itself; `now`: others are to see it at once, and not at the next renewal.
    pub fn say(&self, change: impl FnOnce(&mut NodeRecord), now: bool) {
        change(&mut self.0.record.lock().unwrap_or_else(PoisonError::into_inner));
        if now {
            self.0.changed.notify_one();
        }
    }

    /// What this node says about itself.
    #[must_use]
    pub fn record(&self) -> NodeRecord {
        let mut record = self.0.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        record.complete = self.0.here.complete();
        record
    }

    /// Takes a seat and holds it for as long as the task is not aborted.
    pub async fn keep(self) {
        let mut held = None;
        let mut last = monotonic();
        loop {
            let now = monotonic();
            if now.saturating_duration_since(last) > TICK + LATE {
                tracing::warn!(
                    seconds = now.saturating_duration_since(last).as_secs(),
                    "this process was stopped for a while"
                );
                self.0.doubt.for_a_while(SETTLING);
                if let Some(held) = &mut held {
                    let held: &mut Held = held;
                    held.renew_at = now;
                }
            }
            last = now;
            let outcome = self.turn(&mut held).await;
            if let Err(error) = &outcome {
                self.without_redis(&mut held, error);
            }
            self.0.doubt.set(Reason::Redis, outcome.is_err());
            self.0.doubt.set(Reason::Slot, !held.as_ref().is_some_and(|held| held.confirmed));
            self.0.doubt.set(Reason::Presence, !self.0.here.complete());
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.0.changed.notified() => {
                    held.iter_mut().for_each(|held| held.renew_at = monotonic());
                }
                () = self.completeness_changed(held.as_ref().map(|held| held.said_complete)) => {}
            }
        }
    }

    async fn completeness_changed(&self, said: Option<bool>) {
        loop {
            self.0.here.changed().await;
            if said.is_some_and(|said| said != self.0.here.complete()) {
                return;
            }
        }
    }

    /// Gives the seat back: its entries in Redis are worth nothing from then on.
    pub async fn leave(&self) {
        if let Some(seat) = self.seat()
            && let Err(error) = self.0.leases.release(seat).await
        {
            tracing::debug!(%error, "the slot is not given back; it runs out by itself");
        }
    }

    /// One look: renew what is due, take a seat if there is none, see who is there.
    async fn turn(&self, held: &mut Option<Held>) -> Result<(), Error> {
        if let Some(seat) = held.as_ref().filter(|held| held.confirmed).map(|held| held.seat) {
            let complete = self.0.here.complete();
            let due = held.as_ref().is_some_and(|held| held.renew_at <= monotonic() || held.said_complete != complete);
            if due {
                match self.0.leases.renew(seat, seat, &self.record()).await? {
                    Renewal::Kept => *held = Some(self.held(seat, complete)),
                    lost => self.lose(held, lost),
                }
            }
        }
        if !held.as_ref().is_some_and(|held| held.confirmed) {
            self.take(held).await?;
        }
        let suspects = self.0.presence.suspects();
        let nodes = self.read().await?;
        if let Some(seat) = held.as_ref().map(|held| held.seat)
            && !nodes.holds(seat)
        {
            // Not by a renewal that is due in seconds: until this is mended, nobody tells this node anything.
            self.lose(held, if nodes.get(seat.slot).is_some() { Renewal::Taken } else { Renewal::Missing });
            self.take(held).await?;
        }
        self.0.presence.clean(suspects, &nodes).await
    }

    fn held(&self, seat: Seat, complete: bool) -> Held {
        Held { seat, confirmed: true, renew_at: monotonic() + self.0.leases.ttl() / 3, said_complete: complete }
    }

    async fn read(&self) -> Result<Arc<Nodes>, Error> {
        let read = self.0.leases.read().await?;
        // Who vanished is back soon, or was never away for us: a lease's time is what it takes to be sure.
        let nodes = Arc::new(read.after(&self.nodes(), monotonic(), self.0.leases.ttl()));
        crate::metrics::slots_live(nodes.live().len() as f64);
        *self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes.clone();
        Ok(nodes)
    }

    fn lose(&self, held: &mut Option<Held>, lost: Renewal) {
        let Some(was) = held.take() else { return };
        let (label, taken) = if lost == Renewal::Taken { ("taken", true) } else { ("missing", false) };
        crate::metrics::slot_lost(label);
        tracing::warn!(
            slot = %was.seat.slot, taken,
            "the slot is no longer held: this process was stopped, or Redis was emptied or away. Another is taken; sessions go on"
        );
        self.0.doubt.set(Reason::Slot, true);
        // What is sent there is read on, until there is another; but nobody is announced there any more.
        self.sit(was.seat, false);
        self.0.here.sit(None);
    }

    /// Tries to take a seat.
    async fn take(&self, held: &mut Option<Held>) -> Result<(), Error> {
        let before = self.seat();
        let nodes = self.read().await?;
        let record = self.record();
        // Everybody here is announced anew: until then others tell this node everything.
        let record = NodeRecord { complete: self.0.here.is_empty(), ..record };
        let said_complete = record.complete;
        for slot in self.candidates(&nodes, before) {
            // Always a new epoch: what stands under an older one may have been taken out by others.
            let seat = Seat { slot, epoch: Epoch::fresh() };
            let mut taken = self.0.leases.take(seat, &record).await?;
            if !taken
                && !self.0.held_once.load(Ordering::Acquire)
                && let Some(other) = self.predecessor(&nodes, slot, &record)
            {
                tracing::info!(%slot, "this host's slot is taken over from the process before this one");
                taken = self.0.leases.renew(other, seat, &record).await? == Renewal::Kept;
            }
            if taken {
                tracing::info!(%slot, epoch = %seat.epoch, "slot taken");
                *held = Some(self.held(seat, said_complete));
                self.sit(seat, true);
                return Ok(());
            }
        }
        self.none(&nodes, held);
        Ok(())
    }

    fn candidates(&self, nodes: &Nodes, before: Option<Seat>) -> Vec<Slot> {
        match self.0.wish {
            Wish::This { slot, .. } => vec![slot],
            Wish::Any => {
                // The one from before, if it is free: its partition of the bridge is being read.
                let all = (0..self.0.slots).map(Slot);
                let free = before.map(|seat| seat.slot).into_iter().chain(all);
                free.filter(|slot| nodes.get(*slot).is_none()).collect()
            }
        }
    }

    /// Whoever sits where only this host may sit.
    fn predecessor(&self, nodes: &Nodes, slot: Slot, record: &NodeRecord) -> Option<Seat> {
        let Wish::This { ours: true, .. } = self.0.wish else { return None };
        nodes.get(slot).filter(|node| node.record.host == record.host).map(|node| node.seat)
    }

    fn none(&self, nodes: &Nodes, held: &mut Option<Held>) {
        let why = match self.0.wish {
            Wish::Any => {
                format!("no slot: all {} are taken; raise cluster.slots and the partitions of the bridge", self.0.slots)
            }
            Wish::This { slot, .. } => {
                let who = nodes.get(slot).map(|node| node.record.host.clone()).unwrap_or_default();
                format!(
                    "no slot: {slot} is held by another node, on host {who:?}; it is tried again until that one stops"
                )
            }
        };
        let mut before = self.0.why.lock().unwrap_or_else(PoisonError::into_inner);
        if **before != *why {
            tracing::error!("{why}");
        }
        *before = why.into();
        drop(before);
        *held = None;
        self.0.here.sit(None);
        self.0.seat.send_replace(None);
    }

    fn sit(&self, seat: Seat, confirmed: bool) {
        self.0.doubt.for_a_while(SETTLING);
        self.0.held_once.fetch_or(confirmed, Ordering::AcqRel);
        self.0.seat.send_replace(Some(Sitting { seat, confirmed }));
    }

    /// A node that has its slot by configuration, and no Redis: for good.
    pub fn sit_alone(&self, slot: Slot) {
        self.0.doubt.set(Reason::Slot, false);
        self.sit(Seat { slot, epoch: Epoch::fresh() }, false);
    }

    /// A node with a slot of its own needs no Redis to read what is sent to it.
    fn without_redis(&self, held: &mut Option<Held>, error: &Error) {
        if held.is_some() {
            return;
        }
        match (self.0.wish, self.seat()) {
            (Wish::This { slot, .. }, None) => {
                let seat = Seat { slot, epoch: Epoch::fresh() };
                *held = Some(Held { seat, confirmed: false, renew_at: monotonic(), said_complete: false });
                self.sit(seat, false);
            }
            _ => *self.0.why.lock().unwrap_or_else(PoisonError::into_inner) = format!("no slot yet: {error}").into(),
        }
    }
}
