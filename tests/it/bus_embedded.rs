//! The embedded bus: the contract of every bus, and what only a journal of its own can get wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parlor::clock::Clock;
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::{Bus, Consumer, Place, Record, Topic};
use parlor::pipeline::embedded::{BusStats, EmbeddedBus};
use tempfile::TempDir;

use crate::bus_contract::Home;

mod contract {
    crate::bus_contract!(super::EmbeddedHome::new());
}
mod bound {
    crate::bus_contract!(super::EmbeddedHome::new(); room_ends_at_the_bound_and_comes_back_with_the_commit);
}
mod crash;
mod damage;
mod dead_letters;
mod disk;
mod model;

struct EmbeddedHome(TempDir);

impl EmbeddedHome {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

fn small() -> BusOptions {
    BusOptions {
        segment_bytes: 4096,
        journal_bytes: 64 * 1024,
        unfinished_bytes: 10_000,
        max_record_bytes: 3_000,
        position_flush_millis: 5,
        ..BusOptions::default()
    }
}

fn open(folder: &Path, options: &BusOptions) -> EmbeddedBus {
    EmbeddedBus::open(folder, options, Clock::system()).unwrap()
}

impl Home for EmbeddedHome {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bus>> {
        Box::pin(async { Arc::new(open(&self.0.path().join("bus"), &small())) as Arc<dyn Bus> })
    }

    fn topic(&self, name: &str) -> Topic {
        format!("test.{name}").as_str().into()
    }

    fn max_record_bytes(&self) -> usize {
        small().max_record_bytes
    }

    fn unfinished_bytes(&self) -> usize {
        small().unfinished_bytes
    }
}

fn topic() -> Topic {
    "parlor.router".into()
}

async fn put(bus: &EmbeddedBus, key: &str, payload: &str) -> Place {
    bus.publish(bus.room_inside(), &topic(), key.to_owned().into(), payload.to_owned().into()).await.unwrap()
}

/// Everything that the topic holds unfinished. What was durable at the start is there at once.
fn all(consumer: &mut dyn Consumer) -> Vec<Record> {
    consumer.receive(usize::MAX).now_or_never().map(Result::unwrap).unwrap_or_default()
}

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.payload).unwrap()).collect()
}

fn finish(consumer: &dyn Consumer, records: &[Record]) {
    for record in records {
        consumer.committer().commit(record.claim(), record.place.offset.next());
    }
}

/// The segments in a folder, oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    paths.sort();
    paths
}

/// Copies a folder that may be in use, as a crash would have left it.
fn copy(from: &Path) -> TempDir {
    loop {
        let (to, before) = (tempfile::tempdir().unwrap(), segments(from));
        let copied = before.iter().all(|path| std::fs::copy(path, to.path().join(path.file_name().unwrap())).is_ok());
        // A segment that came or went meanwhile makes a copy that no crash could leave.
        if copied && segments(from) == before {
            return to;
        }
    }
}

/// Waits until the bus's thread has come so far.
async fn until(bus: &EmbeddedBus, so_far: impl Fn(BusStats) -> bool) {
    for _ in 0..2000 {
        if so_far(bus.stats()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to it: {:?}", bus.stats());
}

#[tokio::test]
async fn finished_segments_are_deleted_and_offsets_go_on() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &small());
    let mut consumer = bus.subscribe(&topic()).unwrap();
    for number in 0..300 {
        put(&bus, &format!("user {}", number % 7), &"x".repeat(100)).await;
    }
    assert!(bus.stats().segments > 5, "{:?}", bus.stats());
    let records = all(&mut *consumer);
    let (last, rest) = records.split_last().unwrap();
    finish(&*consumer, rest);
    until(&bus, |stats| stats.unfinished_records == 1).await;
    finish(&*consumer, std::slice::from_ref(last));
    until(&bus, |stats| stats.segments == 1).await;
    bus.close().await;
    assert_eq!(segments(home.path()).len(), 1);
    let bus = open(home.path(), &small());
    let place = bus.publish(bus.room_inside(), &topic(), last.key.clone(), "next".into()).await.unwrap();
    assert_eq!((place.partition, place.offset), (last.place.partition, last.place.offset.next()));
    assert_eq!(texts(&all(&mut *bus.subscribe(&topic()).unwrap())), ["next"]);
}

#[tokio::test]
async fn who_finishes_records_may_outlive_the_consumer_that_received_them() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &small());
    put(&bus, "alice", "one").await;
    let mut consumer = bus.subscribe(&topic()).unwrap();
    let (records, committer) = (all(&mut *consumer), consumer.committer());
    drop(consumer);
    committer.commit(records[0].claim(), records[0].place.offset.next());
    assert!(all(&mut *bus.subscribe(&topic()).unwrap()).is_empty());
}

#[tokio::test]
async fn one_record_that_takes_for_ever_does_not_keep_the_journal_growing() {
    let home = tempfile::tempdir().unwrap();
    let options = BusOptions { journal_bytes: 16 * 1024, ..small() };
    let bus = open(home.path(), &options);
    let mut consumer = bus.subscribe(&topic()).unwrap();
    let mut stuck = Vec::new();
    for number in 0..5 {
        stuck.push(put(&bus, "stuck", &format!("stuck {number}")).await);
    }
    assert_eq!(all(&mut *consumer).len(), 5);
    let is_free = |key: &String| crc32fast::hash(key.as_bytes()) % options.partitions != stuck[0].partition.0;
    let mut largest = 0;
    for key in (0..).map(|number| format!("user {number}")).filter(is_free).take(1000) {
        put(&bus, &key, &"x".repeat(200)).await;
        let records = all(&mut *consumer);
        finish(&*consumer, &records);
        largest = largest.max(bus.stats().journal_bytes);
    }
    let stats = bus.stats();
    assert!(stats.carried >= 5 && stats.bytes_written > 300_000, "{stats:?}");
    assert!(largest < 16 * 1024 + 3 * 4096, "{largest}");
    // A crash at any moment leaves them all, once each and in order.
    let copied = copy(home.path());
    let again = open(copied.path(), &options);
    let records = all(&mut *again.subscribe(&topic()).unwrap());
    let places: Vec<_> = records.iter().map(|record| record.place.clone()).filter(|p| stuck.contains(p)).collect();
    assert_eq!(places, stuck);
    let stuck: Vec<_> = records.into_iter().filter(|record| stuck.contains(&record.place)).collect();
    assert_eq!(texts(&stuck), ["stuck 0", "stuck 1", "stuck 2", "stuck 3", "stuck 4"]);
}

#[tokio::test]
async fn what_a_restart_finds_unfinished_counts_against_the_bound() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &small());
    for _ in 0..4 {
        put(&bus, "k", &"x".repeat(2_999)).await;
    }
    bus.close().await;
    let bus = open(home.path(), &small());
    assert_eq!((bus.stats().unfinished_bytes, bus.stats().unfinished_records), (12_000, 4));
    let mut consumer = bus.subscribe(&topic()).unwrap();
    assert!(bus.room(1).now_or_never().is_none(), "it is over the bound by 2000");
    let records = all(&mut *consumer);
    finish(&*consumer, &records[..1]);
    assert!(bus.room(1_001).now_or_never().is_none());
    assert!(bus.room(1_000).now_or_never().is_some());
}

#[tokio::test]
async fn a_changed_number_of_partitions_waits_until_nothing_is_unfinished() {
    let home = tempfile::tempdir().unwrap();
    let (sixteen, one) = (small(), BusOptions { partitions: 1, ..small() });
    let bus = open(home.path(), &sixteen);
    let mut partitions = Vec::new();
    for number in 0..20 {
        partitions.push(put(&bus, &format!("user {number}"), "x").await.partition);
    }
    bus.close().await;
    let bus = open(home.path(), &one);
    for (number, partition) in partitions.into_iter().enumerate() {
        assert_eq!(put(&bus, &format!("user {number}"), "y").await.partition, partition);
    }
    let mut consumer = bus.subscribe(&topic()).unwrap();
    let records = all(&mut *consumer);
    finish(&*consumer, &records);
    drop(consumer);
    bus.close().await;
    for _ in 0..2 {
        let bus = open(home.path(), &one);
        let mut places = Vec::new();
        for number in 0..20 {
            places.push(put(&bus, &format!("user {number}"), "z").await);
        }
        assert!(places.iter().all(|place| place.partition.0 == 0));
        assert!(places.windows(2).all(|pair| pair[0].offset.next() == pair[1].offset));
        bus.close().await;
    }
}
