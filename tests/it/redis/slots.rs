//! Slots: leased, fixed, lost, stolen, and Redis emptied or away.

use super::{LEASE, Member, Redis, Slot, Wish, setup, until};

#[tokio::test]
async fn nodes_take_the_lowest_free_slots_and_see_each_other() {
    let redis = Redis::start().await;
    let first = Member::any(&redis, "a");
    assert_eq!(first.seated().await.slot, Slot(0));
    let second = Member::any(&redis, "b");
    assert_eq!(second.seated().await.slot, Slot(1));
    second.say(|record| record.sessions = 7, true);
    first.sees(2).await;
    let nodes = until("what the second says", || {
        let nodes = first.nodes();
        (nodes.live()[1].record.sessions == 7).then_some(nodes)
    })
    .await;
    assert_eq!((nodes.live()[1].record.host.as_str(), nodes.live()[1].record.complete), ("b", true));
    first.stop().await;
    second.sees(1).await;
    assert_eq!(Member::any(&redis, "c").seated().await.slot, Slot(0), "what was given back is free at once");
}

#[tokio::test]
async fn where_no_slot_is_left_a_node_says_so_and_takes_one_that_comes_free() {
    let redis = Redis::start().await;
    let only = Member::start(setup(&redis, Wish::Any, 1, "a"));
    only.seated().await;
    let late = Member::start(setup(&redis, Wish::Any, 1, "b"));
    until("a word", || late.slot_check().contains("all 1 are taken").then_some(())).await;
    assert!(late.doubt().any());
    only.stop().await;
    assert_eq!(late.seated().await.slot, Slot(0));
    assert_eq!(late.slot_check(), "ok");
}

#[tokio::test]
async fn two_nodes_with_one_fixed_slot_do_not_take_it_from_each_other() {
    let redis = Redis::start().await;
    let wish = Wish::This { slot: Slot(3), ours: false };
    let first = Member::start(setup(&redis, wish, 8, "a"));
    let seat = first.seated().await;
    let second = Member::start(setup(&redis, wish, 8, "a"));
    until("a word", || second.slot_check().contains("held by another node").then_some(())).await;
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!((first.seat(), second.seat()), (Some(seat), None));
    first.stop().await;
    assert_eq!(second.seated().await.slot, Slot(3));
}

#[tokio::test]
async fn a_host_that_is_started_anew_takes_its_own_slot_over_at_once() {
    let redis = Redis::start().await;
    let lease = "00000000000000aa{\"host\":\"parlor-2\"}";
    let _: () = redis.ask(&["SET", "parlor:slot:2", lease, "PX", "600000"]);
    let other = Member::start(setup(&redis, Wish::This { slot: Slot(2), ours: true }, 8, "parlor-7"));
    until("a word", || other.slot_check().contains("parlor-2").then_some(())).await;
    let again = Member::start(setup(&redis, Wish::This { slot: Slot(2), ours: true }, 8, "parlor-2"));
    assert_eq!(again.seated().await.slot, Slot(2));
    assert_eq!(other.seat(), None, "another host's slot is not taken over");
}

#[tokio::test]
async fn a_slot_that_another_has_taken_is_noticed_and_everybody_is_announced_in_a_new_one() {
    let redis = Redis::start().await;
    let node = Member::any(&redis, "a");
    let seat = node.seated().await;
    node.comes(42).await;
    // What a pause beyond the lease comes to.
    let _: () =
        redis.ask(&["SET", "parlor:slot:0", "00000000000000aa{\"host\":\"thief\",\"complete\":true}", "PX", "600000"]);
    let now = until("another slot", || node.seat().filter(|now| now.slot == Slot(1))).await;
    assert_ne!(now.epoch, seat.epoch);
    until("its users", || {
        let entries: Vec<String> = redis.ask(&["SMEMBERS", "parlor:on:42"]);
        (entries == [now.to_string()]).then_some(())
    })
    .await;
    until("certainty", || (!node.doubt().any() && node.record().complete).then_some(())).await;
}

#[tokio::test]
async fn a_redis_that_was_emptied_is_filled_again() {
    let redis = Redis::start().await;
    let (node, other) = (Member::any(&redis, "a"), Member::any(&redis, "b"));
    let seat = node.seated().await;
    other.sees(2).await;
    for user in 0..2500 {
        node.here().came(super::UserId(user));
    }
    node.joined(super::UserId(0)).await;
    until("all of them", || node.record().complete.then_some(())).await;
    let _: () = redis.ask(&["FLUSHALL"]);
    assert!(!other.tells(7).await.is_empty(), "who was there a moment ago is told, whatever Redis has lost");
    let now = until("a new holding", || node.seat().filter(|now| now.epoch != seat.epoch)).await;
    assert_eq!(now.slot, seat.slot, "nobody else wanted it: its partition stays");
    until("all of them again", || {
        let keys: usize = redis.ask(&["DBSIZE"]);
        let known = other.nodes().get(now.slot).is_some_and(|node| node.seat == now && node.record.complete);
        (keys == 2502 && known).then_some(())
    })
    .await;
    assert_eq!(other.tells(2499).await, [now.slot]);
    assert_eq!(other.tells(2500).await, []);
}

#[tokio::test]
async fn a_node_with_its_own_slot_needs_no_redis_to_begin_and_another_waits() {
    let mut redis = Redis::start().await;
    redis.kill().await;
    let fixed = Member::start(setup(&redis, Wish::This { slot: Slot(5), ours: true }, 8, "a"));
    let leased = Member::any(&redis, "b");
    until("its slot", || fixed.seat().filter(|seat| seat.slot == Slot(5))).await;
    assert!(fixed.doubt().any() && leased.seat().is_none());
    assert!(leased.slot_check().contains("no slot yet"), "{}", leased.slot_check());
    assert!(fixed.redis_note().starts_with("away"));
    assert_eq!(fixed.tells(1).await.len(), 7, "nobody knows who is there: all slots but its own");
    redis.start_again().await;
    let (fixed_seat, leased_seat) = (fixed.seated().await, leased.seated().await);
    assert_eq!((fixed_seat.slot, leased_seat.slot), (Slot(5), Slot(0)));
    leased.sees(2).await;
    until("certainty", || (!fixed.doubt().any()).then_some(())).await;
    assert_eq!(fixed.redis_note(), "ok");
}
