//! Damage to the journal: what a crash leaves is cut off, what was acknowledged is never lost in silence.

use std::path::Path;

use parlor::clock::Clock;
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::Bus;
use parlor::pipeline::embedded::{EmbeddedBus, Error};

use super::{all, copy, finish, open, put, segments, small, texts, topic, until};

/// Nothing is written but what the test writes.
fn quiet() -> BusOptions {
    BusOptions { position_flush_millis: 3_600_000, segment_bytes: 1 << 20, journal_bytes: 4 << 20, ..small() }
}

/// What a batch of one such record takes.
async fn one_batch() -> u64 {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &quiet());
    put(&bus, "alice", "one").await;
    bus.stats().bytes_written
}

fn refusal(folder: &Path) -> Error {
    EmbeddedBus::open(folder, &quiet(), Clock::system()).expect_err("the start should have been refused")
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_off_and_the_rest_is_there() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &quiet());
    put(&bus, "alice", "one").await;
    let path = segments(home.path()).remove(0);
    let before = std::fs::metadata(&path).unwrap().len();
    put(&bus, "alice", "two").await;
    let whole = std::fs::read(&path).unwrap();
    for length in usize::try_from(before).unwrap()..=whole.len() {
        // What a crash leaves of the rest: nothing, zeros, or something else.
        for tail in [0, 1] {
            let torn = tempfile::tempdir().unwrap();
            let mut content = whole[..length].to_vec();
            content.resize(content.len() + tail * 100, 0);
            std::fs::write(torn.path().join(path.file_name().unwrap()), content).unwrap();
            let bus = open(torn.path(), &quiet());
            let expected = if length == whole.len() { vec!["one", "two"] } else { vec!["one"] };
            assert_eq!(texts(&all(&mut *bus.subscribe(&topic()).unwrap())), expected, "cut at byte {length}");
            put(&bus, "alice", "three").await;
            bus.close().await;
            let bus = open(torn.path(), &quiet());
            let expected = [expected, vec!["three"]].concat();
            assert_eq!(texts(&all(&mut *bus.subscribe(&topic()).unwrap())), expected, "cut at byte {length}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_anything_acknowledged_refuses_the_start() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &quiet());
    let mut consumer = bus.subscribe(&topic()).unwrap();
    put(&bus, "alice", "one").await;
    put(&bus, "bob", "two").await;
    let records = all(&mut *consumer);
    finish(&*consumer, &records[..1]);
    put(&bus, "alice", "three").await;
    let path = segments(home.path()).remove(0);
    let acknowledged = std::fs::metadata(&path).unwrap().len();
    // A stop leaves a marker behind the last records.
    bus.close().await;
    let whole = std::fs::read(&path).unwrap();
    assert!(whole.len() as u64 > acknowledged);
    for byte in 0..usize::try_from(acknowledged).unwrap() {
        let flipped = tempfile::tempdir().unwrap();
        let mut content = whole.clone();
        content[byte] ^= 1 << (byte % 8);
        std::fs::write(flipped.path().join(path.file_name().unwrap()), content).unwrap();
        match refusal(flipped.path()) {
            Error::Corrupt { file, byte: at, .. } => {
                assert_eq!(file.file_name(), path.file_name());
                assert!(at <= byte as u64 && byte as u64 - at < 100, "flipped {byte}, reported {at}");
            }
            other => panic!("byte {byte}: {other}"),
        }
    }
}

#[tokio::test]
async fn records_at_rest_are_guarded_without_a_stop_and_without_a_consumer() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &small());
    put(&bus, "alice", "one").await;
    let one = one_batch().await;
    until(&bus, |stats| stats.bytes_written > one).await;
    let copied = copy(home.path());
    let path = segments(copied.path()).remove(0);
    let mut content = std::fs::read(&path).unwrap();
    let at = content.windows(3).position(|bytes| bytes == b"one").unwrap();
    content[at] = b'0';
    std::fs::write(&path, content).unwrap();
    let error = refusal(copied.path()).to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains("at byte"), "{error}");
    assert!(error.contains("move all its .log files away"), "{error}");
}

#[tokio::test]
async fn a_positions_write_that_a_crash_tore_under_a_later_batch_is_no_damage() {
    // A power cut may keep the later of two unsynced writes and lose the earlier. Positions are not synced, so the next
    // batch's marker must not be taken to prove that they were on the disk.
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &small());
    put(&bus, "alice", "one").await;
    let one = one_batch().await;
    until(&bus, |stats| stats.bytes_written > one).await;
    let path = segments(home.path()).remove(0);
    let unsynced = std::fs::read(&path).unwrap();
    put(&bus, "alice", "two").await;
    let copied = copy(home.path());
    let path = segments(copied.path()).remove(0);
    let mut content = std::fs::read(&path).unwrap();
    // The marker that may follow by now, after a sync, would prove it.
    content.truncate(unsynced.len() + usize::try_from(one).unwrap());
    content[unsynced.len() - 1] ^= 1;
    std::fs::write(&path, content).unwrap();
    let bus = open(copied.path(), &small());
    assert_eq!(texts(&all(&mut *bus.subscribe(&topic()).unwrap())), ["one"]);
}

#[tokio::test]
async fn a_marker_in_a_message_proves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &quiet());
    put(&bus, "alice", "one").await;
    put(&bus, "alice", "two").await;
    let path = segments(home.path()).remove(0);
    let before = std::fs::read(&path).unwrap();
    // The journal itself as a message, every marker of it included, in a batch that is then torn at its front.
    bus.publish(bus.room_inside(), &topic(), "alice".into(), before.clone().into()).await.unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content[before.len() + 50] ^= 1;
    let torn = tempfile::tempdir().unwrap();
    std::fs::write(torn.path().join(path.file_name().unwrap()), content).unwrap();
    let bus = open(torn.path(), &quiet());
    assert_eq!(texts(&all(&mut *bus.subscribe(&topic()).unwrap())), ["one", "two"]);
}

#[tokio::test]
async fn a_missing_or_shortened_file_refuses_the_start() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &small());
    for number in 0..60 {
        put(&bus, "alice", &format!("{number:0200}")).await;
    }
    bus.close().await;
    let count = segments(home.path()).len();
    assert!(count > 3);
    for index in 0..count - 1 {
        let copied = copy(home.path());
        let path = segments(copied.path()).remove(index);
        let length = std::fs::metadata(&path).unwrap().len();
        // Cut in the middle of a frame, and cleanly behind one.
        for shortened in [length - 1, 0] {
            std::fs::File::options().write(true).open(&path).unwrap().set_len(shortened).unwrap();
            assert!(matches!(refusal(copied.path()), Error::Corrupt { file, .. } if file == path));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(refusal(copied.path()), Error::Corrupt { .. }), "without segment {index}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name_and_a_half_begun_segment_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let bus = open(home.path(), &quiet());
    put(&bus, "alice", "one").await;
    bus.close().await;
    std::fs::write(home.path().join("00000000000000000002.log.new"), b"half a head").unwrap();
    let bus = open(home.path(), &quiet());
    assert_eq!(texts(&all(&mut *bus.subscribe(&topic()).unwrap())), ["one"]);
    bus.close().await;
    let path = segments(home.path()).remove(0);
    let mut content = std::fs::read(&path).unwrap();
    // The version stands behind length, checksum, kind and magic.
    content[17] = 2;
    let length = u32::from_le_bytes(content[..4].try_into().unwrap()) as usize;
    let crc = crc32fast::hash(&content[8..8 + length]);
    content[4..8].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, content).unwrap();
    assert!(matches!(refusal(home.path()), Error::Version { found: 2, .. }));
}
