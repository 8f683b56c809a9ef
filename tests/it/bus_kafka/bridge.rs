//! The bridge over Kafka: a node hears what is sent to its slot from when it listens on.

use std::time::Duration;

use parlor::ids::Slot;
use parlor::pipeline::bridge::{BridgeLink as _, BridgeReader};
use parlor::pipeline::bus::{Bus as _, Error};

use super::{open, prefix, quick};
use crate::app::kafka::Kafka;

const LONG: Duration = Duration::from_secs(30);

async fn texts(reader: &mut dyn BridgeReader, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let records = tokio::time::timeout(LONG, reader.receive(10)).await.expect("records come").unwrap();
        texts.extend(records.iter().map(|record| String::from_utf8(record.to_vec()).unwrap()));
    }
    texts
}

#[tokio::test]
async fn a_slot_hears_its_own_records_from_when_it_listens_on_in_order() {
    let (kafka, prefix) = (Kafka::shared(), prefix());
    kafka.make_topic(&format!("{prefix}.bridge"), 4, &[]);
    let (here, there) = (open(&kafka.bootstrap(), &prefix, &quick()), open(&kafka.bootstrap(), &prefix, &quick()));
    here.send(Slot(3), "before".into()).await.unwrap();
    let mut reader = there.open(Slot(3)).await.unwrap();
    here.send(Slot(2), "for somebody else".into()).await.unwrap();
    let sent: Vec<_> = (0..200).map(|number| here.send(Slot(3), number.to_string().into())).collect();
    let wanted: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(texts(&mut *reader, 200).await, wanted);
    for sent in sent {
        sent.await.unwrap();
    }
    assert!(matches!(here.send(Slot(3), vec![b'x'; 3_001].into()).await, Err(Error::TooLarge { .. })));
    there.close().await;
    assert!(matches!(tokio::time::timeout(LONG, reader.receive(1)).await.unwrap(), Err(Error::Closed(_))));
    assert!(matches!(there.open(Slot(1)).await, Err(Error::Closed(_))));
    here.close().await;
}
