//! The bus of a server that stands alone: one journal in the data folder, one thread that writes it.
//!
//! What is promised and how: a receipt resolves when the record's batch has been synced (`journal`); a file's every
//! byte is covered by a checksum, and a start tells a torn tail from lost records (`segment`, `recovery`); what is not
//! finished stays in memory within a bound (`state`, `room`). Two processes must not open one folder: whoever holds the
//! data folder's lock is the one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::oneshot;

use self::consumer::EmbeddedConsumer;
use self::dead_letter::DeadLetters;
use self::journal::{Append, Command, Journal, PutAside};
use self::recovery::Recovered;
use self::shared::Shared;
use crate::clock::Clock;
use crate::config::bus::BusOptions;
use crate::metrics;
use crate::pipeline::bus::{self, Bus, Consumer, Receipt, Record, Room, Topic};
use crate::pipeline::room::Ledger;

mod consumer;
mod dead_letter;
mod journal;
mod log;
mod recovery;
mod segment;
mod shared;
mod state;

pub use self::shared::BusStats;

/// The journal's folder within the data folder.
pub const FOLDER_NAME: &str = "bus";

/// Time between two looks whether the bus is empty.
const LOOK: Duration = Duration::from_millis(20);

/// Why the bus could not be opened. Nothing that was ever acknowledged has been changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be.
    #[error(transparent)]
    Options(#[from] crate::config::bus::Error),
    /// The disk said no.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Messages whose senders saw them accepted cannot be read any more.
    #[error(
        "{} is damaged at byte {byte}: {detail}. It holds accepted messages, so the start is refused. Restore the folder \
         from a copy; or, to go on without what it holds, move all its .log files away", .file.display()
    )]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where the damage begins.
        byte: u64,
        /// What is wrong there.
        detail: String,
    },
    /// Another Parlor has written the journal.
    #[error(
        "{} has format {found}, this Parlor reads format {}: start the version that wrote it, drain it, then upgrade",
        .file.display(), segment::VERSION
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u16,
    },
}

impl Error {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.into(), source }
    }

    fn corrupt(file: PathBuf, byte: usize, detail: &str) -> Self {
        Self::Corrupt { file, byte: byte as u64, detail: detail.into() }
    }
}

/// The embedded bus. Dropping it stops it without waiting; [`Bus::close`] waits.
#[derive(Debug)]
pub struct EmbeddedBus {
    shared: Arc<Shared>,
    journal: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: Clock,
    partitions: u32,
    max_record_bytes: usize,
}

impl EmbeddedBus {
    /// Opens the bus in its own folder, makes it if there is none, and queues what is not finished. Blocks while it
    /// reads the journal.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(folder: &Path, options: &BusOptions, clock: Clock) -> Result<Self, Error> {
        options.check()?;
        std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
        if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            log::sync_folder(parent).map_err(|source| Error::io("sync", parent, source))?;
        }
        let ledger = Ledger::new(options.unfinished_bytes);
        let recovered = recovery::recover(folder, options.partitions, &ledger)?;
        let letters = DeadLetters::open(folder, options.dead_letter_bytes)
            .map_err(|source| Error::io("open", &folder.join(dead_letter::FILE_NAME), source))?;
        let bus = Self::start(recovered, letters, ledger, options, clock);
        bus.map_err(|source| Error::io("start the thread for", folder, source))
    }

    /// Whether a journal that nobody writes could be taken up; what a crash or a copy left torn at its end is cut off.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(folder: &Path) -> Result<(), Error> {
        let options = BusOptions::default();
        recovery::recover(folder, options.partitions, &Ledger::new(options.unfinished_bytes)).map(drop)
    }

    fn start(
        recovered: Recovered,
        letters: DeadLetters,
        ledger: Arc<Ledger>,
        options: &BusOptions,
        clock: Clock,
    ) -> io::Result<Self> {
        let (partitions, max_record_bytes) = (recovered.state.partitions(), options.max_record_bytes);
        let (sender, inbox) = mpsc::channel();
        let journal = Journal::new(recovered, letters, ledger, inbox, options);
        let shared = journal.shared.clone();
        let thread = std::thread::Builder::new().name("parlor-bus".into()).spawn(move || journal.run())?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { shared, journal: sender, thread, clock, partitions, max_record_bytes })
    }

    /// How the bus stands.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        self.shared.stats()
    }

    fn fits(&self, bytes: usize) -> Result<(), bus::Error> {
        let limit = self.max_record_bytes;
        if bytes > limit { Err(bus::Error::TooLarge { bytes, limit }) } else { self.shared.open() }
    }

    fn append(&self, room: Room, topic: &Topic, key: Bytes, payload: Bytes) -> Result<Receipt, bus::Error> {
        let bytes = key.len() + payload.len();
        self.fits(bytes)?;
        if topic.0.len() > segment::MAX_TOPIC_BYTES {
            let reason = format!("a topic's name has at most {} bytes", segment::MAX_TOPIC_BYTES).into();
            return Err(bus::Error::Unavailable { topic: topic.clone(), reason });
        }
        let charge = self.shared.ledger.enter(room, bytes);
        // The same in every version and on every machine: a key must find its partition again after an upgrade.
        let partition = crc32fast::hash(&key) % self.partitions;
        let (reply, answer) = oneshot::channel();
        let append = Append { topic: topic.clone(), partition, key, payload, charge, reply };
        self.journal.send(Command::Append(append)).map_err(|_| self.shared.closed())?;
        let shared = self.shared.clone();
        Ok(async move { answer.await.unwrap_or_else(|_| Err(shared.closed())) }.boxed())
    }
}

impl Bus for EmbeddedBus {
    fn room(&self, bytes: usize) -> BoxFuture<'static, Result<Room, bus::Error>> {
        if let Err(error) = self.fits(bytes) {
            return ready(Err(error)).boxed();
        }
        let shared = self.shared.clone();
        async move { shared.ledger.clone().wait(bytes).await.ok_or_else(|| shared.closed()) }.boxed()
    }

    fn publish(&self, room: Room, topic: &Topic, key: Bytes, payload: Bytes) -> Receipt {
        self.append(room, topic, key, payload).unwrap_or_else(|error| ready(Err(error)).boxed())
    }

    fn subscribe(&self, topic: &Topic) -> Result<Box<dyn Consumer>, bus::Error> {
        Ok(Box::new(EmbeddedConsumer::new(topic, self.shared.clone(), self.journal.clone())?))
    }

    fn dead_letter(&self, record: &Record, reason: &str) -> BoxFuture<'static, Result<(), bus::Error>> {
        let topic = record.place.topic.clone();
        let line = match dead_letter::line(self.clock.now(), record, reason) {
            Ok(line) => line,
            Err(error) => {
                return ready(Err(bus::Error::Unavailable { topic, reason: error.to_string().into() })).boxed();
            }
        };
        let (reply, answer) = oneshot::channel();
        let sent =
            self.shared.open().is_ok() && self.journal.send(Command::PutAside(PutAside { topic, line, reply })).is_ok();
        let shared = self.shared.clone();
        async move {
            match answer.await {
                Ok(outcome) if sent => outcome,
                _ => Err(shared.closed()),
            }
        }
        .boxed()
    }

    fn drain(&self) -> BoxFuture<'static, ()> {
        let shared = self.shared.clone();
        async move {
            while shared.ledger.records() > 0 && shared.open().is_ok() {
                tokio::time::sleep(LOOK).await;
            }
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.shared.end("it is stopped");
        // A thread that has ended already has nothing left to close.
        let _ = self.journal.send(Command::Close);
        let mut done = self.shared.done.subscribe();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            let _ = done.wait_for(|done| *done).await;
            // It has written its last byte and is only handing its stack back.
            if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
        .boxed()
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        let mut failed = self.shared.failed.subscribe();
        async move {
            if let Ok(reason) = failed.wait_for(Option::is_some).await
                && let Some(reason) = reason.clone()
            {
                return reason;
            }
            std::future::pending().await
        }
        .boxed()
    }

    fn health(&self) -> Result<(), Arc<str>> {
        if self.stats().refusing {
            return Err("the disk is full or does not take writes: messages are refused until it does".into());
        }
        Ok(())
    }

    fn measure(&self) {
        let stats = self.stats();
        metrics::queue_length(stats.unfinished_bytes as f64, "bus_bytes");
        metrics::bus_unfinished_records(stats.unfinished_records as f64);
        metrics::bus_segments(stats.segments as f64);
        metrics::bus_records(stats.records);
        metrics::bus_batches(stats.batches);
        metrics::bus_write_errors(stats.write_errors);
    }
}

impl Drop for EmbeddedBus {
    fn drop(&mut self) {
        self.shared.end("it is stopped");
        let _ = self.journal.send(Command::Close);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use futures_util::future::join_all;

    use super::*;

    /// A bus whose journal writes to this device.
    fn on(device: &str, home: &Path) -> EmbeddedBus {
        let (options, ledger) = (BusOptions::default(), Ledger::new(1000));
        let mut recovered = recovery::recover(home, 1, &ledger).unwrap();
        recovered.log.active.file = File::options().write(true).open(device).unwrap();
        let letters = DeadLetters::open(home, 1000).unwrap();
        EmbeddedBus::start(recovered, letters, ledger, &options, Clock::system()).unwrap()
    }

    async fn fails_for_good(bus: &EmbeddedBus, word: &str) {
        let topic = Topic::from("t");
        let mut consumer = bus.subscribe(&topic).unwrap();
        let receipts = (0..3).map(|_| bus.publish(Room(None), &topic, "k".into(), "lost".into())).collect::<Vec<_>>();
        for outcome in join_all(receipts).await {
            assert!(matches!(outcome, Err(bus::Error::Closed(reason)) if reason.contains(word)));
        }
        assert!(bus.failed().await.contains(word));
        assert!(matches!(consumer.receive(1).await, Err(bus::Error::Closed(reason)) if reason.contains(word)));
        assert!(matches!(bus.room(1).await, Err(bus::Error::Closed(_))));
        bus.close().await;
        assert!(bus.failed().await.contains(word), "known to whoever asks late");
    }

    #[tokio::test]
    async fn a_failed_sync_ends_the_bus_for_good() {
        let home = tempfile::tempdir().unwrap();
        // It takes every write and cannot be synced.
        fails_for_good(&on("/dev/null", home.path()), "could not sync").await;
    }

    #[tokio::test]
    async fn a_refused_write_that_cannot_be_cut_off_ends_the_bus_for_good() {
        let home = tempfile::tempdir().unwrap();
        // It is always full and cannot be shortened.
        fails_for_good(&on("/dev/full", home.path()), "could not cut a failed write off").await;
    }

    #[tokio::test]
    async fn a_bus_that_is_well_does_not_fail_by_being_closed() {
        let home = tempfile::tempdir().unwrap();
        let bus = EmbeddedBus::open(home.path(), &BusOptions::default(), Clock::system()).unwrap();
        let failed = bus.failed();
        bus.close().await;
        assert!(failed.now_or_never().is_none());
    }
}
