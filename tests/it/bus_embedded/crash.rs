//! `kill -9`, for real: a child publishes and says what was acknowledged, and everything it said has to be there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::Bus;

use super::{all, finish, open, small, topic};

const FOLDER: &str = "PARLOR_TEST_BUS_FOLDER";
const NEXT: &str = "PARLOR_TEST_BUS_NEXT";

fn options() -> BusOptions {
    BusOptions { unfinished_bytes: 1 << 20, position_flush_millis: 1, partitions: 1, ..small() }
}

#[tokio::test]
async fn whatever_was_acknowledged_before_a_kill_is_there() {
    let home = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut finished) = (0, 0);
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["bus_embedded::crash::child", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, home.path())
            .env(NEXT, acknowledged.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.lines().map(Result::unwrap);
        // It is killed in the middle of things, at another moment each round.
        lines.by_ref().take(200 + 37 * usize::try_from(round).unwrap()).for_each(|line| note(&line, &mut acknowledged));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(|line| note(&line, &mut acknowledged));

        let bus = open(home.path(), &options());
        let records = all(&mut *bus.subscribe(&topic()).unwrap());
        let mut next = records.first().expect("it never finishes all").place.offset.0;
        assert!(next >= finished, "a position moved back past a restart");
        finished = next;
        for record in records {
            assert_eq!(record.place.offset.0, next);
            assert_eq!(record.payload, payload(next), "in the order published");
            next += 1;
        }
        assert!(next >= acknowledged, "{acknowledged} were acknowledged, {next} are there");
        assert!(finished > 0, "positions were written on the way");
        acknowledged = next;
        bus.close().await;
    }
}

fn note(line: &str, acknowledged: &mut u64) {
    if let Some(offset) = line.strip_prefix("acknowledged ").and_then(|offset| offset.parse::<u64>().ok()) {
        *acknowledged = offset + 1;
    }
}

fn payload(offset: u64) -> Bytes {
    format!("{offset}{}", "x".repeat(usize::try_from(offset % 400).unwrap())).into()
}

#[tokio::test]
#[ignore = "the child of the test above"]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let bus = open(folder.as_ref(), &options());
    let mut consumer = bus.subscribe(&topic()).unwrap();
    let mut receipts = FuturesOrdered::new();
    let mut next = std::env::var(NEXT).unwrap().parse().unwrap();
    loop {
        while receipts.len() < 16 {
            receipts.push_back(bus.publish(bus.room_inside(), &topic(), "k".into(), payload(next)));
            next += 1;
        }
        let place = receipts.next().await.unwrap().unwrap();
        // A line that is written whole, or the parent may read half a number.
        std::io::stdout().write_all(format!("acknowledged {}\n", place.offset.0).as_bytes()).unwrap();
        let records = all(&mut *consumer);
        finish(&*consumer, &records[..records.len().saturating_sub(2)]);
    }
}
