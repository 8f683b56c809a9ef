//! The file of dead letters.

use bytes::Bytes;
use chrono::DateTime;
use parlor::clock::Clock;
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::{Bus, Offset, Partition, Place, Record, Term};
use parlor::pipeline::embedded::EmbeddedBus;
use serde_json::{Value, json};

use super::{small, topic};

const FILE: &str = "dead-letter.jsonl";
const OLD: &str = "dead-letter.old.jsonl";

fn record(key: &'static [u8], payload: &'static [u8]) -> Record {
    let place = Place { topic: topic(), partition: Partition(3), offset: Offset(7) };
    Record { place, term: Term::default(), key: Bytes::from_static(key), payload: Bytes::from_static(payload) }
}

fn lines(path: &std::path::Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_dead_letter_is_one_line_with_the_reason_and_the_record_whatever_it_holds() {
    let home = tempfile::tempdir().unwrap();
    let clock = Clock::manual(DateTime::from_timestamp_millis(1_700_000_000_123).unwrap());
    let bus = EmbeddedBus::open(home.path(), &small(), clock).unwrap();
    bus.dead_letter(&record(b"42", b"not\njson"), "no envelope").await.unwrap();
    bus.dead_letter(&record(b"\xff", b"\xff\x00"), "no text").await.unwrap();
    assert_eq!(
        lines(&home.path().join(FILE)),
        [
            json!({"at": "2023-11-14T22:13:20.123Z", "topic": "parlor.router", "partition": 3, "offset": 7,
                   "key": "42", "reason": "no envelope", "payload": "not\njson"}),
            json!({"at": "2023-11-14T22:13:20.123Z", "topic": "parlor.router", "partition": 3, "offset": 7,
                   "keyBase64": "/w==", "reason": "no text", "payloadBase64": "/wA="}),
        ]
    );
    assert_eq!(bus.stats().dead_letters, 2);
}

#[tokio::test]
async fn the_file_rotates_at_its_limit_and_one_old_one_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let options = BusOptions { dead_letter_bytes: 400, ..small() };
    let bus = EmbeddedBus::open(home.path(), &options, Clock::system()).unwrap();
    for number in 0..10 {
        bus.dead_letter(&record(b"42", b"x"), &format!("reason {number}")).await.unwrap();
    }
    let reasons = |name: &str| -> Vec<String> {
        lines(&home.path().join(name)).iter().map(|line| line["reason"].as_str().unwrap().to_owned()).collect()
    };
    let (old, new) = (reasons(OLD), reasons(FILE));
    let kept = [old.clone(), new.clone()].concat();
    let expected: Vec<_> = (10 - kept.len()..10).map(|number| format!("reason {number}")).collect();
    assert_eq!(kept, expected, "the newest, in order");
    assert!(!old.is_empty() && !new.is_empty());
    for name in [OLD, FILE] {
        assert!(std::fs::metadata(home.path().join(name)).unwrap().len() <= 400);
    }
    let large = Box::leak("x".repeat(1000).into_boxed_str()).as_bytes();
    bus.dead_letter(&record(b"42", large), "larger than a file").await.unwrap();
    assert_eq!(reasons(FILE), ["larger than a file"]);
}

#[tokio::test]
async fn a_line_that_a_crash_tore_is_cut_off() {
    for torn in ["{\"at", "{\"whole\":1}\n{\"at", ""] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(FILE), torn).unwrap();
        let bus = EmbeddedBus::open(home.path(), &small(), Clock::system()).unwrap();
        bus.dead_letter(&record(b"42", b"x"), "why").await.unwrap();
        let lines = lines(&home.path().join(FILE));
        assert_eq!(lines.len(), if torn.contains('\n') { 2 } else { 1 });
        assert_eq!(lines.last().unwrap()["reason"], "why");
    }
}
