//! How many records a second a bus makes durable and hands out again, by how many are outstanding at once.
//!
//! `cargo bench --bench bus -- [FOLDER]`: the embedded bus; the folder decides which disk is measured.
//! `cargo bench --bench bus -- --kafka HOST:PORT,… [REPLICATION]`: Kafka; `scripts/bench-kafka.sh` puts Kafka's own figure beside it.
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
use parlor::config::kafka::KafkaOptions;
use parlor::pipeline::bus::{Bus, Topic};
use parlor::pipeline::embedded::EmbeddedBus;
use parlor::pipeline::kafka::KafkaBus;

const PAYLOAD_BYTES: usize = 300;
const DURATION: Duration = Duration::from_secs(3);
const HEAD: &str = "outstanding  records/s  p50 ms  p99 ms  read back";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == "--kafka") {
        let copies = arguments.get(at + 2).map_or(1, |copies| copies.parse().expect("a number of copies"));
        return runtime.block_on(kafka(&arguments[at + 1], copies));
    }
    let given = arguments.into_iter().find(|argument| !argument.starts_with('-'));
    let parent = given.map_or_else(std::env::temp_dir, Into::into);
    println!("{PAYLOAD_BYTES}-byte records, {} s each, on {}", DURATION.as_secs(), parent.display());
    println!("{HEAD}  records/batch  disk bytes/record");
    for outstanding in [1, 64, 512, 4096] {
        let folder = tempfile::tempdir_in(&parent).unwrap();
        let bus = EmbeddedBus::open(folder.path(), &BusOptions::default(), Clock::system()).unwrap();
        let line = runtime.block_on(measure(&bus, &Topic::from("parlor.bench"), outstanding));
        let stats = bus.stats();
        println!(
            "{line}  {:>13.1}  {:>17.0}",
            stats.records as f64 / stats.batches as f64,
            stats.bytes_written as f64 / stats.records as f64
        );
    }
}

/// The same over Kafka, each run on a topic of its own.
async fn kafka(brokers: &str, copies: u16) {
    println!("{PAYLOAD_BYTES}-byte records, {} s each, on {brokers}, {copies} copies", DURATION.as_secs());
    println!("{HEAD}");
    for outstanding in [1, 64, 512, 4096, 32_768] {
        let options = KafkaOptions { replication: copies, min_in_sync: copies.div_ceil(2), ..KafkaOptions::default() };
        let prefix = format!("bench-{}", uuid::Uuid::new_v4().simple());
        let bus = KafkaBus::open(brokers, &prefix, &options, &BusOptions::default()).unwrap();
        bus.prepare(&["work".to_owned()], 1).await.unwrap();
        let topic = Topic::from(format!("{prefix}.work").as_str());
        println!("{}", measure(&bus, &topic, outstanding).await);
    }
}

/// Publishes and consumes with so many receipts outstanding.
async fn measure(bus: &dyn Bus, topic: &Topic, outstanding: usize) -> String {
    let mut consumer = bus.subscribe(topic).unwrap();
    let reader = async {
        let committer = consumer.committer();
        let mut read = 0;
        while let Ok(records) = consumer.receive(1024).await {
            read += records.len();
            for record in records {
                committer.commit(record.claim(), record.place.offset.next());
            }
        }
        read
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
                line.push_back((Instant::now(), bus.publish(room, topic, key, payload.clone())));
            }
            let (sent, receipt) = line.pop_front().expect("the line was filled");
            receipt.await.unwrap();
            took.push(sent.elapsed());
        }
        let seconds = begin.elapsed().as_secs_f64();
        bus.close().await;
        (seconds, took)
    };
    let (read, (seconds, took)) = futures_util::join!(reader, writer);
    report(outstanding, seconds, took, read)
}

#[expect(clippy::cast_precision_loss, reason = "figures for a table")]
fn report(outstanding: usize, seconds: f64, mut took: Vec<Duration>, read: usize) -> String {
    took.sort_unstable();
    let percentile = |hundredths: usize| took[(took.len() - 1) * hundredths / 100].as_secs_f64() * 1000.0;
    format!(
        "{outstanding:>11}  {:>9.0}  {:>6.2}  {:>6.2}  {read:>9}",
        took.len() as f64 / seconds,
        percentile(50),
        percentile(99),
    )
}
