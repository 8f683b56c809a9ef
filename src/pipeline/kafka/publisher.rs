//! The writing end: records go out in the order of the calls, and each is answered for when the brokers have it safely.
//!
//! The producer is idempotent: what is sent again after a lost answer stands there once, and in its place. Should the
//! library ever lose track of that (it calls such an error fatal), a new producer takes over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{self, Health};
use crate::config::kafka::KafkaOptions;
use crate::pipeline::bus::{Error, Offset, Partition, Place, Topic};
use crate::pipeline::room::Charge;

/// Bytes that the library may hold; the bus's own bound is far below, except for what is inside and must move on.
const LIBRARY_KILOBYTES: &str = "2097151";
/// How long a record of batches may be at most on the way, beside its own bytes.
pub(super) const RECORD_OVERHEAD: usize = 4096;
/// The library gathers batches up to so many bytes, even of small records.
const BATCH_BYTES: usize = 1_000_000;

/// The largest batch that is sent: a topic must take it.
pub(super) fn largest_batch(max_record_bytes: usize) -> usize {
    (max_record_bytes + RECORD_OVERHEAD).max(BATCH_BYTES)
}

/// What is to be written.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a Topic,
    /// Without one, the key decides.
    pub(super) partition: Option<u32>,
    pub(super) key: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) headers: Option<OwnedHeaders>,
    /// Its part of the bound on unfinished bytes.
    pub(super) charge: Option<Charge>,
}

/// What became of a record, once that is known.
pub(super) type Answer = oneshot::Receiver<Result<Place, Error>>;

type Producer = ThreadedProducer<Reports>;

/// The producer of this node.
pub(super) struct Publisher {
    config: ClientConfig,
    reports: Reports,
    current: Mutex<Arc<Producer>>,
}

/// Counted since the bus was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) renewed: AtomicU64,
}

/// A record that the library has.
pub(super) struct InFlight {
    topic: Topic,
    bytes: usize,
    reply: oneshot::Sender<Result<Place, Error>>,
    charge: Option<Charge>,
}

impl Publisher {
    pub(super) fn new(
        options: &KafkaOptions,
        brokers: &str,
        max_record_bytes: usize,
        health: Arc<Health>,
    ) -> Result<Self, KafkaError> {
        let mut config = client::config(options, brokers, "parlor");
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Java's: whoever publishes with Java's defaults finds the same partitions.
            .set("partitioner", "murmur2_random")
            .set("linger.ms", options.linger_millis.to_string())
            .set("batch.size", BATCH_BYTES.to_string())
            .set("message.max.bytes", largest_batch(max_record_bytes).to_string())
            .set("message.timeout.ms", options.delivery_timeout_millis.to_string())
            .set("request.timeout.ms", options.delivery_timeout_millis.min(5_000).to_string())
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", LIBRARY_KILOBYTES);
        let reports = Reports { health, counters: Arc::default() };
        let current = Mutex::new(Arc::new(Producer::from_config_and_context(&config, reports.clone())?));
        Ok(Self { config, reports, current })
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.reports.counters
    }

    /// Puts a record in line. The order of calls is the order within a partition.
    pub(super) fn publish(&self, outgoing: Outgoing<'_>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let bytes = outgoing.key.len() + outgoing.payload.len();
        let in_flight = InFlight { topic: outgoing.topic.clone(), bytes, reply, charge: outgoing.charge };
        let mut record = BaseRecord::with_opaque_to(&outgoing.topic.0, Box::new(in_flight))
            .key(outgoing.key)
            .payload(outgoing.payload);
        record.headers = outgoing.headers;
        record.partition = outgoing.partition.and_then(|partition| i32::try_from(partition).ok());
        // Under the lock, so that nothing goes by way of an old producer when there is a new one.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err((error, record)) = current.send(record) {
            let Some(next) = self.renewed(&current) else {
                self.reports.settle(Err((&error, None)), *record.delivery_opaque);
                return answer;
            };
            let old = std::mem::replace(&mut *current, Arc::new(next));
            // It joins a thread and flushes: not here.
            let _ = std::thread::Builder::new().name("parlor-kafka-old".into()).spawn(move || drop(old));
            if let Err((error, record)) = current.send(record) {
                self.reports.settle(Err((&error, None)), *record.delivery_opaque);
            }
        }
        answer
    }

    /// Another producer, when the present one has come to an end for good.
    fn renewed(&self, current: &Producer) -> Option<Producer> {
        let (code, reason) = current.client().fatal_error()?;
        tracing::error!(%code, reason, "the Kafka producer has failed for good; a new one takes its place");
        self.reports.counters.renewed.fetch_add(1, Ordering::Relaxed);
        Producer::from_config_and_context(&self.config, self.reports.clone())
            .inspect_err(|error| tracing::error!(%error, "there is no new Kafka producer; it is tried again"))
            .ok()
    }

    /// Asks the brokers for something small: how many of them are alive. Blocks for as long as `limit`.
    pub(super) fn probe(&self, topic: &str, limit: Duration) -> Result<usize, KafkaError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.client().fetch_metadata(Some(topic), limit).map(|metadata| metadata.brokers().len())
    }

    /// Waits until all that is in line is answered for. Blocks for as long as `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = current.flush(limit) {
            tracing::warn!(%error, "Kafka did not take all records before the end; their senders were not told that it had");
        }
    }
}

/// Answers for what was sent.
#[derive(Clone)]
pub(super) struct Reports {
    health: Arc<Health>,
    counters: Arc<Counters>,
}

impl Reports {
    fn settle(&self, outcome: Result<(i32, i64), (&KafkaError, Option<i32>)>, in_flight: InFlight) {
        let InFlight { topic, bytes, reply, charge } = in_flight;
        drop(charge);
        let answer = match outcome {
            Ok((partition, offset)) => {
                self.counters.taken.fetch_add(1, Ordering::Relaxed);
                self.health.taken();
                // A record that was written and whose answer was lost is known to be there, but not where.
                let offset = Offset(u64::try_from(offset).unwrap_or(u64::MAX));
                Ok(Place { topic, partition: Partition(u32::try_from(partition).unwrap_or(u32::MAX)), offset })
            }
            Err((error, partition)) => {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                Err(self.refusal(error, topic, partition, bytes))
            }
        };
        // Who does not wait for it does not hear of it.
        let _ = reply.send(answer);
    }

    fn refusal(&self, error: &KafkaError, topic: Topic, partition: Option<i32>, bytes: usize) -> Error {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
            tracing::error!(%topic, bytes, "Kafka takes no record of this size: raise the topic's max.message.bytes");
            return Error::TooLarge { bytes, limit: bytes.saturating_sub(1) };
        }
        let place = partition.map_or_else(|| topic.to_string(), |partition| format!("{topic}[{partition}]"));
        let reason = format!("{place}: {error}");
        self.health.refused(&reason, Instant::now());
        Error::Unavailable { topic, reason: reason.into() }
    }
}

impl ClientContext for Reports {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::error(&self.health, &error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Box<InFlight>) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, message)) => Err((error, Some(message.partition()).filter(|partition| *partition >= 0))),
        };
        self.settle(outcome, *in_flight);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    fn publisher(brokers: &MockCluster<'_, rdkafka::producer::DefaultProducerContext>) -> Publisher {
        brokers.create_topic("t", 1, 1).unwrap();
        let options = KafkaOptions { delivery_timeout_millis: 5_000, ..KafkaOptions::default() };
        Publisher::new(&options, &brokers.bootstrap_servers(), 1_000, Health::new()).unwrap()
    }

    async fn publish(publisher: &Publisher, payload: &str) -> Result<Place, Error> {
        let (topic, payload) = (Topic::from("t"), payload.as_bytes());
        let outgoing = Outgoing { topic: &topic, partition: None, key: b"k", payload, headers: None, charge: None };
        publisher.publish(outgoing).await.unwrap()
    }

    #[tokio::test]
    async fn a_producer_that_ends_for_good_is_followed_by_another() {
        let brokers = MockCluster::new(1).unwrap();
        let fenced = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED];
        brokers.request_errors(RDKafkaApiKey::InitProducerId, &fenced);
        let publisher = publisher(&brokers);
        let first = publish(&publisher, "lost").await.unwrap_err();
        assert!(matches!(&first, Error::Unavailable { reason, .. } if reason.starts_with('t')), "{first}");
        let place = publish(&publisher, "taken").await.unwrap();
        assert_eq!((place.offset, publisher.counters().renewed.load(Ordering::Relaxed)), (Offset(0), 1));
    }

    #[tokio::test]
    async fn a_record_that_is_sent_again_stands_there_once_and_in_its_place() {
        let brokers = MockCluster::new(1).unwrap();
        let publisher = publisher(&brokers);
        publish(&publisher, "zero").await.unwrap();
        let away =
            [RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS];
        brokers.request_errors(RDKafkaApiKey::Produce, &away);
        let places = futures_util::future::join_all((0..20).map(|_| publish(&publisher, "x"))).await;
        let offsets: Vec<u64> = places.into_iter().map(|place| place.unwrap().offset.0).collect();
        assert_eq!(offsets, (1..=20).collect::<Vec<u64>>());
    }
}
