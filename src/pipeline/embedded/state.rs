//! Topics, partitions and positions: what is durable and not finished, as consumers see it. Nothing here does I/O.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::pipeline::bus::{Offset, Partition, Place, Record, Term, Topic};
use crate::pipeline::room::Charge;

/// All topics of the bus.
#[derive(Debug)]
pub(super) struct State {
    topics: HashMap<Topic, Queue>,
    partitions: u32,
    /// A position has moved that the journal's thread has not taken yet: it has been woken for it.
    woken: bool,
}

/// A record that is durable and not finished.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Bytes,
    pub(super) payload: Bytes,
    /// Gives its room back when it is dropped.
    pub(super) _charge: Charge,
}

/// One partition of one topic, in memory.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The offset of the first record of `records`: all before it are finished.
    pub(super) committed: u64,
    /// The committed offset as it stands in the journal.
    pub(super) written: u64,
    /// What is not finished, without a gap. Bounded by the bus's room.
    pub(super) records: VecDeque<Held>,
    /// The offset that the consumer gets next.
    pub(super) cursor: u64,
}

#[derive(Debug, Default)]
struct Queue {
    parts: Vec<Part>,
    /// The partition whose turn it is.
    turn: usize,
    subscribed: bool,
    arrived: Arc<Notify>,
}

/// A committed position that the journal does not have yet.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) next: u64,
}

impl Part {
    /// The offset that the next record gets.
    pub(super) fn next(&self) -> u64 {
        self.committed + self.records.len() as u64
    }

    fn waiting(&self) -> Option<&Held> {
        let index = self.cursor.checked_sub(self.committed)?;
        self.records.get(usize::try_from(index).ok()?)
    }
}

impl State {
    pub(super) fn new(partitions: u32, recovered: HashMap<Topic, BTreeMap<u32, Part>>) -> Self {
        let mut state = Self { topics: HashMap::new(), partitions, woken: false };
        for (topic, parts) in recovered {
            let queue = state.queue(&topic);
            for (partition, part) in parts {
                let index = partition as usize;
                // More than are in use now, if the number was lowered: their offsets must not begin anew one day.
                if queue.parts.len() <= index {
                    queue.parts.resize_with(index + 1, Part::default);
                }
                queue.parts[index] = part;
            }
        }
        state
    }

    pub(super) fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Every partition that ever had a record: topic, partition, and how it stands.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Topic, u32, &Part)> {
        self.topics.iter().flat_map(|(topic, queue)| {
            let used = (0..).zip(&queue.parts).filter(|(_, part)| part.next() > 0);
            used.map(move |(partition, part)| (topic, partition, part))
        })
    }

    pub(super) fn part(&self, topic: &Topic, partition: u32) -> Option<&Part> {
        self.topics.get(topic)?.parts.get(partition as usize)
    }

    /// The unfinished records of a partition whose offset is in `first..end`.
    pub(super) fn unfinished(
        &self,
        topic: &Topic,
        partition: u32,
        first: u64,
        end: u64,
    ) -> impl Iterator<Item = (u64, &Held)> {
        self.part(topic, partition).into_iter().flat_map(move |part| {
            let skipped = first.saturating_sub(part.committed);
            let from = part.committed + skipped;
            (from..end).zip(part.records.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)))
        })
    }

    /// Lets the consumer see a record that is durable now, and says whom to wake.
    pub(super) fn admit(&mut self, topic: &Topic, partition: u32, held: Held) -> Option<Arc<Notify>> {
        let queue = self.queue(topic);
        queue.parts.get_mut(partition as usize)?.records.push_back(held);
        Some(queue.arrived.clone())
    }

    /// Makes the caller the topic's consumer, behind the last committed position; `None` if it has one already.
    pub(super) fn subscribe(&mut self, topic: &Topic) -> Option<Arc<Notify>> {
        let queue = self.queue(topic);
        if queue.subscribed {
            return None;
        }
        queue.subscribed = true;
        for part in &mut queue.parts {
            part.cursor = part.committed;
        }
        Some(queue.arrived.clone())
    }

    pub(super) fn unsubscribe(&mut self, topic: &Topic) {
        self.queue(topic).subscribed = false;
    }

    /// Up to `max` records, one of each partition in turn.
    pub(super) fn take(&mut self, topic: &Topic, max: usize) -> Vec<Record> {
        let mut taken = Vec::new();
        let queue = self.queue(topic);
        let count = queue.parts.len();
        let mut empty = 0;
        while taken.len() < max && empty < count {
            let index = queue.turn;
            queue.turn = (index + 1) % count;
            let part = &mut queue.parts[index];
            let Some(held) = part.waiting() else {
                empty += 1;
                continue;
            };
            let (key, payload) = (held.key.clone(), held.payload.clone());
            let partition = Partition(u32::try_from(index).unwrap_or(u32::MAX));
            let place = Place { topic: topic.clone(), partition, offset: Offset(part.cursor) };
            taken.push(Record { place, term: Term::default(), key, payload });
            part.cursor += 1;
            empty = 0;
        }
        taken
    }

    /// Moves a position, never back and never past the end; returns what is finished by it, for the caller to drop
    /// where no lock is held, and whether the journal's thread is to be woken.
    pub(super) fn commit(&mut self, topic: &Topic, partition: Partition, next: Offset) -> (Vec<Held>, bool) {
        let part = self.topics.get_mut(topic).and_then(|queue| queue.parts.get_mut(partition.0 as usize));
        let Some(part) = part else { return (Vec::new(), false) };
        let count = next.0.min(part.next()).saturating_sub(part.committed);
        if count == 0 {
            return (Vec::new(), false);
        }
        let finished = part.records.drain(..usize::try_from(count).unwrap_or(usize::MAX)).collect();
        part.committed += count;
        part.cursor = part.cursor.max(part.committed);
        (finished, !std::mem::replace(&mut self.woken, true))
    }

    /// The positions that the journal does not have yet. The next commit wakes the thread again.
    pub(super) fn moved(&mut self) -> Vec<Moved> {
        self.woken = false;
        let moved = self.parts().filter(|(_, _, part)| part.committed > part.written);
        moved.map(|(topic, partition, part)| Moved { topic: topic.clone(), partition, next: part.committed }).collect()
    }

    /// These positions are in the journal now.
    pub(super) fn written(&mut self, moved: &[Moved]) {
        for Moved { topic, partition, next } in moved {
            let part = self.topics.get_mut(topic).and_then(|queue| queue.parts.get_mut(*partition as usize));
            if let Some(part) = part {
                part.written = part.written.max(*next);
            }
        }
    }

    /// Wakes every consumer, to see that the bus has closed.
    pub(super) fn wake_all(&self) {
        for queue in self.topics.values() {
            queue.arrived.notify_one();
        }
    }

    fn queue(&mut self, topic: &Topic) -> &mut Queue {
        let partitions = self.partitions as usize;
        self.topics.entry(topic.clone()).or_insert_with(|| {
            let mut queue = Queue::default();
            queue.parts.resize_with(partitions, Part::default);
            queue
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::bus::Room;
    use crate::pipeline::room::Ledger;

    fn filled(records: &[(u32, &'static str)]) -> (State, Topic) {
        let (mut state, topic, ledger) = (State::new(3, HashMap::new()), Topic::from("t"), Ledger::new(1000));
        for (partition, payload) in records {
            let charge = ledger.enter(Room(None), payload.len());
            let held = Held { key: Bytes::new(), payload: Bytes::from_static(payload.as_bytes()), _charge: charge };
            state.admit(&topic, *partition, held).unwrap();
        }
        (state, topic)
    }

    fn payloads(records: &[Record]) -> Vec<&str> {
        records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
    }

    #[test]
    fn a_long_partition_does_not_hold_up_a_short_one() {
        let (mut state, topic) = filled(&[(0, "a0"), (0, "a1"), (0, "a2"), (2, "c0"), (1, "b0")]);
        assert_eq!(payloads(&state.take(&topic, 4)), ["a0", "b0", "c0", "a1"]);
        assert_eq!(payloads(&state.take(&topic, 4)), ["a2"]);
        assert!(state.take(&topic, 4).is_empty());
    }

    #[test]
    fn a_position_moves_forward_only_and_not_past_the_end() {
        let (mut state, topic) = filled(&[(0, "a0"), (0, "a1"), (0, "a2")]);
        assert_eq!(state.commit(&topic, Partition(0), Offset(2)).0.len(), 2);
        assert_eq!(state.commit(&topic, Partition(0), Offset(1)).0.len(), 0);
        assert_eq!(payloads(&state.take(&topic, 9)), ["a2"], "what is finished is not handed out");
        assert_eq!(state.commit(&topic, Partition(0), Offset(u64::MAX)).0.len(), 1);
        assert_eq!(state.part(&topic, 0).unwrap().next(), 3);
        assert_eq!(state.commit(&topic, Partition(7), Offset(1)).0.len(), 0);
        assert_eq!(state.commit(&Topic::from("unknown"), Partition(0), Offset(1)).0.len(), 0);
    }

    #[test]
    fn the_thread_is_woken_once_until_it_has_taken_the_positions() {
        let (mut state, topic) = filled(&[(0, "a0"), (0, "a1"), (0, "a2")]);
        assert!(state.commit(&topic, Partition(0), Offset(1)).1);
        assert!(!state.commit(&topic, Partition(0), Offset(2)).1);
        let moved = state.moved();
        assert_eq!(moved[0].next, 2);
        assert!(state.commit(&topic, Partition(0), Offset(3)).1);
        state.written(&moved);
        assert_eq!(state.moved()[0].next, 3);
    }
}
