//! Brokers that ask who it is, and that are spoken to in secret.

use std::path::PathBuf;
use std::time::Duration;

use parlor::config::kafka::{KafkaOptions, SaslMechanism, Security};
use parlor::config::secret::Secret;
use parlor::pipeline::bus::{Bus as _, Topic};

use super::{open, prefix, quick, until};
use crate::app::kafka::Kafka;

const LONG: Duration = Duration::from_secs(60);

fn user(security: Security, mechanism: SaslMechanism, password: &str) -> KafkaOptions {
    KafkaOptions {
        security,
        sasl_mechanism: mechanism,
        username: Some("parlor".into()),
        password: Some(Secret::new(password)),
        ..quick()
    }
}

fn with_ca(ca: PathBuf, options: KafkaOptions) -> KafkaOptions {
    KafkaOptions { ca_path: Some(ca), ..options }
}

/// Publishes a record and reads it.
async fn works(brokers: &str, options: &KafkaOptions) {
    let prefix = prefix();
    Kafka::shared().make_topic(&format!("{prefix}.secret"), 1, &[]);
    let topic = Topic::from(format!("{prefix}.secret").as_str());
    let bus = open(brokers, &prefix, options);
    let mut consumer = bus.subscribe(&topic).unwrap();
    let published = bus.publish(bus.room_inside(), &topic, "k".into(), "hush".into());
    tokio::time::timeout(LONG, published).await.unwrap().unwrap();
    let records = tokio::time::timeout(LONG, consumer.receive(1)).await.unwrap().unwrap();
    assert_eq!(records[0].payload, "hush");
    bus.close().await;
}

/// Says what is told while it does not work.
async fn refused(brokers: &str, options: &KafkaOptions) -> String {
    let bus = open(brokers, &prefix(), options);
    let word = || bus.health().err().map(|word| word.to_string()).unwrap_or_default();
    until("it is told why", LONG, || word().contains("do not answer")).await;
    let word = word();
    bus.close().await;
    word
}

#[tokio::test]
async fn a_user_is_known_by_a_password_or_by_a_proof_of_it() {
    let broker = Kafka::shared().broker(0);
    works(&broker.sasl(), &user(Security::SaslPlaintext, SaslMechanism::Plain, "parlor-secret")).await;
    works(&broker.sasl(), &user(Security::SaslPlaintext, SaslMechanism::ScramSha512, "parlor-secret")).await;
    let word =
        refused(&broker.sasl(), &user(Security::SaslPlaintext, SaslMechanism::ScramSha512, "wrong-secret")).await;
    assert!(!word.contains("wrong-secret"), "{word}");
}

#[tokio::test]
async fn brokers_are_spoken_to_in_secret_and_checked_against_their_certificate() {
    let broker = Kafka::shared().broker(0);
    let tls = KafkaOptions { security: Security::Tls, ..quick() };
    works(&broker.tls(), &with_ca(broker.ca(), tls.clone())).await;
    let both = user(Security::SaslTls, SaslMechanism::ScramSha512, "parlor-secret");
    works(&broker.sasl_tls(), &with_ca(broker.ca(), both)).await;
    // Nobody this machine trusts has signed it.
    refused(&broker.tls(), &tls).await;
}
