//! The bridge over Kafka: a partition for each slot, read from its end on by the node that holds the slot.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset as Mark, TopicPartitionList};
use tokio::sync::mpsc;

use super::client::{self, Heard};
use super::publisher::Outgoing;
use super::{BRIDGE, Inner, KafkaBus};
use crate::ids::Slot;
use crate::pipeline::bridge::{BridgeLink, BridgeReader};
use crate::pipeline::bus::{Error, Topic};

/// Records that wait for the node; when it takes none, they wait with the brokers.
const WAITING: usize = 256;
/// How long one look for records takes.
const LOOK: Duration = Duration::from_millis(100);
/// How long one question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(5);

impl BridgeLink for KafkaBus {
    fn send(&self, slot: Slot, record: Bytes) -> BoxFuture<'static, Result<(), Error>> {
        let topic = self.0.topic(BRIDGE);
        let outgoing = Outgoing {
            topic: &topic,
            partition: Some(u32::from(slot.0)),
            key: b"",
            payload: &record,
            headers: None,
            charge: None,
        };
        match self.0.open().and_then(|()| self.0.fits(record.len())) {
            Ok(()) => self.0.answer(outgoing).map(|answer| answer.map(drop)).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn open(&self, slot: Slot) -> BoxFuture<'static, Result<Box<dyn BridgeReader>, Error>> {
        let inner = self.0.clone();
        async move {
            inner.open()?;
            let (topic, asked) = (inner.topic(BRIDGE), inner.clone());
            let opened = tokio::task::spawn_blocking(move || follow(&asked, slot)).await;
            let unavailable = |reason: String| Error::Unavailable { topic: topic.clone(), reason: reason.into() };
            match opened {
                Ok(Ok(records)) => {
                    Ok(Box::new(Following { records, failed: None, inner, topic, slot }) as Box<dyn BridgeReader>)
                }
                Ok(Err(error)) => Err(unavailable(format!("{topic}[{}]: {error}", slot.0))),
                Err(error) => Err(unavailable(error.to_string())),
            }
        }
        .boxed()
    }
}

/// Fixes the end of the slot's partition, and has a thread read on from there.
fn follow(inner: &Arc<Inner>, slot: Slot) -> Result<mpsc::Receiver<Result<Bytes, String>>, KafkaError> {
    let topic = inner.topic(BRIDGE);
    let number = i32::from(slot.0);
    let config = config(inner, &topic, slot);
    let consumer = BaseConsumer::from_config_and_context(&config, Heard(inner.health.clone()))?;
    let (_, end) = consumer.fetch_watermarks(&topic.0, number, ANSWER)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic.0, number, Mark::Offset(end))?;
    consumer.assign(&list)?;
    let (sender, records) = mpsc::channel(WAITING);
    let reading = std::thread::Builder::new().name("parlor-kafka-bridge".into()).spawn(move || {
        while !sender.is_closed() {
            let read = match consumer.poll(LOOK) {
                None => continue,
                Some(Ok(message)) => Ok(message.payload().map(Bytes::copy_from_slice).unwrap_or_default()),
                // The library tries by itself, and goes on where it was.
                Some(Err(error)) if client::is_passing(&error) => {
                    tracing::debug!(%topic, slot = slot.0, %error, "the bridge cannot be read now");
                    continue;
                }
                // Above all that what would be next is not there any more.
                Some(Err(error)) => Err(error.to_string()),
            };
            let ended = read.is_err();
            if sender.blocking_send(read).is_err() || ended {
                break;
            }
        }
    });
    reading.map(|_| records).map_err(|error| KafkaError::ClientCreation(error.to_string()))
}

fn config(inner: &Inner, topic: &Topic, slot: Slot) -> ClientConfig {
    let mut config = client::config(&inner.options, &inner.brokers, "parlor-bridge");
    config
        // Nobody joins it: the library wants a name, and nothing is kept under it.
        .set("group.id", format!("{topic}.{}", slot.0))
        .set("enable.auto.commit", "false")
        // Whatever was missed must be known.
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", "4096")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100");
    config
}

/// The records that are sent to one slot.
struct Following {
    records: mpsc::Receiver<Result<Bytes, String>>,
    /// Why no more come, once those before are handed out.
    failed: Option<String>,
    inner: Arc<Inner>,
    topic: Topic,
    slot: Slot,
}

impl Following {
    fn unavailable(&self, reason: &str) -> Error {
        Error::Unavailable {
            topic: self.topic.clone(),
            reason: format!("{}[{}]: {reason}", self.topic, self.slot.0).into(),
        }
    }
}

impl BridgeReader for Following {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Bytes>, Error>> {
        async move {
            if let Some(why) = self.failed.take() {
                return Err(self.unavailable(&why));
            }
            let mut ended = self.inner.ended.subscribe();
            let mut read = Vec::new();
            tokio::select! {
                count = self.records.recv_many(&mut read, max.max(1)) => {
                    if count == 0 {
                        self.inner.open()?;
                        return Err(self.unavailable("the thread that reads has ended"));
                    }
                    let records: Vec<Bytes> =
                        read.into_iter().filter_map(|read| read.map_err(|why| self.failed = Some(why)).ok()).collect();
                    match self.failed.take_if(|_| records.is_empty()) {
                        Some(why) => Err(self.unavailable(&why)),
                        None => Ok(records),
                    }
                }
                _ = ended.wait_for(Option::is_some) => Err(self.inner.closed()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::config::bus::BusOptions;
    use crate::config::kafka::KafkaOptions;

    #[tokio::test]
    async fn who_can_have_missed_records_is_told_and_reads_on_from_the_end() {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("p.bridge", 1, 1).unwrap();
        let options = (KafkaOptions::default(), BusOptions::default());
        let bus = KafkaBus::open(&brokers.bootstrap_servers(), "p", &options.0, &options.1).unwrap();
        let mut reader = BridgeLink::open(&bus, Slot(0)).await.unwrap();
        bus.send(Slot(0), Bytes::from_static(b"one")).await.unwrap();
        assert_eq!(reader.receive(10).await.unwrap(), ["one"]);
        brokers.request_errors(RDKafkaApiKey::Fetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE]);
        let error = reader.receive(10).await.unwrap_err();
        assert!(matches!(&error, Error::Unavailable { reason, .. } if reason.starts_with("p.bridge[0]: ")), "{error}");
        let mut again = BridgeLink::open(&bus, Slot(0)).await.unwrap();
        bus.send(Slot(0), Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(again.receive(10).await.unwrap(), ["two"]);
    }
}
