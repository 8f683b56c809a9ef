//! How many records a second the embedded bus makes durable, by how many are outstanding at once.
//!
//! `cargo bench --bench bus -- [FOLDER]`: the folder decides which disk is measured.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement for a person to read"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parlor::clock::Clock;
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::{Bus, Topic};
use parlor::pipeline::embedded::EmbeddedBus;

const PAYLOAD_BYTES: usize = 300;
const DURATION: Duration = Duration::from_secs(3);

fn main() {
    let given = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    let parent = given.map_or_else(std::env::temp_dir, Into::into);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{PAYLOAD_BYTES}-byte records, {} s each, on {}", DURATION.as_secs(), parent.display());
    println!("outstanding  records/s  records/batch  p50 ms  p99 ms  disk bytes/record");
    for outstanding in [1, 64, 512, 4096] {
        let folder = tempfile::tempdir_in(&parent).unwrap();
        let bus = EmbeddedBus::open(folder.path(), &BusOptions::default(), Clock::system()).unwrap();
        runtime.block_on(measure(&bus, outstanding));
    }
}

/// Publishes and consumes with so many receipts outstanding.
async fn measure(bus: &EmbeddedBus, outstanding: usize) {
    let topic = Topic::from("parlor.bench");
    let mut consumer = bus.subscribe(&topic).unwrap();
    let reader = async {
        let committer = consumer.committer();
        while let Ok(records) = consumer.receive(1024).await {
            for record in records {
                committer.commit(record.claim(), record.place.offset.next());
            }
        }
    };
    let writer = async {
        let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
        let (mut line, mut took, mut key) = (VecDeque::new(), Vec::new(), 0_u64);
        let begin = Instant::now();
        while begin.elapsed() < DURATION {
            while line.len() < outstanding {
                let room = bus.room(PAYLOAD_BYTES + 8).await.unwrap();
                key = (key + 1) % 1000;
                let key = Bytes::copy_from_slice(&key.to_le_bytes());
                line.push_back((Instant::now(), bus.publish(room, &topic, key, payload.clone())));
            }
            let (sent, receipt) = line.pop_front().expect("the line was filled");
            receipt.await.unwrap();
            took.push(sent.elapsed());
        }
        let seconds = begin.elapsed().as_secs_f64();
        report(bus, outstanding, seconds, took);
        bus.close().await;
    };
    futures_util::join!(reader, writer);
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
fn report(bus: &EmbeddedBus, outstanding: usize, seconds: f64, mut took: Vec<Duration>) {
    took.sort_unstable();
    let percentile = |hundredths: usize| took[(took.len() - 1) * hundredths / 100].as_secs_f64() * 1000.0;
    let stats = bus.stats();
    println!(
        "{outstanding:>11}  {:>9.0}  {:>13.1}  {:>6.2}  {:>6.2}  {:>17.0}",
        took.len() as f64 / seconds,
        stats.records as f64 / stats.batches as f64,
        percentile(50),
        percentile(99),
        stats.bytes_written as f64 / stats.records as f64,
    );
}
