//! The log over real tables.

use super::*;
use crate::store::testing::{at, store};

fn entry(owner: i64, n: i64) -> LogEntry {
    let (user_id, details) = (UserId(owner), Details::default());
    LogEntry {
        user_id,
        source: Source::Incoming,
        at: at(n),
        version: None,
        message_uid: None,
        verdict: "drop",
        details,
    }
}

async fn count(store: &Store, owner: i64, keep: u32) -> usize {
    store.automation_log(UserId(owner), Source::Incoming, None, 1000, keep).await.unwrap().len()
}

#[tokio::test]
async fn what_is_noted_is_in_the_tables_soon_and_at_once_when_flushed() {
    let (_home, store) = store().await;
    let log = AutomationLog::start(store.clone(), 200);
    log.flush().await;
    log.note(entry(1, 0));
    assert_eq!(count(&store, 1, 200).await, 0, "nothing waits for it");
    log.flush().await;
    assert_eq!(count(&store, 1, 200).await, 1);
    // From a thread that knows no runtime, too.
    let other = log.clone();
    std::thread::spawn(move || other.note(entry(1, 1))).join().unwrap();
    for _ in 0..200 {
        if count(&store, 1, 200).await == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("an entry is not written by itself");
}

#[tokio::test]
async fn a_flood_of_one_owner_leaves_the_others_log_alone_and_is_told() {
    let (_home, store) = store().await;
    let log = AutomationLog::start(store.clone(), 200);
    for n in 0..1000 {
        log.note(entry(1, n));
    }
    log.note(entry(2, 0));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    log.note(entry(1, 1000));
    log.flush().await;
    let of_flood = store.automation_log(UserId(1), Source::Incoming, None, 1000, 200).await.unwrap();
    assert_eq!((of_flood.len(), count(&store, 2, 200).await), (52, 1));
    assert_eq!((of_flood[1].verdict.as_str(), of_flood[0].at), (LEFT_OUT, at(1000)));
    assert!(of_flood[1].details.detail.as_ref().unwrap().starts_with("950 more"), "{:?}", of_flood[1]);
}

#[tokio::test]
async fn a_log_never_grows_far_beyond_what_is_kept_whoever_restarts() {
    let (_home, store) = store().await;
    for start in 0..6 {
        let log = AutomationLog::start(store.clone(), 8);
        for n in 0..20 {
            log.note(entry(1, start * 100 + n));
            log.flush().await;
        }
        assert!(count(&store, 1, 1000).await <= 8 + 2, "start {start}");
        assert_eq!(count(&store, 1, 8).await, 8);
    }
}

#[tokio::test]
async fn what_waits_when_the_last_handle_goes_is_written() {
    let (_home, store) = store().await;
    let log = AutomationLog::start(store.clone(), 200);
    (0..150).for_each(|n| log.note(entry(n, 0)));
    drop(log);
    for _ in 0..200 {
        if count(&store, 149, 9).await == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("lost");
}
