//! Brokers that stand still, die, and come back: nothing that was acknowledged is lost, and nobody has to be restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parlor::config::kafka::KafkaOptions;
use parlor::pipeline::bus::{Bus, Consumer, Error, Topic};

use super::{open, prefix, publish, quick, until};
use crate::app::kafka::Kafka;

const LONG: Duration = Duration::from_secs(90);

async fn numbers(consumer: &mut dyn Consumer, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let records = tokio::time::timeout(LONG, consumer.receive(100)).await.expect("records come").unwrap();
        for record in records {
            numbers.push(std::str::from_utf8(&record.payload).unwrap().parse().unwrap());
            consumer.committer().commit(record.claim(), record.place.offset.next());
        }
    }
    numbers
}

async fn put(bus: &dyn Bus, topic: &Topic, number: u32) -> Result<(), Error> {
    bus.publish(bus.room_inside(), topic, "ada".into(), number.to_string().into()).await.map(drop)
}

/// Publishes until it is taken.
async fn put_at_last(bus: &dyn Bus, topic: &Topic, number: u32) {
    let trying = async { while put(bus, topic, number).await.is_err() {} };
    tokio::time::timeout(LONG, trying).await.expect("the broker is back, and takes records");
}

#[tokio::test]
async fn a_broker_that_stands_still_or_dies_is_told_and_recovery_needs_no_restart() {
    let (kafka, prefix) = (Kafka::start(1), prefix());
    for name in ["work", "dead-letter"] {
        kafka.make_topic(&format!("{prefix}.{name}"), 1, &[]);
    }
    let topic = Topic::from(format!("{prefix}.work").as_str());
    let bus = open(&kafka.bootstrap(), &prefix, &quick());
    let mut consumer = bus.subscribe(&topic).unwrap();
    publish(&bus, &topic, &["ada"], 3).await;
    assert_eq!(numbers(&mut *consumer, 3).await, [0, 1, 2]);
    until("the brokers are known to answer", LONG, || bus.health().is_ok()).await;

    kafka.broker(0).pause();
    let refused = tokio::time::timeout(LONG, put(&bus, &topic, 3)).await.unwrap();
    let Err(Error::Unavailable { reason, .. }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains(&format!("{topic}")), "an error says where: {reason}");
    until("it is told that the broker stands still", LONG, || bus.health().is_err()).await;
    kafka.broker(0).resume();
    put_at_last(&bus, &topic, 4).await;
    until("the broker answers again", LONG, || bus.health().is_ok()).await;

    kafka.broker(0).kill();
    until("it is told that the broker is gone", LONG, || bus.health().is_err()).await;
    assert!(tokio::time::timeout(LONG, put(&bus, &topic, 5)).await.unwrap().is_err());
    kafka.broker(0).start();
    kafka.wait_for(1);
    put_at_last(&bus, &topic, 6).await;
    until("the broker answers again", LONG, || bus.health().is_ok()).await;
    // What was refused may have been written, and what the brokers were not told to be finished comes again; what was taken
    // is there, in order.
    let mut came: Vec<u32> = Vec::new();
    while came.last() != Some(&6) {
        for number in numbers(&mut *consumer, 1).await {
            if !came.contains(&number) {
                came.push(number);
            }
        }
    }
    came.retain(|number| [4, 6].contains(number));
    assert_eq!(came, [4, 6]);

    drop(consumer);
    bus.close().await;
    let bus = open(&kafka.bootstrap(), &prefix, &quick());
    publish(&bus, &topic, &["ada"], 1).await;
    assert_eq!(numbers(&mut *bus.subscribe(&topic).unwrap(), 1).await, [0], "positions survived all that");
}

#[tokio::test]
async fn a_bus_closes_within_its_time_while_no_broker_answers() {
    let (kafka, prefix) = (Kafka::start(1), prefix());
    kafka.make_topic(&format!("{prefix}.work"), 1, &[]);
    let topic = Topic::from(format!("{prefix}.work").as_str());
    let bus = open(&kafka.bootstrap(), &prefix, &quick());
    let mut consumer = bus.subscribe(&topic).unwrap();
    publish(&bus, &topic, &["ada"], 3).await;
    numbers(&mut *consumer, 3).await;
    kafka.broker(0).kill();
    let receipt = bus.publish(bus.room_inside(), &topic, "ada".into(), "lost".into());
    let began = tokio::time::Instant::now();
    tokio::time::timeout(LONG, bus.close()).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(receipt.await.is_err());
}

#[tokio::test]
async fn of_three_brokers_one_dies_and_nothing_that_was_acknowledged_is_lost() {
    const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (kafka, prefix) = (Kafka::start(3), prefix());
    kafka.make_topic(&format!("{prefix}.work"), 6, &[("min.insync.replicas", "2")]);
    let topic = Topic::from(format!("{prefix}.work").as_str());
    let options = KafkaOptions { delivery_timeout_millis: 60_000, ..quick() };
    let bus = Arc::new(open(&kafka.bootstrap(), &prefix, &options));
    let mut consumer = bus.subscribe(&topic).unwrap();
    let publishing = {
        let (bus, topic) = (bus.clone(), topic.clone());
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for round in 0..60_u32 {
                let receipts = KEYS.map(|key| {
                    let receipt = bus.publish(bus.room_inside(), &topic, key.into(), round.to_string().into());
                    async move { (key, receipt.await.is_ok()) }
                });
                for (key, taken) in futures_util::future::join_all(receipts).await {
                    if taken {
                        accepted.push((key.to_owned(), round));
                    }
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            accepted
        })
    };
    let mut came: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut count = 0;
    while count < 480 {
        let records = tokio::time::timeout(LONG, consumer.receive(50)).await.expect("records come").unwrap();
        for record in records {
            let key = String::from_utf8(record.key.to_vec()).unwrap();
            let round = std::str::from_utf8(&record.payload).unwrap().parse().unwrap();
            let rounds = came.entry(key).or_default();
            // A member that had to find its coordinator anew may see some twice.
            if !rounds.contains(&round) {
                rounds.push(round);
                count += 1;
                if count == 100 {
                    kafka.broker(1).kill();
                }
            }
            consumer.committer().commit(record.claim(), record.place.offset.next());
        }
    }
    let accepted = publishing.await.unwrap();
    assert_eq!(accepted.len(), 480, "with two brokers left, everything is taken within the time");
    for rounds in came.values() {
        assert!(rounds.is_sorted(), "{rounds:?}");
    }
    drop(consumer);
    bus.close().await;
}
