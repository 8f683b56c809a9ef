//! The topics at the start: made where they are missing, refused where they do not fit.

use parlor::config::kafka::KafkaOptions;
use parlor::pipeline::bus::Bus as _;

use super::{open, prefix, quick};
use crate::app::kafka::Kafka;

const STAGES: [&str; 2] = ["outgoing", "router"];

async fn prepare(prefix: &str, options: &KafkaOptions, slots: u32) -> Result<(), String> {
    let bus = open(&Kafka::shared().bootstrap(), prefix, options);
    let stages = STAGES.map(str::to_owned);
    let outcome = bus.prepare(&stages, slots).await.map_err(|error| error.to_string());
    bus.close().await;
    outcome
}

#[tokio::test]
async fn topics_are_made_once_and_by_nodes_that_start_at_the_same_time() {
    let (prefix, options) = (prefix(), quick());
    let starting = (0..3).map(|_| prepare(&prefix, &options, 8));
    for outcome in futures_util::future::join_all(starting).await {
        outcome.unwrap();
    }
    prepare(&prefix, &KafkaOptions { partitions: 3, ..options.clone() }, 4).await.unwrap();
}

#[tokio::test]
async fn a_topic_that_does_not_fit_is_named_with_what_it_has_and_what_to_do() {
    let (prefix, options) = (prefix(), quick());
    prepare(&prefix, &options, 2).await.unwrap();
    let fewer = prepare(&prefix, &KafkaOptions { partitions: 5, ..options.clone() }, 2).await.unwrap_err();
    assert!(fewer.contains("has partitions: 4, and at least 5 is wanted") && fewer.contains(&prefix), "{fewer}");
    let slots = prepare(&prefix, &options, 3).await.unwrap_err();
    assert!(
        slots.contains(&format!("{prefix}.bridge has partitions: 2")) && slots.contains("--partitions 3"),
        "{slots}"
    );
    let longer = prepare(&prefix, &KafkaOptions { retention_hours: 169, ..options.clone() }, 2).await.unwrap_err();
    assert!(longer.contains("retention.ms 604800000") && longer.contains("kafka-configs.sh"), "{longer}");
    let copies = prepare(&prefix, &KafkaOptions { replication: 2, ..options }, 2).await.unwrap_err();
    assert!(copies.contains("copies: 1"), "{copies}");
}

#[tokio::test]
async fn fewer_brokers_than_copies_are_said_and_may_still_come() {
    let bus = open(&Kafka::shared().bootstrap(), &prefix(), &KafkaOptions { replication: 3, ..quick() });
    let error = bus.prepare_once(&STAGES.map(str::to_owned), 2).await.unwrap_err();
    assert!(error.passes() && error.to_string().contains("is to have 3 copies, and there are 1 brokers"), "{error}");
    bus.close().await;
}

#[tokio::test]
async fn brokers_that_are_not_there_may_still_come() {
    let bus = open("127.0.0.1:1", &prefix(), &quick());
    let error = bus.prepare_once(&STAGES.map(str::to_owned), 2).await.unwrap_err();
    assert!(error.passes() && error.to_string().contains("not ready"), "{error}");
    assert!(bus.health().is_err());
    bus.close().await;
}
