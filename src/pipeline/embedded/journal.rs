//! The bus's one writer: a thread that takes everything that is in line, writes it at once, syncs once, shows it to the
//! consumers and only then tells the publishers. While it syncs, the next batch gathers; so there is no timer in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::dead_letter::DeadLetters;
use super::log::{self, Extent, Fault, Log};
use super::room::Charge;
use super::segment::{self, Frame, Head, Mark, Position, Stored};
use super::shared::{Counters, Shared};
use super::state::{Held, Moved};
use crate::pipeline::bus::{Error, Offset, Partition, Place, Topic};

/// A batch is written when it has reached this size, though more is in line: it bounds the buffer.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// What the thread is asked. The line is bounded by the bus's room; what comes from inside, by the records in flight.
#[derive(Debug)]
pub(super) enum Command {
    /// Makes a record durable.
    Append(Append),
    /// Makes a line of the dead-letter file durable.
    PutAside { topic: Topic, line: Vec<u8>, reply: oneshot::Sender<Result<(), Error>> },
    /// A consumer's position has moved.
    Positions,
    /// Ends the thread when all before this is done.
    Close,
}

/// A record in line.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) topic: Topic,
    pub(super) partition: u32,
    pub(super) key: Bytes,
    pub(super) payload: Bytes,
    pub(super) charge: Charge,
    pub(super) reply: oneshot::Sender<Result<Place, Error>>,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) log: Log,
    pub(super) letters: DeadLetters,
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Receiver<Command>,
    pub(super) settings: Settings,
    /// The offset that each partition's next record gets.
    pub(super) next: HashMap<Topic, Vec<u64>>,
    /// The next batch begins a segment, however small this one is.
    pub(super) roll: bool,
    pub(super) buffer: Vec<u8>,
    /// Positions have moved and are not in the journal.
    pub(super) positions_due: bool,
    /// No marker stands behind the last records yet. A start can tell damage to them from a torn write only by one.
    pub(super) unsealed: bool,
    /// The disk does not take writes: said once, not at every attempt.
    pub(super) refusing: bool,
}

/// The options that the thread goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) segment_bytes: u64,
    pub(super) journal_bytes: u64,
    pub(super) position_flush: Duration,
}

/// Everything taken from the line at once.
#[derive(Debug, Default)]
struct Round {
    appends: Vec<Append>,
    aside: Vec<(Topic, Vec<u8>, oneshot::Sender<Result<(), Error>>)>,
    bytes: usize,
    quiet: bool,
    close: bool,
}

/// The bus has failed for good, and everybody has been told.
#[derive(Debug)]
struct Failed;

/// However the thread ends, by a panic too, nobody goes on waiting for it.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the journal's thread has panicked");
        }
        self.0.end("it is stopped");
        self.0.done.send_replace(true);
    }
}

impl Journal {
    /// Works until it is told to close or the disk has failed for good.
    pub(super) fn run(mut self) {
        let _ending = Ending(self.shared.clone());
        let mut close = false;
        // What the last process finished may have left files that nobody needs.
        let mut outcome = self.give_back();
        while outcome.is_ok() && !close {
            let round = self.gather();
            close = round.close;
            outcome = self.work(round);
        }
    }

    /// Waits for something to do and takes what else is in line.
    fn gather(&mut self) -> Round {
        let mut round = Round::default();
        if self.positions_due || self.unsealed {
            match self.inbox.recv_timeout(self.settings.position_flush) {
                Ok(command) => self.take(&mut round, command),
                Err(RecvTimeoutError::Timeout) => round.quiet = true,
                Err(RecvTimeoutError::Disconnected) => round.close = true,
            }
        } else {
            match self.inbox.recv() {
                Ok(command) => self.take(&mut round, command),
                Err(_) => round.close = true,
            }
        }
        while !round.close && round.bytes < MAX_BATCH_BYTES {
            match self.inbox.try_recv() {
                Ok(command) => self.take(&mut round, command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => round.close = true,
            }
        }
        round
    }

    fn take(&mut self, round: &mut Round, command: Command) {
        match command {
            Command::Append(append) => {
                round.bytes += append.key.len() + append.payload.len();
                round.appends.push(append);
            }
            Command::PutAside { topic, line, reply } => {
                round.bytes += line.len();
                round.aside.push((topic, line, reply));
            }
            Command::Positions => self.positions_due = true,
            Command::Close => round.close = true,
        }
    }

    fn work(&mut self, round: Round) -> Result<(), Failed> {
        if !round.aside.is_empty() {
            self.put_aside(round.aside);
        }
        if !round.appends.is_empty() {
            self.write_records(round.appends)?;
        }
        if round.quiet || round.close {
            self.write_positions(round.close)?;
        }
        if round.close {
            self.sync()?;
        }
        self.give_back()?;
        Counters::set(&self.shared.counters.segments, self.log.segments());
        Counters::set(&self.shared.counters.journal_bytes, self.log.bytes());
        Ok(())
    }

    fn write_records(&mut self, appends: Vec<Append>) -> Result<(), Failed> {
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

    /// What to tell those whose write the disk did not take; ends the bus if it is not to be trusted any more.
    fn settle(&mut self, fault: Fault) -> Result<Arc<str>, Failed> {
        match fault {
            Fault::Refused(error) => Ok(self.complain(&error)),
            Fault::Broken(what, error) => {
                let path = self.log.path();
                let reason = format!("could not {what} {}: {error}; restart when the disk is well", path.display());
                tracing::error!(reason, "the bus has failed");
                self.shared.fail(&reason);
                Err(Failed)
            }
        }
    }

    /// Makes all that was written durable.
    fn sync(&mut self) -> Result<(), Failed> {
        match self.log.sync() {
            Ok(()) => Ok(()),
            Err(fault) => self.settle(fault).map(|_| ()),
        }
    }

    fn complain(&mut self, error: &std::io::Error) -> Arc<str> {
        Counters::add(&self.shared.counters.write_errors, 1);
        let path = self.log.path();
        let path = path.display();
        let reason = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                format!("no space left for {path}: nothing was accepted; free some space, no restart is needed")
            }
            _ => format!("cannot write {path}: {error}; nothing was accepted"),
        };
        if !std::mem::replace(&mut self.refusing, true) {
            tracing::error!(reason, "the bus takes no records for now");
        }
        reason.into()
    }

    /// Writes a marker and the positions, without records. They need no sync of their own: to lose them is to run records again.
    fn write_positions(&mut self, closing: bool) -> Result<(), Failed> {
        self.begin_batch();
        let moved = self.add_positions();
        if moved.is_empty() && !self.unsealed {
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

    fn begin_batch(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(MAX_BATCH_BYTES);
        self.buffer.resize(segment::MARKER_BYTES, 0);
    }

    fn add_positions(&mut self) -> Vec<Moved> {
        let moved = self.shared.state().moved();
        for Moved { topic, partition, next } in &moved {
            let (topic, partition, next) = (&*topic.0, *partition, *next);
            Frame::Position(Position { topic, partition, next }).encode(&mut self.buffer);
        }
        moved
    }

    /// Writes the batch in the buffer, into a new segment if this one is full.
    fn write(&mut self, sync: bool) -> Result<(), Fault> {
        let active = &self.log.active;
        let full = active.used && active.length + self.buffer.len() as u64 > self.settings.segment_bytes;
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
        if std::mem::replace(&mut self.refusing, false) {
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

    /// Deletes the oldest segments while all of their records are finished, durably so.
    fn give_back(&mut self) -> Result<(), Failed> {
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
        let enough = self.settings.journal_bytes.max(live.saturating_mul(4));
        if self.log.bytes() <= enough || self.refusing {
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

    fn put_aside(&mut self, aside: Vec<(Topic, Vec<u8>, oneshot::Sender<Result<(), Error>>)>) {
        let lines: Vec<u8> = aside.iter().flat_map(|(_, line, _)| line).copied().collect();
        let outcome = self.letters.append(&lines);
        match &outcome {
            Ok(()) => Counters::add(&self.shared.counters.dead_letters, aside.len()),
            Err(_) => Counters::add(&self.shared.counters.write_errors, 1),
        }
        for (topic, _, reply) in aside {
            let failed = |error| Error::Unavailable { topic, reason: format!("dead-letter file: {error}").into() };
            let _ = reply.send(outcome.as_ref().map(|()| ()).map_err(failed));
        }
    }
}

pub(super) fn place<'a>(next: &'a mut HashMap<Topic, Vec<u64>>, topic: &Topic, partition: u32) -> &'a mut u64 {
    let index = partition as usize;
    let offsets = next.entry(topic.clone()).or_default();
    if offsets.len() <= index {
        offsets.resize(index + 1, 0);
    }
    &mut offsets[index]
}
