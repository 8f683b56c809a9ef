//! The standing auto-reply, as two people who chat meet it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parlor::ids::{ConversationId, UserId};
use serde_json::{Value, json};

use crate::app::{Account, PATIENCE, TestApp, send_frame};

/// Nothing more comes after so long.
const QUIET: Duration = Duration::from_millis(600);

async fn set(app: &TestApp, of: &Account, text: &str, repeat_after: u32) {
    let settings = json!({"enabled": true, "text": text, "repeatAfterSeconds": repeat_after});
    assert_eq!(app.put("users/me/auto-reply", of, &settings).await.assert(200).json, settings);
}

/// The automatic messages of an inbox once there are `count`, and after a while in which more might come.
async fn automatic(app: &TestApp, of: &Account, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    let read = async || {
        let mut all = app.inbox(of, 0).await;
        all.retain(|message| message["fromAutoReply"] == true);
        all
    };
    while read().await.len() < count {
        assert!(Instant::now() < deadline, "not {count} automatic messages");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(QUIET).await;
    read().await
}

fn conversation(of: &[&Account]) -> String {
    ConversationId::of(of.iter().map(|account| UserId(account.id))).to_string()
}

#[tokio::test]
async fn a_sender_is_answered_once_also_across_a_restart_and_again_with_another_text() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    set(&app, &bob, "away", 3600).await;
    let (mut at_ada, mut at_bob) = (app.socket(&ada).await, app.socket(&bob).await);
    at_ada.accepted(send_frame(&[&bob], "hello", "1")).await;
    for socket in [&mut at_ada, &mut at_bob] {
        let mut came = socket.messages(2).await;
        came.sort_by_key(|message| message["fromAutoReply"] == true);
        assert_eq!((&came[0]["messageBody"], &came[1]["messageBody"]), (&json!("hello"), &json!("away")));
        assert_eq!((&came[1]["senderId"], &came[1]["recipientIds"]), (&json!(bob.id), &json!([ada.id])));
        assert_eq!(came[1]["conversationId"], conversation(&[&ada, &bob]).as_str());
    }
    at_ada.accepted(send_frame(&[&bob], "still there?", "2")).await;
    assert_eq!(automatic(&app, &ada, 1).await.len(), 1);
    app.restart().await;
    app.send(&ada, &[&bob], "and now?").await;
    assert_eq!(automatic(&app, &ada, 1).await.len(), 1, "remembered");
    set(&app, &bob, "back soon", 3600).await;
    app.send(&ada, &[&bob], "hm").await;
    let answers = automatic(&app, &ada, 2).await;
    assert_eq!((answers.len(), &answers[1]["messageBody"]), (2, &json!("back soon")));
    let off = json!({"enabled": false, "text": "back soon", "repeatAfterSeconds": 0});
    app.put("users/me/auto-reply", &bob, &off).await.assert(200);
    app.send(&ada, &[&bob], "now?").await;
    assert_eq!(automatic(&app, &ada, 2).await.len(), 2, "switched off");
}

#[tokio::test]
async fn two_who_answer_everything_never_answer_each_other() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    set(&app, &ada, "ada is away", 0).await;
    set(&app, &bob, "bob is away", 0).await;
    app.send(&ada, &[&bob], "1").await;
    app.send(&ada, &[&bob], "2").await;
    app.send(&bob, &[&ada], "3").await;
    app.send(&ada, &[&ada], "a note").await;
    tokio::time::sleep(QUIET).await;
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for message in app.inbox(&ada, 7).await {
        *came.entry(message["messageBody"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let wanted = [("1", 1), ("2", 1), ("3", 1), ("a note", 1), ("ada is away", 1), ("bob is away", 2)];
    assert_eq!(came, wanted.map(|(body, count)| (body.to_owned(), count)).into());
    assert_eq!(app.inbox(&bob, 6).await.len(), 6, "all but the note");
}

#[tokio::test]
async fn a_message_to_many_is_answered_to_its_sender_alone() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    set(&app, &bob, "bob is away", 3600).await;
    set(&app, &carol, "carol is away", 3600).await;
    app.send(&ada, &[&bob, &carol], "hello all").await;
    let mut answers = automatic(&app, &ada, 2).await;
    answers.sort_by_key(|answer| answer["senderId"].as_i64());
    let told: Vec<_> =
        answers.iter().map(|answer| (&answer["messageBody"], answer["conversationId"].clone())).collect();
    let of = |other| json!(conversation(&[&ada, other]));
    assert_eq!(told, [(&json!("bob is away"), of(&bob)), (&json!("carol is away"), of(&carol))]);
    for (who, body) in [(&bob, "bob is away"), (&carol, "carol is away")] {
        let own = automatic(&app, who, 1).await;
        assert_eq!((own.len(), &own[0]["messageBody"]), (1, &json!(body)), "one's own, as for every sender");
    }
}

#[tokio::test]
async fn kill_9_neither_loses_an_answer_nor_doubles_one() {
    const SENDERS: usize = 6;
    const ROUNDS: usize = 4;
    const EACH: usize = 10;
    let mut app = TestApp::with(&[("session.message_burst", "1000"), ("session.messages_per_second", "1000")]).await;
    let (once, always) = (app.register("once").await, app.register("always").await);
    set(&app, &once, "once", 3600).await;
    set(&app, &always, "always", 0).await;
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        senders.push(app.register(&format!("sender{n}")).await);
    }
    for round in 0..ROUNDS {
        // As many at once as go: the kill finds messages at every stage.
        let sent = senders.iter().map(|sender| {
            let (app, once, always) = (&app, &once, &always);
            async move {
                for _ in 0..EACH {
                    app.send(sender, &[once, always], "hello").await;
                }
            }
        });
        futures_util::future::join_all(sent).await;
        // The first ones at once, the later ones after some of it was done.
        tokio::time::sleep(Duration::from_millis(3 * round as u64)).await;
        app.kill9().await;
    }
    // What is sent now is behind all that was there before.
    let wanted = ROUNDS * EACH * 2 + 1;
    for sender in &senders {
        app.inbox(sender, wanted).await;
    }
    for sender in &senders {
        let mut came: BTreeMap<String, usize> = BTreeMap::new();
        for message in automatic(&app, sender, ROUNDS * EACH + 1).await {
            *came.entry(message["messageBody"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(came, [("always".to_owned(), ROUNDS * EACH), ("once".to_owned(), 1)].into());
    }
}

#[tokio::test]
async fn what_was_answered_and_what_was_not_is_in_the_owners_log_with_the_reason() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    set(&app, &ada, "ada is away", 0).await;
    set(&app, &bob, "bob is away", 3600).await;
    let first = app.send(&ada, &[&bob], "1").await;
    app.inbox(&ada, 2).await;
    let second = app.send(&ada, &[&bob], "2").await;
    app.send(&bob, &[&bob], "a note").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let of = |who: &Account| {
        let (app, who) = (&app, who.clone());
        async move { app.get("users/me/auto-reply/log", &who).await.assert(200).items() }
    };
    while of(&bob).await.len() < 2 || of(&ada).await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "{:?} {:?}", of(&ada).await, of(&bob).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let entries = of(&bob).await;
    assert_eq!(entries.len(), 2, "newest first, and nothing about the note: {entries:?}");
    assert_eq!((&entries[0]["verdict"], &entries[0]["messageUid"]), (&json!("not_answered"), &json!(second)));
    assert_eq!(entries[0]["reason"], "answered_before");
    let detail = entries[0]["detail"].as_str().unwrap();
    assert!(detail.starts_with("answered ") && detail.ends_with(" ago"), "{detail}");
    assert_eq!((&entries[1]["verdict"], &entries[1]["messageUid"]), (&json!("answered"), &json!(first)));
    assert_eq!(entries[1]["replies"], json!([{"to": ada.id, "message": "bob is away"}]));
    let entries = of(&ada).await;
    assert_eq!((&entries[0]["verdict"], &entries[0]["reason"]), (&json!("not_answered"), &json!("automatic")));
    // Answered, answered before, automatic, a note to oneself.
    app.until_metric("parlor_auto_replies_total", PATIENCE, |count| (count - 4.0).abs() < 0.5).await;
    let path = format!("users/{}/auto-reply/log", bob.id);
    app.get(&path, &ada).await.assert_problem(404, "user_not_found");
}

#[tokio::test]
async fn settings_are_their_owners_and_an_administrators_and_have_bounds() {
    let app = TestApp::with(&[("session.max_message_bytes", "100")]).await;
    let (ada, bob, root) = (app.register("ada").await, app.register("bob").await, app.admin("root").await);
    let path = format!("users/{}/auto-reply", ada.id);
    let defaults = json!({"enabled": false, "text": "", "repeatAfterSeconds": 3600});
    for (path, by) in [("users/me/auto-reply", &ada), (&*path, &ada), (&*path, &root)] {
        assert_eq!(app.get(path, by).await.assert(200).json, defaults);
    }
    let good = json!({"enabled": true, "text": "away", "repeatAfterSeconds": 60});
    app.get(&path, &bob).await.assert_problem(404, "user_not_found");
    app.put(&path, &bob, &good).await.assert_problem(404, "user_not_found");
    app.get("users/999/auto-reply", &root).await.assert_problem(404, "user_not_found");
    app.put("users/999/auto-reply", &root, &good).await.assert_problem(404, "user_not_found");
    assert_eq!(app.put(&path, &root, &good).await.assert(200).json, good);
    assert_eq!(app.get("users/me/auto-reply", &ada).await.json, good);

    for (change, field) in [
        (json!({"text": "x".repeat(100)}), None),
        (json!({"text": "x".repeat(101)}), Some("text")),
        (json!({"text": ""}), Some("text")),
        (json!({"text": " \n"}), Some("text")),
        (json!({"enabled": false, "text": ""}), None),
        (json!({"repeatAfterSeconds": 0}), None),
        (json!({"repeatAfterSeconds": 2_592_000}), None),
        (json!({"repeatAfterSeconds": 2_592_001}), Some("repeatAfterSeconds")),
    ] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let reply = app.put(&path, &ada, &body).await;
        match field {
            None => assert_eq!(reply.assert(200).json, body),
            Some(field) => assert_eq!(reply.assert_problem(422, "auto_reply_invalid").json["field"], field),
        }
    }
    for bad in [
        json!({"enabled": true, "text": "x", "repeatAfter": 1}),
        json!({"enabled": true}),
        json!({"text": "x"}),
        json!({"enabled": true, "text": "x", "repeatAfterSeconds": -1}),
    ] {
        app.put(&path, &ada, &bad).await.assert_problem(422, "invalid_body");
    }
    let short = app.put(&path, &ada, &json!({"enabled": true, "text": "x"})).await.assert(200);
    assert_eq!(short.json["repeatAfterSeconds"], 3600);
}
