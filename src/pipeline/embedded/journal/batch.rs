//! How a batch comes to be in the journal: encoded whole, written at once, synced, shown, and then acknowledged.

use super::{Append, Failed, Journal, MAX_BATCH_BYTES, place};
use crate::pipeline::bus::{Error, Offset, Partition, Place};
use crate::pipeline::embedded::log::{self, Fault};
use crate::pipeline::embedded::segment::{self, Frame, Head, Mark, Position, Stored};
use crate::pipeline::embedded::shared::Counters;
use crate::pipeline::embedded::state::{Held, Moved};

impl Journal {
    pub(super) fn write_records(&mut self, appends: Vec<Append>) -> Result<(), Failed> {
        self.begin_batch();
        let mut offsets = Vec::with_capacity(appends.len());
        for Append { topic, partition, key, payload, .. } in &appends {
            let next = place(&mut self.next, topic, *partition);
            offsets.push(*next);
            let (topic, offset) = (&*topic.0, *next);
            Frame::Record(Stored { topic, partition: *partition, offset, key, payload }).encode(&mut self.buffer);
            *next += 1;
        }
        let moved = self.add_positions();
        if let Err(fault) = self.write(true) {
            for append in &appends {
                *place(&mut self.next, &append.topic, append.partition) -= 1;
            }
            let reason = self.settle(fault)?;
            for Append { topic, reply, charge, .. } in appends {
                drop(charge);
                let _ = reply.send(Err(Error::Unavailable { topic, reason: reason.clone() }));
            }
            return Ok(());
        }
        self.shared.state().written(&moved);
        (self.positions_due, self.unsealed) = (false, true);
        self.show(appends, &offsets);
        Ok(())
    }

    /// The records are durable: consumers may have them, and then publishers may know.
    fn show(&mut self, appends: Vec<Append>, offsets: &[u64]) {
        Counters::add(&self.shared.counters.batches, 1);
        Counters::add(&self.shared.counters.records, appends.len());
        let (mut wake, mut replies) = (Vec::new(), Vec::with_capacity(appends.len()));
        let mut state = self.shared.state();
        for (append, &offset) in appends.into_iter().zip(offsets) {
            let Append { topic, partition, key, payload, charge, reply } = append;
            log::extend(&mut self.log.active.extent, &topic, partition, offset);
            wake.extend(state.admit(&topic, partition, Held { key, payload, _charge: charge }));
            replies.push((reply, Place { topic, partition: Partition(partition), offset: Offset(offset) }));
        }
        drop(state);
        for arrived in wake {
            arrived.notify_one();
        }
        for (reply, place) in replies {
            // A publisher that did not wait for its receipt is none the worse.
            let _ = reply.send(Ok(place));
        }
    }

    /// Writes a marker and the positions, without records. They need no sync of their own: to lose them is to run records again.
    pub(super) fn write_positions(&mut self, closing: bool) -> Result<(), Failed> {
        self.begin_batch();
        let moved = self.add_positions();
        if moved.is_empty() && !self.unsealed && self.refusing.is_none() {
            self.positions_due = false;
            return Ok(());
        }
        match self.write(closing) {
            Ok(()) => {
                self.shared.state().written(&moved);
                (self.positions_due, self.unsealed) = (false, false);
                Ok(())
            }
            // They stay due, and are tried again.
            Err(fault) => self.settle(fault).map(|_| ()),
        }
    }

    pub(super) fn begin_batch(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(MAX_BATCH_BYTES);
        self.buffer.resize(segment::MARKER_BYTES, 0);
    }

    pub(super) fn add_positions(&mut self) -> Vec<Moved> {
        let moved = self.shared.state().moved();
        for Moved { topic, partition, next } in &moved {
            let (topic, partition, next) = (&*topic.0, *partition, *next);
            Frame::Position(Position { topic, partition, next }).encode(&mut self.buffer);
        }
        moved
    }

    /// Writes the batch in the buffer, into a new segment if this one is full.
    pub(super) fn write(&mut self, sync: bool) -> Result<(), Fault> {
        let active = &self.log.active;
        let full = active.used && active.length + self.buffer.len() as u64 > self.options.segment_bytes;
        if full || self.roll {
            let head = self.head(active.number + 1);
            self.log.roll(&head)?;
            self.roll = false;
        }
        self.log.append(&mut self.buffer)?;
        if sync {
            self.log.sync()?;
        }
        Counters::add(&self.shared.counters.bytes_written, self.buffer.len());
        // A disk that takes a marker may still have no space for what it refused.
        if self.refusing.is_some_and(|bytes| self.buffer.len() >= bytes || self.log.has_space_for(bytes)) {
            self.refusing = None;
            Counters::set(&self.shared.counters.refusing, 0);
            tracing::info!("the bus takes records again");
        }
        Ok(())
    }

    /// What a segment begins with: where every partition stands, so that the segments before it can go.
    fn head(&self, number: u64) -> Vec<u8> {
        let (mut marks, mut count) = (Vec::new(), 0);
        let state = self.shared.state();
        for (topic, partition, part) in state.parts() {
            let (topic, next, committed) = (&*topic.0, part.next(), part.committed);
            Frame::Mark(Mark { topic, partition, next, committed }).encode(&mut marks);
            count += 1;
        }
        let mut head = Vec::new();
        let partitions = state.partitions();
        Frame::Head(Head { version: segment::VERSION, number, partitions, marks: count }).encode(&mut head);
        head.extend_from_slice(&marks);
        head
    }
}
