//! The bus of a cluster: the contract of every bus against a real broker, and what only several nodes and brokers can get
//! wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parlor::config::bus::BusOptions;
use parlor::config::kafka::KafkaOptions;
use parlor::pipeline::bus::{Bus, Topic};
use parlor::pipeline::kafka::KafkaBus;

use crate::app::kafka::Kafka;
use crate::bus_contract::Home;

mod contract {
    crate::bus_contract!(super::KafkaHome::new());
}
mod bridge;
mod brokers;
mod rebalance;
mod security;
mod topics;

/// A prefix of the test's own on the broker that all share.
struct KafkaHome {
    prefix: String,
}

impl KafkaHome {
    fn new() -> Self {
        let home = Self { prefix: prefix() };
        Kafka::shared().make_topic(&format!("{}.dead-letter", home.prefix), 1, &[]);
        home
    }
}

fn prefix() -> String {
    format!("test-{}", uuid::Uuid::new_v4().simple())
}

fn bus_options() -> BusOptions {
    BusOptions { unfinished_bytes: 10_000, max_record_bytes: 3_000, ..BusOptions::default() }
}

/// Settings for one broker, and quick.
fn quick() -> KafkaOptions {
    KafkaOptions {
        partitions: 4,
        replication: 1,
        min_in_sync: 1,
        session_timeout_millis: 3_000,
        commit_interval_millis: 50,
        delivery_timeout_millis: 4_000,
        ..KafkaOptions::default()
    }
}

fn open(brokers: &str, prefix: &str, options: &KafkaOptions) -> KafkaBus {
    let bus = BusOptions { max_record_bytes: 3_000, ..BusOptions::default() };
    KafkaBus::open(brokers, prefix, options, &bus).unwrap()
}

impl Home for KafkaHome {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bus>> {
        Box::pin(async {
            let kafka = Kafka::shared().bootstrap();
            Arc::new(KafkaBus::open(&kafka, &self.prefix, &quick(), &bus_options()).unwrap()) as Arc<dyn Bus>
        })
    }

    fn topic(&self, name: &str) -> Topic {
        let topic = format!("{}.{name}", self.prefix);
        Kafka::shared().make_topic(&topic, 4, &[]);
        topic.as_str().into()
    }

    fn max_record_bytes(&self) -> usize {
        bus_options().max_record_bytes
    }

    fn unfinished_bytes(&self) -> usize {
        bus_options().unfinished_bytes
    }
}

/// What was published under each key, in order.
type ByKey = BTreeMap<String, Vec<u32>>;

/// Publishes `count` numbers for each of these keys, without waiting in between.
async fn publish(bus: &dyn Bus, topic: &Topic, keys: &[&str], count: u32) -> ByKey {
    let mut receipts = Vec::new();
    for number in 0..count {
        for key in keys {
            let room = bus.room(32).await.unwrap();
            receipts.push(bus.publish(room, topic, (*key).to_owned().into(), number.to_string().into()));
        }
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
    keys.iter().map(|key| ((*key).to_owned(), (0..count).collect())).collect()
}

/// Waits for something that has to come true.
async fn until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn room_ends_at_the_bound_and_comes_back_when_the_brokers_have_it() {
    let home = KafkaHome::new();
    let (bus, topic, largest) = (home.open().await, home.topic("room"), home.max_record_bytes());
    let mut rooms = Vec::new();
    for _ in 0..home.unfinished_bytes() / largest {
        rooms.push(bus.room(largest).await.unwrap());
    }
    let left = home.unfinished_bytes() % largest;
    let over = tokio::time::timeout(Duration::from_millis(100), bus.room(left + 1));
    assert!(over.await.is_err(), "one byte over the bound waits");
    drop(bus.room(left).await.unwrap());
    let waiting = tokio::spawn(bus.room(largest));
    let record = vec![b'x'; largest - 1];
    bus.publish(rooms.remove(0), &topic, "k".into(), record.into()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_record_stands_where_javas_clients_would_put_it() {
    let home = KafkaHome::new();
    let (bus, topic) = (home.open().await, home.topic("java"));
    // org.apache.kafka.common.utils.Utils: toPositive(murmur2(key)) % 4, of this broker's own jars.
    for (key, partition) in [("1", 3), ("42", 0), ("1000", 2), ("123456789", 2)] {
        let place = bus.publish(bus.room_inside(), &topic, key.into(), "x".into()).await.unwrap();
        assert_eq!(place.partition.0, partition, "{key}");
    }
}

#[tokio::test]
async fn who_takes_its_leave_finishes_what_it_has_and_another_goes_on_from_there() {
    let home = KafkaHome::new();
    let (first, second, topic) = (home.open().await, home.open().await, home.topic("leave"));
    publish(&*first, &topic, &["ada"], 10).await;
    let mut consumer = first.subscribe(&topic).unwrap();
    let mut got = Vec::new();
    while got.len() < 10 {
        got.extend(consumer.receive(10).await.unwrap());
    }
    let committer = consumer.committer();
    committer.commit(got[3].claim(), got[3].place.offset.next());
    let draining = tokio::spawn(first.drain());
    publish(&*second, &topic, &["ada"], 5).await;
    until("drain is heard of", Duration::from_secs(5), || !committer.holds(got[4].claim())).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), consumer.receive(1)).await.is_err(),
        "nothing is handed out"
    );
    assert!(!draining.is_finished(), "six are in work");
    // One is given back with all behind it: who comes next does them.
    committer.commit(got[6].claim(), got[6].place.offset.next());
    committer.give_back(got[7].claim(), got[7].place.offset);
    tokio::time::timeout(Duration::from_secs(30), draining).await.unwrap().unwrap();
    let mut next = second.subscribe(&topic).unwrap();
    let mut after = Vec::new();
    while after.len() < 8 {
        after.extend(tokio::time::timeout(Duration::from_secs(30), next.receive(10)).await.unwrap().unwrap());
    }
    assert_eq!(after[0].place, got[7].place, "neither before nor behind");
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_dead_letter_says_where_it_was_and_why() {
    use parlor::pipeline::bus::{Offset, Partition, Place, Record, Term};
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::{Headers as _, Message as _};

    let home = KafkaHome::new();
    let bus = home.open().await;
    let place = Place { topic: "somewhere".into(), partition: Partition(3), offset: Offset(77) };
    let record = Record { place, term: Term::default(), key: "42".into(), payload: "poison".into() };
    bus.dead_letter(&record, "not an envelope").await.unwrap();
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", Kafka::shared().bootstrap())
        .set("group.id", "letters")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(&format!("{}.dead-letter", home.prefix), 0, rdkafka::Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let letter = (0..300).find_map(|_| consumer.poll(Duration::from_millis(100))).unwrap().unwrap();
    assert_eq!((letter.key().unwrap(), letter.payload().unwrap()), (b"42".as_slice(), b"poison".as_slice()));
    let headers = letter.headers().unwrap();
    let said: Vec<(&str, &[u8])> = headers.iter().map(|header| (header.key, header.value.unwrap())).collect();
    let wanted: [(&str, &[u8]); 4] =
        [("reason", b"not an envelope"), ("topic", b"somewhere"), ("partition", b"3"), ("offset", b"77")];
    assert_eq!(said, wanted);
}
