//! What the nodes depend on comes late, goes and comes back: what is promised holds, and nobody has to restart a node.

use std::time::{Duration, Instant};

use serde_json::json;

use super::wire::Wire;
use super::world::{Dependency, RECOVERY, World};
use crate::app::{Socket, TestApp, send_frame};

/// Messages between nodes arrive within this time, whatever the state of Redis.
const ARRIVES: Duration = Duration::from_secs(20);

/// Sends one message between two sockets and says how long it took to arrive.
async fn exchange(from: &mut Socket, to: &mut Socket, recipient: &crate::app::Account, body: &str) -> Duration {
    let begun = Instant::now();
    from.accepted(send_frame(&[recipient], body, body)).await;
    // Copies of what one sent oneself come too.
    while to.expect_within("message", ARRIVES).await["messageBody"] != body {}
    begun.elapsed()
}

#[tokio::test]
async fn with_redis_empty_stopped_or_gone_messages_still_find_their_people_and_it_heals_by_itself() {
    let mut world = World::shared(2, &[]).await;
    let (here, there) = (world.app(0), world.app(1));
    let (ada, bob) = (here.register("ada").await, there.register("bob").await);
    let (mut at_ada, mut at_bob) = (here.socket(&ada).await, there.socket(&bob).await);
    let mut took = vec![("whole", exchange(&mut at_ada, &mut at_bob, &bob, "whole").await)];
    world.redis().ask::<()>(&["FLUSHALL"]);
    took.push(("flushed", exchange(&mut at_ada, &mut at_bob, &bob, "flushed").await));
    world.redis().pause();
    for body in ["stopped 1", "stopped 2", "stopped 3"] {
        took.push((body, exchange(&mut at_ada, &mut at_bob, &bob, body).await));
    }
    world.redis().go_on();
    world.redis().kill().await;
    for body in ["gone 1", "gone 2", "gone 3"] {
        took.push((body, exchange(&mut at_ada, &mut at_bob, &bob, body).await));
    }
    // Somebody who comes while it is gone is found too.
    let carol = there.register("carol").await;
    let mut at_carol = there.socket(&carol).await;
    took.push(("newcomer", exchange(&mut at_ada, &mut at_carol, &carol, "newcomer").await));
    world.redis().start_again().await;
    world.until_ready().await;
    for (body, socket, to) in [("back", &mut at_bob, &bob), ("back too", &mut at_carol, &carol)] {
        took.push((body, exchange(&mut at_ada, socket, to, body).await));
    }
    eprintln!("{took:?}");
    for socket in [&mut at_ada, &mut at_bob, &mut at_carol] {
        socket.assert_alive().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn nodes_that_are_started_before_what_they_depend_on_wait_for_it_in_any_order() {
    let mut world = World::apart(2, 1, &[]).await;
    // Nothing is there but addresses.
    let starting: Vec<_> = (0..2).map(|node| world.nodes[node].spawn()).collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.redis().start_again().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.start_postgres().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.start_broker(0).await;
    for (node, starting) in starting.into_iter().enumerate() {
        world.nodes[node].server = Some(starting.ready().await.expect("it waits, and does not end"));
    }
    world.until_ready().await;
    let (here, there) = (world.app(0), world.app(1));
    let (ada, bob) = (here.register("ada").await, there.register("bob").await);
    let (mut at_ada, mut at_bob) = (here.socket(&ada).await, there.socket(&bob).await);
    exchange(&mut at_ada, &mut at_bob, &bob, "hello").await;
    without_kafka(&world, &here, &ada, &bob).await;
    without_postgres(&world, &here, &ada, &bob).await;
    // All that was accepted meanwhile is there.
    exchange(&mut at_bob, &mut at_ada, &ada, "still here").await;
    world.stop().await;
}

/// A node without Kafka accepts nothing, and says when to come again.
async fn without_kafka(world: &World, app: &TestApp, from: &crate::app::Account, to: &crate::app::Account) {
    world.wire(0, Dependency::Kafka, Wire::Cut);
    let message = json!({"messageBody": "into the void", "recipientIds": [to.id], "clientMessageId": "void"});
    let refused = app.post("messages", Some(from), &message).await.assert(503);
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    world.wire(0, Dependency::Kafka, Wire::Whole);
    let deadline = Instant::now() + RECOVERY;
    while app.post("messages", Some(from), &message).await.status != 202 {
        assert!(Instant::now() < deadline, "it needs no restart");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let there = world.app(1);
    let of_it = |inbox: &[serde_json::Value]| inbox.iter().filter(|m| m["messageBody"] == "into the void").count();
    let deadline = Instant::now() + RECOVERY;
    while of_it(&there.inbox(to, 0).await) == 0 {
        assert!(Instant::now() < deadline, "it arrives");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(of_it(&there.inbox(to, 0).await), 1, "once, though it was sent again and again");
}

/// A node without Postgres may accept, for Kafka has it; what it cannot do it refuses, and says when to come again.
async fn without_postgres(world: &World, app: &TestApp, from: &crate::app::Account, to: &crate::app::Account) {
    world.wire(0, Dependency::Postgres, Wire::Cut);
    let credentials = json!({"username": "ada", "password": crate::app::PASSWORD});
    let refused = app.post("login", None, &credentials).await.assert(503);
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    let message = json!({"messageBody": "later", "recipientIds": [to.id], "clientMessageId": "later"});
    let status = app.post("messages", Some(from), &message).await.status;
    assert!([202, 503].contains(&status), "{status}");
    world.wire(0, Dependency::Postgres, Wire::Whole);
    world.until_ready().await;
    app.post("login", None, &credentials).await.assert(200);
    if status == 202 {
        let deadline = Instant::now() + RECOVERY;
        while !world.app(1).inbox(to, 0).await.iter().any(|message| message["messageBody"] == "later") {
            assert!(Instant::now() < deadline, "what was accepted arrives");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
