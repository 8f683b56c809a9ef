//! The bus of a cluster: Kafka. One idempotent producer for the node, one group for each topic.
//!
//! - A receipt resolves when all in-sync brokers have the record (`publisher`).
//! - Records of one key are in one partition, and a partition has one consumer in the group (`poller`, `shelf`).
//! - A position moves when all before it is finished. Partitions change hands when what is in work there is finished; what
//!   was not comes again at the next node.
//! - [`Bus::room`] bounds what is on its way to the brokers. What they have waits with them: consumers take what they can.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all, ready};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use tokio::sync::watch;

use self::client::Health;
use self::publisher::{Outgoing, Publisher};
use self::reader::{Course, KafkaConsumer, Reader};
use self::topics::Wanted;
use crate::config::bus::BusOptions;
use crate::config::kafka::KafkaOptions;
use crate::metrics;
use crate::pipeline::bus::{Bus, Consumer, Error, Receipt, Record, Room, Topic};
use crate::pipeline::room::Ledger;
use crate::pipeline::trace::{self, TRACEPARENT};

mod client;
mod link;
mod poller;
mod publisher;
mod reader;
mod shelf;
mod topics;

pub use self::topics::Error as TopicsError;

/// The topic between nodes, behind the prefix.
pub const BRIDGE: &str = "bridge";
/// The topic of what was put aside, behind the prefix.
pub const DEAD_LETTER: &str = "dead-letter";
/// How often the brokers are asked whether they are there, and how long they have for the answer.
const PROBE: Duration = Duration::from_secs(2);
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// Time before topics that are not ready are looked at again.
const PREPARE_AGAIN: Duration = Duration::from_millis(500);
/// How long closing waits for threads that leave their groups.
const GOODBYE: Duration = Duration::from_secs(5);

/// The bus. Dropping it stops it without waiting; [`Bus::close`] waits.
pub struct KafkaBus(Arc<Inner>);

struct Inner {
    brokers: String,
    options: KafkaOptions,
    prefix: String,
    max_record_bytes: usize,
    ledger: Arc<Ledger>,
    publisher: Publisher,
    health: Arc<Health>,
    readers: Mutex<HashMap<Topic, Reading>>,
    draining: AtomicBool,
    /// Why the bus takes nothing any more.
    ended: watch::Sender<Option<Arc<str>>>,
    /// Dropped, it ends the thread that asks after the brokers.
    probing: Mutex<Option<Sender<()>>>,
}

/// A topic's reader on this node, and its thread.
struct Reading {
    reader: Arc<Reader>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaBus {
    /// A bus on these brokers, `HOST:PORT,…`; `prefix` is what all topics begin with. Does not wait for them.
    ///
    /// # Errors
    /// A setting that the library does not take, such as a file with no certificate in it.
    pub fn open(brokers: &str, prefix: &str, options: &KafkaOptions, bus: &BusOptions) -> Result<Self, KafkaError> {
        let health = Health::new();
        let publisher = Publisher::new(options, brokers, bus.max_record_bytes, health.clone())?;
        let (probing, ended) = mpsc::channel();
        let inner = Arc::new(Inner {
            brokers: brokers.to_owned(),
            options: options.clone(),
            prefix: prefix.to_owned(),
            max_record_bytes: bus.max_record_bytes,
            ledger: Ledger::new(bus.unfinished_bytes),
            publisher,
            health,
            readers: Mutex::default(),
            draining: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            probing: Mutex::new(Some(probing)),
        });
        let asking = inner.clone();
        std::thread::Builder::new()
            .name("parlor-kafka-probe".into())
            .spawn(move || {
                while ended.recv_timeout(PROBE) == Err(RecvTimeoutError::Timeout) {
                    asking.probe();
                }
            })
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self(inner))
    }

    /// Makes the topics that are missing, for these stages by name and a bridge with so many slots, and checks
    /// those that are there. Tries for as long as what is in the way may go away by itself; [`Bus::health`] says meanwhile
    /// what that is.
    ///
    /// # Errors
    /// [`TopicsError`] names the topic, what it has, what is wanted, and what to do.
    pub async fn prepare(&self, stages: &[String], slots: u32) -> Result<(), TopicsError> {
        loop {
            match self.prepare_once(stages, slots).await {
                Err(error) if error.passes() => self.0.health.preparing(Some(error.to_string())),
                done => {
                    self.0.health.preparing(None);
                    return done;
                }
            }
            tokio::time::sleep(PREPARE_AGAIN).await;
        }
    }

    /// The same, once.
    ///
    /// # Errors
    /// [`TopicsError`]; [`TopicsError::passes`] says whether to try again.
    pub async fn prepare_once(&self, stages: &[String], slots: u32) -> Result<(), TopicsError> {
        let inner = &self.0;
        let plans = topics::plans(&inner.prefix, stages, slots, &inner.options);
        let wanted = Wanted {
            replication: inner.options.replication,
            min_in_sync: inner.options.min_in_sync,
            max_message_bytes: publisher::largest_batch(inner.max_record_bytes),
        };
        let config = client::config(&inner.options, &inner.brokers, "parlor-admin");
        topics::prepare(&config, &inner.health, &plans, wanted).await?;
        inner.health.heard(Ok(()));
        Ok(())
    }
}

impl Inner {
    fn topic(&self, name: &str) -> Topic {
        Topic::from(format!("{}.{name}", self.prefix).as_str())
    }

    fn probe(&self) {
        let answer = self.publisher.probe(&self.topic(DEAD_LETTER).0, PROBE_LIMIT);
        if let Ok(brokers) = answer {
            metrics::bus_brokers(brokers as f64);
        }
        self.health.heard(answer.map(drop).map_err(|error| error.to_string()));
    }

    fn open(&self) -> Result<(), Error> {
        self.ended.borrow().as_ref().map_or(Ok(()), |why| Err(Error::Closed(why.clone())))
    }

    fn closed(&self) -> Error {
        Error::Closed(self.ended.borrow().clone().unwrap_or_else(|| "it is stopped".into()))
    }

    fn fits(&self, bytes: usize) -> Result<(), Error> {
        let limit = self.max_record_bytes;
        if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
    }

    /// Puts a record in line; the answer comes when the brokers have it.
    fn answer(&self, outgoing: Outgoing<'_>) -> Receipt {
        let topic = outgoing.topic.clone();
        let answer = self.publisher.publish(outgoing);
        async move {
            let lost = Error::Unavailable { topic, reason: "the producer has ended".into() };
            answer.await.unwrap_or(Err(lost))
        }
        .boxed()
    }

    fn publish(&self, room: Room, topic: &Topic, key: &Bytes, payload: &Bytes) -> Result<Receipt, Error> {
        self.open()?;
        let bytes = key.len() + payload.len();
        self.fits(bytes)?;
        let charge = Some(self.ledger.enter(room, bytes));
        let traceparent = trace::parent(payload, topic);
        let headers = traceparent.map(|value| {
            OwnedHeaders::new_with_capacity(1).insert(Header { key: TRACEPARENT, value: Some(value.as_str()) })
        });
        Ok(self.answer(Outgoing { topic, partition: None, key, payload, headers, charge }))
    }

    fn subscribe(self: &Arc<Self>, topic: &Topic) -> Result<Arc<Reader>, Error> {
        self.open()?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = readers.get_mut(topic);
        if before.as_ref().is_some_and(|reading| reading.reader.course() != Course::Leave) {
            return Err(Error::AlreadySubscribed(topic.clone()));
        }
        // It leaves the group first: what it finished is told by then.
        let before = before.and_then(|reading| reading.thread.take());
        let reader = Reader::new(topic.clone());
        if self.draining.load(Ordering::Acquire) {
            reader.steer(Course::Drain);
        }
        let (inner, running) = (self.clone(), reader.clone());
        let name = format!("parlor-{}", topic.0.chars().take(8).collect::<String>());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            let config = poller::config(&inner.options, &inner.brokers, &running.topic.0);
            poller::run(&running, &inner.options, &config, &inner.health);
        });
        let unavailable = |error: std::io::Error| Error::Unavailable {
            topic: topic.clone(),
            reason: format!("no thread can be had: {error}").into(),
        };
        let thread = Some(thread.map_err(unavailable)?);
        readers.insert(topic.clone(), Reading { reader: reader.clone(), thread });
        Ok(reader)
    }

    /// Stops publishers and consumers; the first reason given stands.
    fn end(&self, why: &str) {
        let why: Arc<str> = why.into();
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert_with(|| why.clone());
            first
        });
        self.ledger.close();
        self.probing.lock().unwrap_or_else(PoisonError::into_inner).take();
        for reading in self.readers.lock().unwrap_or_else(PoisonError::into_inner).values() {
            reading.reader.close(&why);
        }
    }

    fn all_readers(&self) -> Vec<Arc<Reader>> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.values().map(|reading| reading.reader.clone()).collect()
    }
}

impl Bus for KafkaBus {
    fn room(&self, bytes: usize) -> BoxFuture<'static, Result<Room, Error>> {
        if let Err(error) = self.0.open().and_then(|()| self.0.fits(bytes)) {
            return ready(Err(error)).boxed();
        }
        let inner = self.0.clone();
        async move { inner.ledger.clone().wait(bytes).await.ok_or_else(|| inner.closed()) }.boxed()
    }

    fn publish(&self, room: Room, topic: &Topic, key: Bytes, payload: Bytes) -> Receipt {
        self.0.publish(room, topic, &key, &payload).unwrap_or_else(|error| ready(Err(error)).boxed())
    }

    fn subscribe(&self, topic: &Topic) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(KafkaConsumer(self.0.subscribe(topic)?)))
    }

    fn dead_letter(&self, record: &Record, reason: &str) -> BoxFuture<'static, Result<(), Error>> {
        if let Err(error) = self.0.open() {
            return ready(Err(error)).boxed();
        }
        let (partition, offset) = (record.place.partition.0.to_string(), record.place.offset.0.to_string());
        let named =
            [("reason", reason), ("topic", &record.place.topic.0), ("partition", &partition), ("offset", &offset)];
        let headers = named.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_bytes()) })
        });
        let topic = self.0.topic(DEAD_LETTER);
        let (key, payload) = (&record.key, &record.payload);
        let outgoing = Outgoing { topic: &topic, partition: None, key, payload, headers: Some(headers), charge: None };
        self.0.answer(outgoing).map(|answer| answer.map(drop)).boxed()
    }

    fn drain(&self) -> BoxFuture<'static, ()> {
        self.0.draining.store(true, Ordering::Release);
        let readers = self.0.all_readers();
        for reader in &readers {
            reader.steer(Course::Drain);
        }
        async move {
            let left = readers.iter().map(|reader| {
                let mut left = reader.left.subscribe();
                async move { left.wait_for(|left| *left).await.map(drop) }
            });
            join_all(left).await;
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.end("it is stopped");
        let inner = self.0.clone();
        async move {
            let readers = inner.all_readers();
            let left = readers.iter().map(|reader| {
                let mut left = reader.left.subscribe();
                async move { left.wait_for(|left| *left).await.map(drop) }
            });
            if tokio::time::timeout(GOODBYE, join_all(left)).await.is_err() {
                tracing::warn!("the brokers do not take our leave: the group waits until it misses us");
            }
            let limit = inner.options.delivery_timeout();
            // It fails only when the process ends.
            let _ = tokio::task::spawn_blocking(move || inner.publisher.flush(limit)).await;
        }
        .boxed()
    }

    fn failed(&self) -> BoxFuture<'static, Arc<str>> {
        // Whatever fails is made anew, and tried for as long as it takes.
        std::future::pending().boxed()
    }

    fn health(&self) -> Result<(), Arc<str>> {
        self.0.health.word(Instant::now())
    }

    fn measure(&self) {
        let counters = self.0.publisher.counters();
        metrics::queue_length(self.0.ledger.bytes() as f64, "bus_bytes");
        metrics::bus_records(counters.taken.load(Ordering::Relaxed));
        metrics::bus_write_errors(counters.refused.load(Ordering::Relaxed));
        metrics::bus_producers_renewed(counters.renewed.load(Ordering::Relaxed));
        metrics::bus_up(if self.health().is_ok() { 1.0 } else { 0.0 });
        let (mut partitions, mut fetched, mut in_work) = (0, 0, 0);
        for reader in self.0.all_readers() {
            let shelf = reader.shelf();
            partitions += shelf.partitions().len();
            fetched += shelf.fetched().0;
            in_work += shelf.in_work();
            metrics::bus_lag_records(reader.lag.load(Ordering::Relaxed) as f64, reader.topic.to_string());
        }
        metrics::bus_partitions(partitions as f64);
        metrics::bus_unfinished_records(self.0.ledger.records() as f64 + fetched as f64 + in_work as f64);
    }
}

impl Drop for KafkaBus {
    fn drop(&mut self) {
        self.0.end("it is stopped");
    }
}
