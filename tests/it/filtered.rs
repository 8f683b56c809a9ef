//! What a script kept out of an inbox: it stands in the list and nowhere else, until it is restored. The stage that drops
//! is the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use parlor::ids::UserId;
use parlor::pipeline::stages::Catalogue;
use serde_json::{Value, json};

use crate::app::{Account, PATIENCE, TestApp, send_frame};
use crate::stages::{Inside, bodies, does};

/// A node on which a user drops whatever begins with `spam`.
async fn start() -> (Inside, Arc<AtomicI64>) {
    let who = Arc::new(AtomicI64::new(0));
    let dropping = who.clone();
    let firewall = does(move |mut envelope| {
        let owner = UserId(dropping.load(Ordering::Relaxed));
        if envelope.message_body.starts_with("spam") && envelope.recipient_ids.contains(&owner) {
            envelope.recipient_ids.retain(|id| *id != owner);
            envelope.filtered_ids.push(owner);
        }
        async { envelope }.boxed()
    });
    let catalogue = Catalogue::standard().with("firewall", firewall);
    (Inside::start(&["firewall", "router"], catalogue, |_| {}).await, who)
}

/// Waits until so many messages are in the list, and says them.
async fn filtered(app: &TestApp, of: &Account, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let items = app.get("filtered", of).await.assert(200).items();
        if items.len() >= count {
            assert_eq!(items.len(), count, "{items:?}");
            return items;
        }
        assert!(tokio::time::Instant::now() < deadline, "{items:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn restore(app: &TestApp, of: &Account, message: &Value) -> Value {
    let path = format!("filtered/{}/restore", message["messageUid"].as_str().unwrap());
    app.post(&path, Some(of), &json!({})).await.assert(200).json
}

#[actix::test]
async fn what_was_dropped_stands_in_the_list_and_nowhere_else() {
    let (inside, who) = start().await;
    let (app, (ada, bob)) = (&inside.app, inside.pair().await);
    let carol = app.register("carol").await;
    who.store(bob.id, Ordering::Relaxed);
    let (mut at_ada, mut at_bob) = (app.socket(&ada).await, app.socket(&bob).await);
    let uid = at_ada.accepted(send_frame(&[&bob], "spam to one", "1")).await;
    let to_two = at_ada.accepted(send_frame(&[&bob, &carol], "spam to two", "2")).await;

    let list = filtered(app, &bob, 2).await;
    assert_eq!((&list[0]["messageUid"], &list[1]["messageUid"]), (&json!(to_two), &json!(uid)), "newest first");
    let sent = app.inbox(&ada, 2).await;
    for (dropped, own) in list.iter().rev().zip(sent) {
        let mut own = own.clone();
        own.as_object_mut().unwrap().remove("seq");
        assert_eq!(*dropped, own, "the fields of a message but its place, and whole recipients");
    }
    for who in [&ada, &carol] {
        assert_eq!(filtered(app, who, 0).await.len(), 0);
    }
    assert_eq!(bodies(&app.inbox(&carol, 1).await), ["spam to two"]);
    assert_eq!(app.get("inbox", &bob).await.items().len(), 0);
    assert_eq!(app.get("conversations", &bob).await.items().len(), 0);
    for dropped in &list {
        let history = format!("conversations/{}/messages", dropped["conversationId"].as_str().unwrap());
        assert_eq!(app.get(&history, &bob).await.assert(200).items().len(), 0);
    }
    at_bob.expect_none("message", Duration::from_millis(200)).await;

    // A message that was kept does not bring the others in.
    at_ada.accepted(send_frame(&[&bob], "hello", "3")).await;
    at_bob.expect("message").await;
    let conversations = app.get("conversations", &bob).await.items();
    assert_eq!((conversations.len(), &conversations[0]["unread"]), (1, &json!(1)));
    assert_eq!(conversations[0]["lastMessage"]["messageBody"], "hello");
    at_ada.accepted(send_frame(&[&bob], "spam again", "4")).await;
    filtered(app, &bob, 3).await;
    let conversations = app.get("conversations", &bob).await.items();
    assert_eq!((&conversations[0]["unread"], &conversations[0]["lastMessage"]["seq"]), (&json!(1), &json!(1)));
    inside.stop().await;
}

#[actix::test]
async fn a_restored_message_gets_the_next_place_once_and_its_owner_is_told() {
    let (inside, who) = start().await;
    let (app, (ada, bob)) = (&inside.app, inside.pair().await);
    who.store(bob.id, Ordering::Relaxed);
    let (mut at_ada, mut at_bob) = (app.socket(&ada).await, app.socket(&bob).await);
    at_ada.accepted(send_frame(&[&bob], "spam", "1")).await;
    at_ada.accepted(send_frame(&[&bob], "hello", "2")).await;
    at_bob.expect("message").await;
    at_ada.messages(2).await;
    let dropped = filtered(app, &bob, 1).await.remove(0);
    let path = format!("filtered/{}/restore", dropped["messageUid"].as_str().unwrap());

    app.post(&path, Some(&app.register("carol").await), &json!({})).await.assert_problem(404, "unknown_message");
    let nobodys = "filtered/c0a630d2-8db3-4a03-9e19-7141582f37aa/restore";
    app.post(nobodys, Some(&bob), &json!({})).await.assert_problem(404, "unknown_message");
    app.post("filtered/spam/restore", Some(&bob), &json!({})).await.assert_problem(400, "invalid_path");

    let restored = join_all((0..10).map(|_| restore(app, &bob, &dropped))).await;
    let mut wanted = dropped.clone();
    wanted["seq"] = json!(2);
    assert!(restored.iter().all(|restored| *restored == wanted), "{restored:?}");
    let mut told = at_bob.expect("message").await;
    told.as_object_mut().unwrap().remove("type");
    assert_eq!(told, wanted);
    assert_eq!(bodies(&app.inbox(&bob, 2).await), ["hello", "spam"]);
    filtered(app, &bob, 0).await;
    at_bob.expect_none("message", Duration::from_millis(200)).await;
    at_ada.expect_none("message", Duration::from_millis(1)).await;

    // Sent again, it is the message that was restored.
    at_ada.accepted(send_frame(&[&bob], "spam", "1")).await;
    at_ada.accepted(send_frame(&[&bob], "bye", "3")).await;
    assert_eq!(bodies(&app.inbox(&bob, 3).await), ["hello", "spam", "bye"]);
    filtered(app, &bob, 0).await;
    inside.stop().await;
}

#[actix::test]
async fn conversations_and_read_marks_are_right_around_a_restored_message() {
    let (inside, who) = start().await;
    let (app, (ada, bob)) = (&inside.app, inside.pair().await);
    who.store(bob.id, Ordering::Relaxed);
    let (mut at_ada, mut at_bob) = (app.socket(&ada).await, app.socket(&bob).await);
    // In ada's inbox 1, 2, 3, 4; in bob's 1, 2, 4, 3.
    for (n, body) in ["one", "two", "spam", "three"].into_iter().enumerate() {
        at_ada.accepted(send_frame(&[&bob], body, &n.to_string())).await;
    }
    at_bob.messages(3).await;
    at_ada.messages(4).await;
    let dropped = filtered(app, &bob, 1).await.remove(0);
    let conversation = dropped["conversationId"].clone();
    let read = |seq: i64| json!({"type": "markRead", "conversationId": conversation, "seq": seq});
    at_bob.send(read(3)).await;
    assert_eq!((&at_ada.expect("read").await["seq"], &at_bob.expect("read").await["seq"]), (&json!(4), &json!(3)));

    restore(app, &bob, &dropped).await;
    at_bob.expect("message").await;
    let line = app.get("conversations", &bob).await.items().remove(0);
    assert_eq!((&line["unread"], &line["readSeq"], &line["lastMessage"]["seq"]), (&json!(1), &json!(3), &json!(4)));
    let history = format!("conversations/{}/messages", conversation.as_str().unwrap());
    let items = app.get(&history, &bob).await.items();
    assert_eq!(bodies(&items), ["spam", "three", "two", "one"]);
    let older = app.get(&format!("{history}?before=4&limit=1"), &bob).await.items();
    assert_eq!(bodies(&older), ["three"]);

    // Read to the end: still all of ada's, not back to the place of the restored one.
    at_bob.send(read(4)).await;
    assert_eq!((&at_ada.expect("read").await["seq"], &at_bob.expect("read").await["seq"]), (&json!(4), &json!(4)));
    assert_eq!(app.get("conversations", &bob).await.items()[0]["unread"], 0);
    // Ada has read three of four: that is two of bob's, for the third of his is her fourth.
    at_ada.send(read(3)).await;
    assert_eq!((&at_ada.expect("read").await["seq"], &at_bob.expect("read").await["seq"]), (&json!(3), &json!(2)));
    // Who asks later hears the same.
    let reads = format!("conversations/{}/reads", conversation.as_str().unwrap());
    assert_eq!(app.get(&reads, &bob).await.assert(200).items(), [json!({"userId": ada.id, "seq": 2})]);
    assert_eq!(app.get(&reads, &ada).await.assert(200).items(), [json!({"userId": bob.id, "seq": 4})]);
    at_ada.send(read(4)).await;
    assert_eq!((&at_ada.expect("read").await["seq"], &at_bob.expect("read").await["seq"]), (&json!(4), &json!(4)));
    inside.stop().await;
}

#[actix::test]
async fn the_list_is_paged_and_a_page_does_not_move_with_what_is_restored() {
    let (inside, who) = start().await;
    let (app, (ada, bob)) = (&inside.app, inside.pair().await);
    who.store(bob.id, Ordering::Relaxed);
    for n in 0..5 {
        app.send(&ada, &[&bob], &format!("spam {n}")).await;
    }
    filtered(app, &bob, 5).await;
    let first = app.get("filtered?limit=2", &bob).await.assert(200);
    assert_eq!(bodies(&first.items()), ["spam 4", "spam 3"]);
    restore(app, &bob, &first.items()[1]).await;
    let next = first.json["next"].as_str().unwrap();
    let second = app.get(&format!("filtered?limit=2&before={next}"), &bob).await.assert(200);
    assert_eq!(bodies(&second.items()), ["spam 2", "spam 1"]);
    let next = second.json["next"].as_str().unwrap();
    let last = app.get(&format!("filtered?limit=1&before={next}"), &bob).await.assert(200);
    assert_eq!((bodies(&last.items()), &last.json["next"]), (vec!["spam 0"], &Value::Null));
    let carol = app.register("carol").await;
    app.get(&format!("filtered?before={next}"), &carol).await.assert_problem(400, "invalid_query");
    for bad in ["before=x", "before=c0a630d2-8db3-4a03-9e19-7141582f37aa", "limit=0"] {
        app.get(&format!("filtered?{bad}"), &bob).await.assert_problem(400, "invalid_query");
    }
    inside.stop().await;
}
