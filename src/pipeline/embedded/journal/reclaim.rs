//! Gives the journal's oldest files back to the disk.

use super::{Failed, Journal};
use crate::pipeline::embedded::log::{self, Extent};
use crate::pipeline::embedded::segment::{self, Frame, Stored};
use crate::pipeline::embedded::shared::Counters;

impl Journal {
    /// Deletes the oldest segments while all of their records are finished, durably so.
    pub(super) fn give_back(&mut self) -> Result<(), Failed> {
        let mut carried = false;
        while let Some(oldest) = self.log.sealed.front() {
            let state = self.shared.state();
            let finished = oldest.extent.iter().all(|((topic, partition), (_, end))| {
                state.part(topic, *partition).is_some_and(|part| part.written >= *end)
            });
            drop(state);
            // One a round, so that publishers never wait for more than one.
            if !finished && (std::mem::replace(&mut carried, true) || !self.carry_forward()?) {
                break;
            }
            self.sync()?;
            if let Err(error) = self.log.delete_oldest() {
                tracing::warn!(%error, "cannot delete a finished segment of the bus; trying again later");
                break;
            }
        }
        Ok(())
    }

    /// Copies what is unfinished in the oldest segment to the end, if the journal is over its size: one record that
    /// takes an hour must not keep an hour's files. Says whether the segment can go.
    fn carry_forward(&mut self) -> Result<bool, Failed> {
        // A journal that is mostly unfinished would be copied round and round for nothing.
        let ledger = &self.shared.ledger;
        let live = ledger.bytes().saturating_add(ledger.records().saturating_mul(segment::MAX_RECORD_OVERHEAD));
        let enough = self.options.journal_bytes.max(live.saturating_mul(4));
        if self.log.bytes() <= enough || self.refusing.is_some() {
            return Ok(false);
        }
        self.begin_batch();
        let mut carried = Extent::new();
        let mut count = 0;
        if let Some(oldest) = self.log.sealed.front() {
            let state = self.shared.state();
            for ((topic, partition), &(first, end)) in &oldest.extent {
                for (offset, held) in state.unfinished(topic, *partition, first, end) {
                    let (name, key, payload) = (&*topic.0, &*held.key, &*held.payload);
                    let stored = Stored { topic: name, partition: *partition, offset, key, payload };
                    Frame::Record(stored).encode(&mut self.buffer);
                    log::extend(&mut carried, topic, *partition, offset);
                    count += 1;
                }
            }
        }
        // After the records: a position that moves meanwhile may only be further on than what was copied.
        let moved = self.add_positions();
        if let Err(fault) = self.write(true) {
            return self.settle(fault).map(|_| false);
        }
        self.shared.state().written(&moved);
        self.unsealed = true;
        for ((topic, partition), (first, end)) in carried {
            log::extend(&mut self.log.active.extent, &topic, partition, first);
            log::extend(&mut self.log.active.extent, &topic, partition, end - 1);
        }
        Counters::add(&self.shared.counters.carried, count);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::super::Append;
    use super::*;
    use crate::config::bus::BusOptions;
    use crate::pipeline::bus::{Offset, Partition, Room, Topic};
    use crate::pipeline::embedded::dead_letter::DeadLetters;
    use crate::pipeline::embedded::recovery::recover;
    use crate::pipeline::room::Ledger;

    /// A journal without its thread, so that the test says what happens when.
    fn journal(home: &Path) -> Journal {
        let options = BusOptions { segment_bytes: 1024, journal_bytes: 2048, ..BusOptions::default() };
        let ledger = Ledger::new(1 << 20);
        let recovered = recover(home, 1, &ledger).unwrap();
        let letters = DeadLetters::open(home, 1000).unwrap();
        Journal::new(recovered, letters, ledger, mpsc::channel().1, &options)
    }

    fn write(journal: &mut Journal, topic: &Topic, length: usize) {
        let (topic, payload) = (topic.clone(), Bytes::from(vec![b'x'; length]));
        let charge = journal.shared.ledger.enter(Room(None), length);
        let append = Append { topic, partition: 0, key: Bytes::new(), payload, charge, reply: oneshot::channel().0 };
        journal.write_records(vec![append]).unwrap();
    }

    #[test]
    fn a_position_that_moves_between_a_batch_and_the_copying_leaves_no_gap() {
        let home = tempfile::tempdir().unwrap();
        let mut journal = journal(home.path());
        let (slow, fast) = (Topic::from("slow"), Topic::from("fast"));
        write(&mut journal, &slow, 10);
        write(&mut journal, &slow, 10);
        for _ in 0..12 {
            write(&mut journal, &fast, 700);
        }
        journal.shared.state().commit(&fast, Partition(0), Offset(12));
        // Finished in memory and nowhere else when its segment is given back.
        journal.shared.state().commit(&slow, Partition(0), Offset(1));
        journal.give_back().unwrap();
        assert_eq!(journal.shared.stats().carried, 1);
        drop(journal);
        let recovered = recover(home.path(), 1, &Ledger::new(1 << 20)).unwrap();
        let part = recovered.state.part(&slow, 0).unwrap();
        assert_eq!((part.committed, part.next()), (1, 2));
    }
}
