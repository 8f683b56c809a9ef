//! The thread behind a reader: a member of the topic's group. It fetches, tells the brokers the positions, and gives
//! partitions back when what was handed out of them is finished.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset as Mark, TopicPartitionList};

use super::client::{self, Health};
use super::reader::{Course, Reader};
use super::shelf::Position;
use crate::config::kafka::KafkaOptions;
use crate::metrics;
use crate::pipeline::bus::{Error, Offset, Partition};

/// Records on the shelf above which nothing more is fetched.
const MOST_RECORDS: usize = 4096;
/// How long a full shelf is waited for before the brokers are told to send nothing more.
const FULL: Duration = Duration::from_millis(500);
/// How long one look for records takes, and one when there is something else to look after.
const LOOK: Duration = Duration::from_millis(100);
const SHORT_LOOK: Duration = Duration::from_millis(5);
/// Time before a consumer that failed is made anew.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the library says how far behind it is.
const STATISTICS: &str = "5000";

/// The settings of a group's member.
pub(super) fn config(options: &KafkaOptions, brokers: &str, group: &str) -> ClientConfig {
    let mut config = client::config(options, brokers, "parlor");
    let kilobytes = (options.fetch_bytes / 1024).max(1).to_string();
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", options.session_timeout_millis.to_string())
        .set("heartbeat.interval.ms", (options.session_timeout_millis / 4).max(1).to_string())
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.max.bytes", options.fetch_bytes.to_string())
        .set("message.max.bytes", options.fetch_bytes.min(1_000_000_000).to_string())
        .set("fetch.message.max.bytes", options.fetch_bytes.min(1 << 20).to_string())
        .set("queued.max.messages.kbytes", kilobytes)
        .set("queued.min.messages", MOST_RECORDS.to_string())
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", STATISTICS);
    config
}

/// Runs a member until its reader is told to leave.
pub(super) fn run(reader: &Arc<Reader>, options: &KafkaOptions, config: &ClientConfig, health: &Arc<Health>) {
    while reader.course() == Course::Read {
        let group = Group {
            reader: reader.clone(),
            health: health.clone(),
            wanted: Mutex::new(None),
            closing: AtomicBool::new(false),
        };
        let ended = BaseConsumer::from_config_and_context(config, group).and_then(|consumer| {
            consumer.subscribe(&[&reader.topic.0])?;
            Member { consumer, reader, options, handover: None, paused: false, committed: Instant::now() }.run()
        });
        let partitions = reader.shelf().partitions();
        reader.shelf().let_go(&partitions);
        if let Err(error) = ended {
            tracing::error!(topic = %reader.topic, %error, "a Kafka consumer has failed; a new one takes its place");
            reader.wait_below(|_| false, PAUSE);
        }
    }
    reader.left.send_replace(true);
}

/// What the library calls back.
struct Group {
    reader: Arc<Reader>,
    health: Arc<Health>,
    /// Partitions that the group wants back.
    wanted: Mutex<Option<TopicPartitionList>>,
    /// The member is about to end: nothing is waited for any more.
    closing: AtomicBool,
}

impl ClientContext for Group {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::error(&self.health, &error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let topics = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lag = topics.map(|partition| partition.consumer_lag.max(0)).sum();
        self.reader.lag.store(lag, Ordering::Relaxed);
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = partitions(list);
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(topic = %self.reader.topic, partitions = ?numbers(&partitions), "partitions are given to this node");
            metrics::bus_rebalance("assigned");
            self.reader.shelf().assign(&partitions);
            consumer.incremental_assign(list)
        } else if self.closing.load(Ordering::Acquire) {
            consumer.incremental_unassign(list)
        } else if consumer.assignment_lost() {
            tracing::warn!(topic = %self.reader.topic, partitions = ?numbers(&partitions),
                "partitions are lost: this node was not heard for too long; what it had in work is done again");
            metrics::bus_rebalance("lost");
            self.reader.shelf().let_go(&partitions);
            consumer.incremental_unassign(list)
        } else {
            self.reader.shelf().want_back(&partitions);
            *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(list.clone());
            Ok(())
        };
        if let Err(error) = done {
            tracing::error!(topic = %self.reader.topic, %error, "partitions could not be taken or given back");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        let positions: Vec<Position> = list
            .elements()
            .iter()
            .filter_map(|element| {
                Some((partition(element.partition())?, Offset(element.offset().to_raw()?.try_into().ok()?)))
            })
            .collect();
        if let Err(error) = &result {
            tracing::debug!(topic = %self.reader.topic, %error, "positions were not taken; they are told again");
        }
        self.reader.shelf().told(&positions, result.is_ok());
    }
}

/// Partitions that are to be let go.
struct Handover {
    list: TopicPartitionList,
    partitions: Vec<Partition>,
    deadline: Instant,
}

struct Member<'a> {
    consumer: BaseConsumer<Group>,
    reader: &'a Arc<Reader>,
    options: &'a KafkaOptions,
    handover: Option<Handover>,
    /// The brokers were told to send nothing more.
    paused: bool,
    /// When positions were last told.
    committed: Instant,
}

impl Member<'_> {
    fn run(mut self) -> KafkaResult<()> {
        while !self.may_leave() {
            self.keep_shelf_bounded()?;
            let busy = self.paused || self.handover.is_some() || self.reader.course() != Course::Read;
            self.fetch(if busy { SHORT_LOOK } else { LOOK })?;
            self.hand_over();
            if self.committed.elapsed() >= self.options.commit_interval() {
                self.committed = Instant::now();
                let due = self.reader.shelf().due();
                self.tell(&due, CommitMode::Async);
            }
        }
        self.leave();
        Ok(())
    }

    /// Takes what has come: one look, and then whatever is there already.
    fn fetch(&self, look: Duration) -> KafkaResult<()> {
        let mut look = look;
        for _ in 0..MOST_RECORDS {
            match self.consumer.poll(look) {
                None => break,
                Some(Ok(message)) => {
                    let (Some(partition), Ok(offset)) = (partition(message.partition()), message.offset().try_into())
                    else {
                        continue;
                    };
                    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice).unwrap_or_default();
                    let (key, payload) = (copy(message.key()), copy(message.payload()));
                    self.reader.shelf().put(partition, Offset(offset), key, payload);
                    self.reader.arrived();
                }
                Some(Err(error)) => {
                    self.trouble(error)?;
                    break;
                }
            }
            look = Duration::ZERO;
        }
        Ok(())
    }

    /// Most errors are about a connection, and the library is at it already. What an operator must mend is told; only what
    /// ends the consumer is an error here.
    fn trouble(&self, error: KafkaError) -> KafkaResult<()> {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(error);
        }
        let topic = self.reader.topic.clone();
        if client::is_passing(&error) {
            tracing::debug!(%topic, %error, "Kafka cannot be read now");
        } else {
            self.reader.trouble(Error::Unavailable { topic, reason: error.to_string().into() });
        }
        Ok(())
    }

    /// A full shelf is waited for. When that takes long, nothing more is fetched; else the group would miss us.
    fn keep_shelf_bounded(&mut self) -> KafkaResult<()> {
        let bytes = self.options.fetch_bytes;
        if self.paused {
            if self.reader.wait_below(|shelf| shelf.0 < MOST_RECORDS / 2 && shelf.1 < bytes / 2, Duration::ZERO) {
                self.paused = false;
                self.consumer.resume(&self.consumer.assignment()?)?;
            } else {
                // Partitions that came meanwhile too.
                self.consumer.pause(&self.consumer.assignment()?)?;
            }
        } else if !self.reader.wait_below(|shelf| shelf.0 < MOST_RECORDS && shelf.1 < bytes, FULL) {
            self.paused = true;
            self.consumer.pause(&self.consumer.assignment()?)?;
        }
        Ok(())
    }

    /// Gives back what the group wants, once what was handed out of it is finished, or the time for that is up.
    fn hand_over(&mut self) {
        let wanted = self.consumer.context().wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(list) = wanted {
            let partitions = partitions(&list);
            self.handover = Some(Handover { list, partitions, deadline: Instant::now() + self.options.handover() });
        }
        let Some(Handover { partitions, deadline, .. }) = &self.handover else { return };
        let (lost, idle) = (self.consumer.assignment_lost(), self.reader.shelf().idle(partitions));
        if !idle && !lost && Instant::now() < *deadline && self.reader.course() != Course::Leave {
            return;
        }
        let Some(Handover { list, partitions, .. }) = self.handover.take() else { return };
        let positions = self.reader.shelf().let_go(&partitions);
        if !lost {
            self.tell(&positions, CommitMode::Sync);
        }
        tracing::info!(topic = %self.reader.topic, partitions = ?numbers(&partitions), finished = idle, lost, "partitions are handed over");
        metrics::bus_rebalance(if idle { "handed_over" } else { "handed_over_unfinished" });
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::error!(topic = %self.reader.topic, %error, "partitions could not be given back");
        }
    }

    fn may_leave(&self) -> bool {
        match self.reader.course() {
            Course::Read => false,
            Course::Drain => {
                let shelf = self.reader.shelf();
                self.handover.is_none() && shelf.idle(&shelf.partitions())
            }
            Course::Leave => true,
        }
    }

    /// Tells the brokers how far everything is, and leaves the group, so that nobody has to wait for us.
    fn leave(self) {
        let positions = {
            let mut shelf = self.reader.shelf();
            let partitions = shelf.partitions();
            shelf.let_go(&partitions)
        };
        self.tell(&positions, CommitMode::Sync);
        self.consumer.context().closing.store(true, Ordering::Release);
        let wanted = self.consumer.context().wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(list) = self.handover.map(|handover| handover.list).or(wanted) {
            // The group waits for this answer; what it is when we leave is all the same.
            let _ = self.consumer.incremental_unassign(&list);
        }
        // Dropping it says good-bye to the group.
        drop(self.consumer);
    }

    fn tell(&self, positions: &[Position], mode: CommitMode) {
        if positions.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, next) in positions {
            let (Ok(partition), Ok(next)) = (i32::try_from(partition.0), i64::try_from(next.0)) else { continue };
            // It fails for marks that are no offsets only.
            let _ = list.add_partition_offset(&self.reader.topic.0, partition, Mark::Offset(next));
        }
        match self.consumer.commit(&list, mode) {
            Ok(()) if matches!(mode, CommitMode::Sync) => self.reader.shelf().told(positions, true),
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(topic = %self.reader.topic, %error, "positions could not be told");
                self.reader.shelf().told(positions, false);
            }
        }
    }
}

fn partition(number: i32) -> Option<Partition> {
    u32::try_from(number).ok().map(Partition)
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().filter_map(|element| partition(element.partition())).collect()
}

fn numbers(partitions: &[Partition]) -> Vec<u32> {
    partitions.iter().map(|partition| partition.0).collect()
}
