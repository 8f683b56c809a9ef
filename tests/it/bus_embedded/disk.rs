//! A full disk: nothing is accepted that was not kept, and room made is enough to go on.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::{Bus, Error, Offset, Partition, Place, Record, Term};
use tempfile::TempDir;

use super::{all, copy, finish, open, put, small, texts, topic, until};

/// A file system of its own, so small that it can be filled; `None`, said loudly, where one cannot be had.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(bytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: a full disk was not tested, it takes root to mount a small one");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all space but `left` bytes.
    fn fill(&self, left: u64) {
        let free = rustix::fs::statvfs(self.path()).unwrap();
        let bytes = (free.f_bavail * free.f_frsize).saturating_sub(left);
        std::fs::write(self.path().join("filler"), vec![1; usize::try_from(bytes).unwrap()]).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_with_the_reason_and_needs_no_restart() {
    let Some(disk) = SmallDisk::mount(1 << 20) else { return };
    // Both ways of running full: within a segment, and at the beginning of one.
    for segment_bytes in [1 << 20, 4096] {
        let folder = disk.path().join(segment_bytes.to_string());
        let options = BusOptions { segment_bytes, journal_bytes: 4 << 20, unfinished_bytes: 1 << 20, ..small() };
        let bus = open(&folder, &options);
        let mut accepted = Vec::new();
        for round in 0..3 {
            disk.fill(32 * 1024);
            let mut refused = 0;
            for number in 0..100 {
                let payload = format!("{round} {number} {}", "x".repeat(700));
                match bus.publish(bus.room_inside(), &topic(), "k".into(), payload.clone().into()).await {
                    Ok(_) => accepted.push(payload),
                    Err(Error::Unavailable { topic: of, reason }) => {
                        assert_eq!(of, topic());
                        assert!(reason.contains("no space left") && reason.contains("free some space"), "{reason}");
                        refused += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(refused > 20, "{refused} refused");
            assert!(bus.stats().write_errors >= refused);
            disk.free();
            let payload = format!("{round} again");
            put(&bus, "k", &payload).await;
            accepted.push(payload);
        }
        let unfinished: usize = accepted.iter().map(|payload| payload.len() + 1).sum();
        assert_eq!(bus.stats().unfinished_bytes, unfinished as u64, "what was refused holds no room");
        let mut consumer = bus.subscribe(&topic()).unwrap();
        assert_eq!(texts(&all(&mut *consumer)), accepted);
        drop(consumer);
        bus.close().await;
        let bus = open(&folder, &options);
        let mut consumer = bus.subscribe(&topic()).unwrap();
        let records = all(&mut *consumer);
        assert_eq!(texts(&records), accepted, "and nothing that was refused has come back");
        finish(&*consumer, &records);
        until(&bus, |stats| stats.segments == 1).await;
        bus.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[tokio::test]
async fn many_in_one_refused_batch_are_all_refused_and_order_starts_where_it_stood() {
    let Some(disk) = SmallDisk::mount(1 << 20) else { return };
    let folder = disk.path().join("bus");
    let bus = Arc::new(open(&folder, &BusOptions { segment_bytes: 1 << 20, journal_bytes: 4 << 20, ..small() }));
    let before = put(&bus, "k", "before").await;
    disk.fill(8192);
    let many = (0..40).map(|_| bus.publish(bus.room_inside(), &topic(), "k".into(), vec![b'x'; 2900].into()));
    let outcomes = futures_util::future::join_all(many.collect::<Vec<_>>()).await;
    let kept = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    // Two pages are left, and what the last one of the file has free.
    assert!(kept <= 4, "{kept} kept");
    let elsewhere = copy(&folder);
    let found = open(elsewhere.path(), &small());
    let records = all(&mut *found.subscribe(&topic()).unwrap()).len() as u64;
    assert_eq!(records, 1 + kept, "a crash right now brings nothing back that was refused");
    disk.free();
    let after = put(&bus, "k", "after").await;
    assert_eq!(after.offset.0, before.offset.0 + 1 + kept, "no offset was lost on what was refused");
}

#[tokio::test]
async fn a_dead_letter_that_finds_no_space_is_said_to_be_lost_and_can_be_tried_again() {
    let Some(disk) = SmallDisk::mount(1 << 20) else { return };
    let bus = open(disk.path(), &small());
    let place = Place { topic: topic(), partition: Partition(0), offset: Offset(0) };
    let record = Record { place, term: Term::default(), key: "k".into(), payload: Bytes::from(vec![b'x'; 100_000]) };
    disk.fill(16 * 1024);
    assert!(matches!(bus.dead_letter(&record, "why").await, Err(Error::Unavailable { .. })));
    disk.free();
    bus.dead_letter(&record, "why").await.unwrap();
    let written = std::fs::read_to_string(disk.path().join("dead-letter.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 1);
}
