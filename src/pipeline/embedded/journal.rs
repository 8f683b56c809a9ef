//! The bus's one writer: a thread that takes everything that is in line, writes it at once, syncs once, shows it to the
//! consumers and only then tells the publishers. While it syncs, the next batch gathers; so there is no timer in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::dead_letter::DeadLetters;
use super::log::{Fault, Log};
use super::recovery::Recovered;
use super::shared::{Counters, Shared};
use crate::config::bus::BusOptions;
use crate::pipeline::bus::{Error, Place, Topic};
use crate::pipeline::room::{Charge, Ledger};

mod batch;
mod reclaim;

/// A batch is written when it has reached this size, though more is in line: it bounds the buffer.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// What the thread is asked. The line is bounded by the bus's room; what comes from inside, by the records in flight.
#[derive(Debug)]
pub(super) enum Command {
    /// Makes a record durable.
    Append(Append),
    /// Makes a line of the dead-letter file durable.
    PutAside(PutAside),
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

/// A dead letter in line.
#[derive(Debug)]
pub(super) struct PutAside {
    pub(super) topic: Topic,
    pub(super) line: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<(), Error>>,
}

/// The thread's own.
#[derive(Debug)]
pub(super) struct Journal {
    log: Log,
    letters: DeadLetters,
    pub(super) shared: Arc<Shared>,
    inbox: Receiver<Command>,
    options: BusOptions,
    /// The offset that each partition's next record gets.
    next: HashMap<Topic, Vec<u64>>,
    /// The next batch begins a segment, however small this one is.
    roll: bool,
    buffer: Vec<u8>,
    /// Positions have moved and are not in the journal.
    positions_due: bool,
    /// No marker stands behind the last records yet. A start can tell damage to them from a torn write only by one.
    unsealed: bool,
    /// The most bytes that the disk did not take, since it stopped taking writes: said once, not at every attempt.
    refusing: Option<usize>,
}

/// Everything taken from the line at once.
#[derive(Debug, Default)]
struct Round {
    appends: Vec<Append>,
    aside: Vec<PutAside>,
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
    /// Goes on with the journal as it was found.
    pub(super) fn new(
        recovered: Recovered,
        letters: DeadLetters,
        ledger: Arc<Ledger>,
        inbox: Receiver<Command>,
        options: &BusOptions,
    ) -> Self {
        let Recovered { log, state, roll } = recovered;
        let mut next = HashMap::new();
        for (topic, partition, part) in state.parts() {
            *place(&mut next, topic, partition) = part.next();
        }
        let shared = Shared::new(state, ledger);
        let journal = Self {
            log,
            letters,
            shared,
            inbox,
            options: options.clone(),
            next,
            roll,
            buffer: Vec::new(),
            positions_due: false,
            unsealed: false,
            refusing: None,
        };
        journal.count_files();
        journal
    }

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
        // While the disk takes nothing it is tried by itself: nobody may be sending who would find it well again.
        if self.positions_due || self.unsealed || self.refusing.is_some() {
            match self.inbox.recv_timeout(self.options.position_flush()) {
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
            Command::PutAside(letter) => {
                round.bytes += letter.line.len();
                round.aside.push(letter);
                // Else a stream of dead letters alone would keep positions from ever being written.
                round.quiet = true;
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
        self.count_files();
        Ok(())
    }

    fn count_files(&self) {
        Counters::set(&self.shared.counters.segments, self.log.segments());
        Counters::set(&self.shared.counters.journal_bytes, self.log.bytes());
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
        let most = self.refusing.unwrap_or_default().max(self.buffer.len());
        if self.refusing.replace(most).is_none() {
            Counters::set(&self.shared.counters.refusing, 1);
            tracing::error!(reason, "the bus takes no records for now");
        }
        reason.into()
    }

    /// Dead letters: one write and one sync for all that are in line. A failed sync of theirs is no end of the bus:
    /// what was synced before stays, and who is told of the failure writes the line anew.
    fn put_aside(&mut self, aside: Vec<PutAside>) {
        let lines: Vec<u8> = aside.iter().flat_map(|letter| &letter.line).copied().collect();
        let reason: Option<Arc<str>> = match self.letters.append(&lines) {
            Ok(()) => {
                Counters::add(&self.shared.counters.dead_letters, aside.len());
                None
            }
            Err(error) => {
                Counters::add(&self.shared.counters.write_errors, 1);
                Some(format!("the file of dead letters: {error}").into())
            }
        };
        for PutAside { topic, reply, .. } in aside {
            let outcome = reason.clone().map_or(Ok(()), |reason| Err(Error::Unavailable { topic, reason }));
            let _ = reply.send(outcome);
        }
    }
}

/// Where a partition's next offset is kept.
fn place<'a>(next: &'a mut HashMap<Topic, Vec<u64>>, topic: &Topic, partition: u32) -> &'a mut u64 {
    let index = partition as usize;
    let offsets = next.entry(topic.clone()).or_default();
    if offsets.len() <= index {
        offsets.resize(index + 1, 0);
    }
    &mut offsets[index]
}
