//! Presence: who is told, whatever Redis does.

use std::time::{Duration, Instant};

use super::{Member, Redis, Slot, UserId, until};

/// Two nodes that see each other.
async fn two(redis: &Redis) -> (Member, Member) {
    let first = Member::any(redis, "a");
    assert_eq!(first.seated().await.slot, Slot(0));
    let second = Member::any(redis, "b");
    second.seated().await;
    first.sees(2).await;
    second.sees(2).await;
    (first, second)
}

#[tokio::test]
async fn who_has_a_session_is_told_where_it_is_and_nobody_else_is() {
    let redis = Redis::start().await;
    let (first, second) = two(&redis).await;
    let (here, there) = (first.seat().unwrap().slot, second.seat().unwrap().slot);
    second.comes(42).await;
    assert_eq!(first.tells(42).await, [there]);
    assert_eq!(first.tells(43).await, []);
    assert_eq!(second.tells(42).await, [], "its own sessions it tells itself");
    assert_eq!(first.online_elsewhere(&[UserId(42), UserId(43)]).await.into_iter().collect::<Vec<_>>(), [UserId(42)]);
    first.comes(42).await;
    assert_eq!((first.tells(42).await, second.tells(42).await), (vec![there], vec![here]));
    let many: Vec<UserId> = (0..2500).map(UserId).collect();
    let route = first.whom(&many).await;
    assert_eq!((route.everything.len(), route.some.len(), route.some[&there].len()), (0, 1, 1));
    second.here().went(UserId(42));
    until("it to be gone", || {
        let entries: Vec<String> = redis.ask(&["SMEMBERS", "parlor:on:42"]);
        (entries.len() == 1).then_some(())
    })
    .await;
    assert_eq!(first.tells(42).await, []);
}

#[tokio::test]
async fn entries_of_a_node_that_is_gone_are_told_once_more_and_then_taken_out() {
    let redis = Redis::start().await;
    let (first, _second) = two(&redis).await;
    let _: () = redis.ask(&["SADD", "parlor:on:42", "5.00000000000000aa", "0.00000000000000bb", "nonsense"]);
    assert_eq!(first.tells(42).await, [Slot(5)], "it may be a node that has just come");
    until("it to be clean", || {
        let entries: Vec<String> = redis.ask(&["SMEMBERS", "parlor:on:42"]);
        (entries == ["nonsense"]).then_some(())
    })
    .await;
    assert_eq!(first.tells(42).await, []);
}

#[tokio::test]
async fn a_node_that_has_not_announced_all_is_told_everything() {
    let redis = Redis::start().await;
    let (first, _second) = two(&redis).await;
    let lease = |complete: bool| format!("00000000000000aa{{\"host\":\"c\",\"complete\":{complete}}}");
    let _: () = redis.ask(&["SET", "parlor:slot:4", &lease(false), "PX", "600000"]);
    first.sees(3).await;
    assert_eq!(first.tells(42).await, [Slot(4)]);
    let _: () = redis.ask(&["SET", "parlor:slot:4", &lease(true), "PX", "600000"]);
    until("the news", || first.nodes().get(Slot(4)).filter(|node| node.record.complete).map(drop)).await;
    assert_eq!(first.tells(42).await, []);
}

#[tokio::test]
async fn while_redis_is_stopped_or_gone_every_node_is_told_without_a_wait_and_it_heals() {
    let mut redis = Redis::start().await;
    let (first, second) = two(&redis).await;
    let there = second.seat().unwrap().slot;
    redis.pause();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(first.tells(43).await, [there]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "each waited: {:?}", begun.elapsed());
    until("a word", || first.redis_note().starts_with("away").then_some(())).await;
    assert!(first.doubt().any());
    second.comes(42).await;
    assert!(second.doubt().any(), "a session was opened that Redis does not know of");
    redis.go_on();
    until("it to be known", || (second.record().complete && !second.doubt().any()).then_some(())).await;
    second.sees(2).await;
    first.sees(2).await;
    redis.kill().await;
    until("a word", || first.redis_note().starts_with("away").then_some(())).await;
    assert_eq!(first.tells(43).await, [there]);
    redis.start_again().await;
    until("certainty", || (!first.doubt().any() && !second.doubt().any() && second.record().complete).then_some(()))
        .await;
    first.sees(2).await;
    let now = second.seated().await;
    until("the last of those who vanished", || (first.nodes().incomplete().count() == 0).then_some(())).await;
    assert_eq!((first.tells(42).await, first.tells(43).await), (vec![now.slot], vec![]));
}
