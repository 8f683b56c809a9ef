//! Any order of publishing, receiving, finishing, re-subscribing, stopping and crashing, held against a simple model.

use std::collections::BTreeMap;

use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::{Bus, Claim, Consumer, Offset, Partition, Term};
use parlor::pipeline::embedded::EmbeddedBus;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{all, copy, open, small, topic};

#[derive(Clone, Debug)]
enum Step {
    Publish { key: u8, length: usize },
    Together { count: usize },
    Receive { max: usize },
    Finish { partition: usize, ahead: u64 },
    Resubscribe,
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..8_u8, 0..600_usize).prop_map(|(key, length)| Step::Publish { key, length }),
        2 => (1..12_usize).prop_map(|count| Step::Together { count }),
        4 => (1..10_usize).prop_map(|max| Step::Receive { max }),
        5 => (0..4_usize, 0..8_u64).prop_map(|(partition, ahead)| Step::Finish { partition, ahead }),
        1 => Just(Step::Resubscribe),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

/// A partition as it should be.
#[derive(Debug, Default)]
struct Part {
    payloads: Vec<String>,
    committed: u64,
    /// What a crash cannot take back: batches carry the positions that came before them.
    committed_for_sure: u64,
    cursor: u64,
}

struct World {
    home: TempDir,
    options: BusOptions,
    bus: EmbeddedBus,
    consumer: Option<Box<dyn Consumer>>,
    parts: BTreeMap<u32, Part>,
    published: usize,
}

impl World {
    fn new() -> Self {
        // So small that segments roll, go, and are copied forward within a few steps.
        let (segment_bytes, journal_bytes) = (1024, 4096);
        let options = BusOptions { segment_bytes, journal_bytes, partitions: 4, position_flush_millis: 1, ..small() };
        let home = tempfile::tempdir().unwrap();
        let bus = open(home.path(), &options);
        let consumer = Some(bus.subscribe(&topic()).unwrap());
        Self { home, options, bus, consumer, parts: BTreeMap::new(), published: 0 }
    }

    async fn publish(&mut self, key: &[u8], lengths: &[usize]) {
        let before: Vec<_> = self.parts.iter().map(|(partition, part)| (*partition, part.committed)).collect();
        let mut receipts = Vec::new();
        for length in lengths {
            let payload = format!("{} {}", self.published, "x".repeat(*length));
            self.published += 1;
            let (key, body) = (key.to_vec().into(), payload.clone().into());
            receipts.push((payload, self.bus.publish(self.bus.room_inside(), &topic(), key, body)));
        }
        for (payload, receipt) in receipts {
            let place = receipt.await.unwrap();
            let part = self.parts.entry(place.partition.0).or_default();
            assert_eq!(place.offset.0, part.payloads.len() as u64);
            part.payloads.push(payload);
        }
        for (partition, committed) in before {
            self.parts.get_mut(&partition).unwrap().committed_for_sure = committed;
        }
    }

    fn receive(&mut self, max: usize) -> usize {
        let consumer = self.consumer.as_mut().unwrap();
        let waiting: u64 = self.parts.values().map(|part| part.payloads.len() as u64 - part.cursor).sum();
        let records = if waiting == 0 {
            assert!(all(&mut **consumer).is_empty());
            return 0;
        } else {
            futures_util::FutureExt::now_or_never(consumer.receive(max)).expect("there are some").unwrap()
        };
        assert_eq!(records.len() as u64, waiting.min(max as u64));
        for record in &records {
            let part = self.parts.get_mut(&record.place.partition.0).unwrap();
            assert_eq!(record.place.offset.0, part.cursor, "each partition in order");
            assert_eq!(record.payload, part.payloads[usize::try_from(part.cursor).unwrap()]);
            part.cursor += 1;
        }
        records.len()
    }

    /// A new consumer stands behind the position, which only a crash may have moved back.
    fn resume(&mut self, after: &Step) {
        drop(self.consumer.take());
        let mut consumer = self.bus.subscribe(&topic()).unwrap();
        let mut seen: BTreeMap<u32, Vec<(u64, String)>> = BTreeMap::new();
        for record in all(&mut *consumer) {
            let text = String::from_utf8(record.payload.to_vec()).unwrap();
            seen.entry(record.place.partition.0).or_default().push((record.place.offset.0, text));
        }
        for (partition, part) in &mut self.parts {
            let seen = seen.remove(partition).unwrap_or_default();
            let end = part.payloads.len() as u64;
            let first = seen.first().map_or(end, |(offset, _)| *offset);
            let earliest = if matches!(after, Step::Crash) { part.committed_for_sure } else { part.committed };
            assert!((earliest..=part.committed).contains(&first), "{partition}: at {first}, {part:?}");
            let expected: Vec<_> =
                (first..end).zip(part.payloads[usize::try_from(first).unwrap()..].to_vec()).collect();
            assert_eq!(seen, expected);
            (part.committed, part.cursor) = (first, end);
            if !matches!(after, Step::Resubscribe) {
                part.committed_for_sure = first;
            }
        }
        assert!(seen.is_empty(), "records from nowhere: {seen:?}");
        self.consumer = Some(consumer);
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Publish { key, length } => self.publish(&[key], &[length]).await,
            Step::Together { count } => self.publish(b"together", &vec![30; count]).await,
            Step::Receive { max } => {
                self.receive(max);
            }
            Step::Finish { partition, ahead } => {
                let Some((number, part)) = self.parts.iter_mut().nth(partition) else { return };
                // Up to what was received; a position that would move back is ignored.
                let next = part.cursor.saturating_sub(ahead);
                let claim = Claim { partition: Partition(*number), term: Term::default() };
                self.consumer.as_ref().unwrap().committer().commit(claim, Offset(next));
                part.committed = part.committed.max(next);
            }
            Step::Resubscribe => self.resume(&step),
            Step::Restart => {
                self.bus.close().await;
                self.bus = open(self.home.path(), &self.options);
                self.resume(&step);
            }
            Step::Crash => {
                let copied = copy(self.home.path());
                self.bus.close().await;
                self.bus = open(copied.path(), &self.options);
                self.home = copied;
                self.resume(&step);
            }
        }
        let unfinished: u64 = self.parts.values().map(|part| part.payloads.len() as u64 - part.committed).sum();
        assert_eq!(self.bus.stats().unfinished_records, unfinished);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_bus_is_its_model(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.apply(step).await;
            }
            world.apply(Step::Restart).await;
        });
    }
}
