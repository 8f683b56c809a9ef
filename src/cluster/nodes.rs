//! The nodes of a cluster as Redis knows them: what each says about itself, in the lease of its slot.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::ids::Slot;

/// One holding of a slot: random, so that a node that lost its slot and took it again is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Characters of an epoch as it is written.
const EPOCH_CHARS: usize = 16;

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Epoch {
    /// A new one.
    #[must_use]
    pub fn fresh() -> Self {
        Self(rand::random())
    }

    fn read(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// A slot and the holding of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// Which slot.
    pub slot: Slot,
    /// Since when, so to speak.
    pub epoch: Epoch,
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.epoch)
    }
}

impl Seat {
    /// Reads what `Display` wrote.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (slot, epoch) = text.split_once('.')?;
        Some(Self { slot: Slot(slot.parse().ok()?), epoch: Epoch::read(epoch)? })
    }
}

/// What a node says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRecord {
    /// The name of its host.
    pub host: String,
    /// Where it serves sockets and HTTP.
    pub address: String,
    /// Where it serves health and metrics.
    pub internal_address: String,
    /// The version that it runs.
    pub version: String,
    /// When it was started: RFC 3339.
    pub started_at: String,
    /// The stages that it hosts.
    pub stages: Vec<String>,
    /// Live websockets.
    pub sessions: usize,
    /// Whether it is about to stop.
    pub draining: bool,
    /// Whether every user who has a session there is in Redis. Until then it is told of everything.
    pub complete: bool,
}

/// A node that holds a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its seat.
    pub seat: Seat,
    /// What it says.
    pub record: NodeRecord,
}

impl Node {
    /// The value of a lease.
    #[must_use]
    pub fn value(epoch: Epoch, record: &NodeRecord) -> String {
        // Plain data into memory: it cannot fail.
        format!("{epoch}{}", serde_json::to_string(record).unwrap_or_default())
    }

    /// Reads a lease. One of another version, that cannot be read, is a node all the same: incomplete, and so told all.
    fn read(slot: Slot, value: &str) -> Self {
        let (epoch, record) = value.split_at_checked(EPOCH_CHARS).unwrap_or((value, ""));
        let epoch = Epoch::read(epoch).unwrap_or(Epoch(0));
        Self { seat: Seat { slot, epoch }, record: serde_json::from_str(record).unwrap_or_default() }
    }
}

/// The nodes at one moment.
#[derive(Clone, Debug)]
pub struct Nodes {
    live: Vec<Node>,
    /// Slots whose node was there a moment ago and did not say goodbye. Redis may have lost them, and not the world: they
    /// are told of everything until this time.
    vanished: Vec<(Slot, Instant)>,
    read_at: Option<Instant>,
}

impl Nodes {
    /// Nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self { live: Vec::new(), vanished: Vec::new(), read_at: None }
    }

    /// What the leases of the slots 0, 1, 2 … say.
    #[must_use]
    pub fn read(values: &[Option<String>], now: Instant) -> Self {
        let read = |(slot, value): (u16, &Option<String>)| Some(Node::read(Slot(slot), value.as_deref()?));
        Self { live: (0..).zip(values).filter_map(read).collect(), vanished: Vec::new(), read_at: Some(now) }
    }

    /// These, after `before`: who vanished is remembered for `grace`.
    #[must_use]
    pub fn after(mut self, before: &Self, now: Instant, grace: Duration) -> Self {
        let earlier = before.vanished.iter().filter(|(_, until)| *until > now).copied();
        let fresh = before.live.iter().filter(|node| !node.record.draining).map(|node| (node.seat.slot, now + grace));
        for (slot, until) in earlier.chain(fresh) {
            if self.get(slot).is_none() && !self.vanished.iter().any(|(known, _)| *known == slot) {
                self.vanished.push((slot, until));
            }
        }
        self
    }

    /// The live nodes, by slot.
    #[must_use]
    pub fn live(&self) -> &[Node] {
        &self.live
    }

    /// The node in this slot.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&Node> {
        self.live.iter().find(|node| node.seat.slot == slot)
    }

    /// Whether this seat is held now.
    #[must_use]
    pub fn holds(&self, seat: Seat) -> bool {
        self.get(seat.slot).is_some_and(|node| node.seat == seat)
    }

    /// Those who must be told of everything, whatever Redis says about users.
    pub fn incomplete(&self) -> impl Iterator<Item = Slot> {
        let live = self.live.iter().filter(|node| !node.record.complete).map(|node| node.seat.slot);
        live.chain(self.vanished.iter().map(|(slot, _)| *slot))
    }

    /// Everybody who may be there; `None`: nobody knows.
    #[must_use]
    pub fn everybody(&self) -> Option<Vec<Slot>> {
        self.read_at?;
        let live = self.live.iter().map(|node| node.seat.slot);
        Some(live.chain(self.vanished.iter().map(|(slot, _)| *slot)).collect())
    }

    /// When it was read.
    #[must_use]
    pub fn read_at(&self) -> Option<Instant> {
        self.read_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(epoch: u64, complete: bool, draining: bool) -> Option<String> {
        Some(Node::value(Epoch(epoch), &NodeRecord { complete, draining, ..NodeRecord::default() }))
    }

    #[test]
    fn a_seat_is_read_as_written_and_nothing_else_is() {
        let seat = Seat { slot: Slot(63), epoch: Epoch::fresh() };
        assert_eq!(Seat::read(&seat.to_string()), Some(seat));
        for bad in ["", "3", "3.", ".5", "-1.5", "70000.5", "3.xyz"] {
            assert_eq!(Seat::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn leases_are_read_and_one_of_another_version_is_a_node_that_is_told_all() {
        let now = crate::clock::monotonic();
        let nodes = Nodes::read(&[value(7, true, false), None, Some("what is this".into())], now);
        assert_eq!(nodes.live().len(), 2);
        assert!(nodes.holds(Seat { slot: Slot(0), epoch: Epoch(7) }));
        assert!(
            !nodes.holds(Seat { slot: Slot(0), epoch: Epoch(8) })
                && !nodes.holds(Seat { slot: Slot(1), epoch: Epoch(7) })
        );
        assert_eq!(nodes.incomplete().collect::<Vec<_>>(), [Slot(2)]);
        assert_eq!(nodes.everybody(), Some(vec![Slot(0), Slot(2)]));
        assert_eq!(Nodes::unknown().everybody(), None);
    }

    #[test]
    fn who_vanishes_is_told_of_everything_for_a_while_and_who_says_goodbye_is_not() {
        let (start, grace) = (crate::clock::monotonic(), Duration::from_secs(10));
        let before = Nodes::read(&[value(1, true, false), value(2, true, true), value(3, true, false)], start);
        let after = |before: &Nodes, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            Nodes::read(&[value(1, true, false), None, None], now).after(before, now, grace)
        };
        let mut nodes = after(&before, 1);
        assert_eq!(nodes.incomplete().collect::<Vec<_>>(), [Slot(2)]);
        nodes = after(&nodes, 10);
        assert_eq!(nodes.incomplete().collect::<Vec<_>>(), [Slot(2)]);
        nodes = after(&nodes, 11);
        assert_eq!(nodes.incomplete().count(), 0);
        let back = Nodes::read(&[None, None, value(4, true, false)], start).after(&before, start, grace);
        assert_eq!(back.everybody(), Some(vec![Slot(2), Slot(0)]), "who is back has not vanished");
    }
}
