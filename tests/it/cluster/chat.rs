//! The chat of one node, with its people on two: nobody can tell where anybody else is.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::World;
use crate::app::{Account, PASSWORD, Socket, TestApp, send_frame};
use crate::scripts::activate;

/// What one node does counts on all others within this time.
const SPREAD: Duration = Duration::from_secs(3);

/// A cluster of two, and a client of each.
async fn two(settings: &[(&str, &str)]) -> (World, TestApp, TestApp) {
    let world = World::shared(2, settings).await;
    let (here, there) = (world.app(0), world.app(1));
    (world, here, there)
}

/// The `count` messages that come to a socket, as bodies.
async fn bodies(socket: &mut Socket, count: usize) -> Vec<String> {
    socket.messages(count).await.iter().map(|m| m["messageBody"].as_str().unwrap().to_owned()).collect()
}

/// Sends one and the same message; the uid that it is accepted under.
async fn once(by: &mut Socket, to: &Account) -> String {
    by.send(send_frame(&[to], "once", "the same")).await;
    loop {
        let accepted = by.expect("accepted").await;
        if accepted["clientMessageId"] == "the same" {
            return accepted["messageUid"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_message_finds_its_people_on_whatever_node_and_device_they_are_in_order() {
    let (world, here, there) = two(&[]).await;
    let (ada, bob) = (here.register("ada").await, there.register("bob").await);
    let (mut desk, mut phone) = (here.socket(&ada).await, there.socket(&ada).await);
    let mut at_bob = there.socket(&bob).await;
    let said: Vec<String> = (0..50).map(|n| format!("message {n}")).collect();
    for (n, body) in said.iter().enumerate() {
        desk.send(send_frame(&[&bob], body, &n.to_string())).await;
    }
    for socket in [&mut desk, &mut phone, &mut at_bob] {
        assert_eq!(bodies(socket, 50).await, said);
    }
    // By HTTP on one node to a socket on the other, both ways.
    here.send(&ada, &[&bob], "by request").await;
    there.send(&bob, &[&ada], "and back").await;
    assert_eq!(bodies(&mut at_bob, 2).await.len(), 2);
    assert_eq!(bodies(&mut desk, 2).await.len(), 2);
    // Sent again to another node: the same message.
    let first = once(&mut desk, &bob).await;
    assert_eq!(once(&mut phone, &bob).await, first);
    here.send(&ada, &[&bob], "last").await;
    assert_eq!(bodies(&mut at_bob, 2).await, ["once", "last"]);
    // Resumed on the node where one was not.
    drop(at_bob);
    there.send(&ada, &[&bob], "meanwhile").await;
    let mut moved = here.socket_after(&bob, 53).await;
    assert_eq!(bodies(&mut moved, 2).await, ["last", "meanwhile"]);
    world.stop().await;
}

#[tokio::test]
async fn typing_presence_and_read_marks_go_between_nodes() {
    let (world, here, there) = two(&[]).await;
    let (ada, bob) = (here.register("ada").await, there.register("bob").await);
    here.send(&ada, &[&bob], "hi").await;
    let to_bob = there.inbox(&bob, 1).await.pop().unwrap();
    let mut at_ada = here.socket(&ada).await;
    let mut at_bob = there.socket(&bob).await;
    let presence = |of: &Account, online: bool| json!({"type": "presence", "userId": of.id, "online": online});
    assert_eq!(at_ada.expect("presence").await, presence(&bob, true));
    assert_eq!(at_bob.expect("presence").await, presence(&ada, true), "who comes learns who is there");
    at_ada.send(json!({"type": "typing", "recipientIds": [bob.id]})).await;
    assert_eq!(at_bob.expect("typing").await["userId"], ada.id);
    let conversation = &to_bob["conversationId"];
    at_bob.send(json!({"type": "markRead", "conversationId": conversation, "seq": 1})).await;
    let read = json!({"type": "read", "conversationId": conversation, "userId": bob.id, "seq": 1});
    assert_eq!(at_ada.expect("read").await, read);
    // Somebody who is there twice, on two nodes, is not gone when one of them is.
    let second = here.socket(&bob).await;
    at_bob.close().await;
    let told = at_ada.gather("presence", Duration::from_millis(4500)).await;
    // That somebody is there may be said twice, by each node; that they are gone may not.
    assert!(told.iter().all(|frame| frame["online"] == true), "{told:?}");
    second.close().await;
    assert_eq!(at_ada.expect("presence").await, presence(&bob, false));
    world.stop().await;
}

#[tokio::test]
async fn logins_that_end_and_users_who_are_disabled_are_out_on_every_node() {
    let (world, here, there) = two(&[]).await;
    let ada = here.register("ada").await;
    let phone = there.login("ada").await;
    let (mut near, mut far) = (here.socket(&ada).await, there.socket(&ada).await);
    let mut other = there.socket(&phone).await;
    here.post("logout", Some(&ada), &json!({})).await.assert(204);
    for socket in [&mut near, &mut far] {
        assert_eq!(socket.expect_close_within(SPREAD).await, 4401);
    }
    other.assert_alive().await;
    assert_eq!(there.get("me", &ada).await.status, 401, "the token is good on no node");
    let root = world.admin(0).await;
    let mut at_one = here.socket(&phone).await;
    here.post(&format!("admin/users/{}/disable", ada.id), Some(&root), &json!({})).await.assert(200);
    for socket in [&mut other, &mut at_one] {
        assert_eq!(socket.expect_close_within(SPREAD).await, 4401);
    }
    let credentials = json!({"username": "ada", "password": PASSWORD});
    there.post("login", None, &credentials).await.assert_problem(403, "account_disabled");
    world.stop().await;
}

#[tokio::test]
async fn what_one_may_do_in_a_while_is_counted_over_all_nodes() {
    let limits = [
        ("SESSION__MESSAGES_PER_SECOND", "1"),
        ("SESSION__MESSAGE_BURST", "20"),
        ("ACCOUNTS__LIMITS__PER_ACCOUNT", "{ attempts = 6, seconds = 600 }"),
    ];
    let (world, here, there) = two(&limits).await;
    let (ada, bob) = (here.register("ada").await, there.register("bob").await);
    let mut sockets = [here.socket(&ada).await, there.socket(&ada).await];
    let begun = tokio::time::Instant::now();
    for n in 0..60 {
        sockets[n % 2].send(send_frame(&[&bob], "flood", &n.to_string())).await;
    }
    let mut accepted = 0;
    for socket in &mut sockets {
        accepted += socket.gather("accepted", Duration::from_secs(3)).await.len();
    }
    let allowed = 20 + begun.elapsed().as_secs() as usize + 1;
    assert!((20..=allowed).contains(&accepted), "{accepted} accepted, {allowed} allowed");
    // Guesses at a password, by turns.
    let mut answers = Vec::new();
    for n in 0..12 {
        let wrong = json!({"username": "bob", "password": "not this one"});
        answers.push([&here, &there][n % 2].post("login", None, &wrong).await.status);
    }
    let guesses = answers.iter().filter(|status| **status == 401).count();
    assert_eq!(answers.iter().filter(|status| **status == 429).count(), 12 - guesses, "{answers:?}");
    assert!(guesses <= 6, "{answers:?}");
    world.stop().await;
}

#[tokio::test]
async fn what_is_set_on_one_node_runs_for_messages_that_come_by_another() {
    let (world, here, there) = two(&[]).await;
    let (ada, bob, carol) = (here.register("ada").await, there.register("bob").await, there.register("carol").await);
    let mut at_ada = here.socket(&ada).await;
    // Both nodes know by now that none of them has anything.
    for (app, from, to) in [(&here, &ada, &bob), (&there, &bob, &ada), (&here, &ada, &carol), (&there, &carol, &ada)] {
        app.send(from, &[to], "before").await;
    }
    bodies(&mut at_ada, 4).await;
    let away = json!({"enabled": true, "text": "away", "repeatAfterSeconds": 0});
    there.put("users/me/auto-reply", &bob, &away).await.assert(200);
    let script = "function incoming(message)\n  return { action = 'FORWARD', reply = { { to = message.senderId, \
                  message = 'script: ' .. message.messageBody } } }\nend";
    activate(&there, &carol, "incoming", script).await;
    let loud = "function outgoing(message)\n  return { messageBody = message.messageBody:upper() }\nend";
    activate(&there, &ada, "outgoing", loud).await;
    tokio::time::sleep(SPREAD).await;
    let mut seen = Vec::new();
    for (to, n) in [(&bob, 0), (&carol, 1)] {
        at_ada.accepted(send_frame(&[to], "hello", &n.to_string())).await;
        seen.extend(bodies(&mut at_ada, 2).await);
    }
    seen.sort();
    assert_eq!(seen, ["HELLO", "HELLO", "away", "script: HELLO"]);
    let of_bob: Vec<Value> = there.inbox(&bob, 4).await;
    assert_eq!(of_bob.iter().filter(|message| message["fromAutoReply"] == true).count(), 1);
    world.stop().await;
}
