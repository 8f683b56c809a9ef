//! Every limit on what a client sends, on both its sides.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Account, Socket, TestApp, send_frame};

/// The code with which a frame is rejected; the answer names the message.
async fn rejected(socket: &mut Socket, frame: Value) -> String {
    let id = frame["clientMessageId"].clone();
    socket.send(frame).await;
    let rejected = socket.expect("rejected").await;
    assert_eq!(rejected["clientMessageId"], id);
    assert!(rejected["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{rejected}");
    rejected["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_of_the_limit_passes_and_one_byte_more_does_not() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    let limit = 64 * 1024;
    // The limit counts bytes of UTF-8, not characters and not what JSON makes of them.
    for (full, over) in [
        ("x".repeat(limit), "x".repeat(limit + 1)),
        ("ü".repeat(limit / 2), "ü".repeat(limit / 2) + "x"),
        ("\u{0}".repeat(limit), "\u{0}".repeat(limit + 1)),
    ] {
        socket.accepted(send_frame(&[&ada], &full, "full")).await;
        assert_eq!(rejected(&mut socket, send_frame(&[&ada], &over, "over")).await, "message_too_large");
        let body = json!({"messageBody": over, "recipientIds": [ada.id]});
        app.post("messages", Some(&ada), &body).await.assert_problem(413, "message_too_large");
    }
    let full = "\u{0}".repeat(limit);
    app.send(&ada, &[&ada], &full).await;
    let inbox = app.inbox(&ada, 2).await;
    assert_eq!(inbox[0]["messageBody"], "x".repeat(limit), "the three `full` have one name: one message");
    assert_eq!(inbox[1]["messageBody"], full.as_str());
}

#[tokio::test]
async fn ten_mebibytes_pass_if_configured_even_of_what_json_writes_as_six_bytes_each() {
    let limit = 10 * 1024 * 1024;
    let (bytes, record, unfinished) = (limit.to_string(), (128 << 20).to_string(), (256 << 20).to_string());
    let app = TestApp::with(&[
        ("session.max_message_bytes", &bytes),
        ("bus.max_record_bytes", &record),
        ("bus.unfinished_bytes", &unfinished),
    ])
    .await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let mut to = app.socket(&bob).await;
    assert_eq!(from.welcome["maxMessageBytes"], limit);
    for (n, letter) in ["x", "\u{1}"].into_iter().enumerate() {
        let body = letter.repeat(limit);
        from.send(send_frame(&[&bob], &body, &format!("large-{n}"))).await;
        from.expect_within("accepted", Duration::from_secs(60)).await;
        let came = to.expect_within("message", Duration::from_secs(60)).await;
        assert!(came["messageBody"] == body.as_str(), "the body of {letter:?} was changed");
        drop(from.expect_within("message", Duration::from_secs(60)).await);
    }
    assert_eq!(rejected(&mut from, send_frame(&[&bob], &"x".repeat(limit + 1), "over")).await, "message_too_large");
    let page = app.get("inbox?after=1", &bob).await.assert(200).items();
    assert!(page[0]["messageBody"] == "\u{1}".repeat(limit), "the stored body was changed");
}

#[tokio::test]
async fn recipients_are_some_and_known_and_not_too_many() {
    let app = TestApp::with(&[("session.max_recipients", "3")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut socket = app.socket(&ada).await;
    let frame =
        |ids: Value| json!({"type": "sendMessage", "messageBody": "x", "recipientIds": ids, "clientMessageId": "1"});
    let unknown = ada.id + bob.id + 1000;
    for (ids, code, status) in [
        (json!([]), "no_recipients", 422),
        (json!([bob.id, unknown]), "unknown_recipient", 422),
        (json!([-1]), "unknown_recipient", 422),
        (json!([i64::MAX]), "unknown_recipient", 422),
        (json!([bob.id, bob.id, bob.id, bob.id]), "too_many_recipients", 422),
    ] {
        assert_eq!(rejected(&mut socket, frame(ids.clone())).await, code, "{ids}");
        let body = json!({"messageBody": "x", "recipientIds": ids});
        app.post("messages", Some(&ada), &body).await.assert_problem(status, code);
    }
    socket.accepted(frame(json!([bob.id, bob.id, ada.id]))).await;
    app.inbox(&bob, 1).await;
}

#[tokio::test]
async fn the_default_allows_256_recipients() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    let many = |count: usize| send_frame(&vec![&ada; count], "x", &count.to_string());
    assert_eq!(rejected(&mut socket, many(257)).await, "too_many_recipients");
    socket.accepted(many(256)).await;
}

#[tokio::test]
async fn a_client_message_id_has_1_to_128_bytes() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    for id in ["".to_owned(), "x".repeat(129), "ü".repeat(65)] {
        assert_eq!(rejected(&mut socket, send_frame(&[&ada], "x", &id)).await, "client_message_id_invalid");
        let body = json!({"messageBody": "x", "recipientIds": [ada.id], "clientMessageId": id});
        let problem = app.post("messages", Some(&ada), &body).await.assert_problem(422, "client_message_id_invalid");
        assert_eq!(problem.json["field"], "clientMessageId");
    }
    for id in ["x".to_owned(), "x".repeat(128), "ü".repeat(64), "\u{0}".to_owned()] {
        socket.accepted(send_frame(&[&ada], "x", &id)).await;
    }
    assert_eq!(app.inbox(&ada, 4).await.len(), 4);
}

#[tokio::test]
async fn who_sends_too_fast_is_told_and_may_go_on_after_a_while() {
    let app = TestApp::with(&[("session.messages_per_second", "10"), ("session.message_burst", "20")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut socket = app.socket(&ada).await;
    let name = |n: usize| format!("m{n}");
    for n in 0..40 {
        socket.send(send_frame(&[&bob], "x", &name(n))).await;
    }
    let mut codes = Vec::new();
    while codes.len() < 40 {
        let frames = socket.gather("rejected", Duration::from_millis(50)).await;
        codes.extend(frames.into_iter().map(|frame| frame["code"].clone()));
        codes.extend(socket.gather("accepted", Duration::ZERO).await.into_iter().map(|_| Value::Null));
    }
    let limited = codes.iter().filter(|code| **code == "rate_limited").count();
    assert!((10..=20).contains(&limited), "{limited} of 40 with a burst of 20: {codes:?}");
    // The limit is the user's, whatever way the message comes.
    let body = json!({"messageBody": "x", "recipientIds": [bob.id]});
    let mut by_http = app.post("messages", Some(&ada), &body).await;
    while by_http.status == 202 {
        by_http = app.post("messages", Some(&ada), &body).await;
    }
    assert_eq!(by_http.assert_problem(429, "rate_limited").header("retry-after"), Some("1"));
    // Another user is not concerned, and this one may go on.
    app.send(&bob, &[&ada], "I may").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    socket.accepted(send_frame(&[&bob], "slower", "later")).await;
}

#[tokio::test]
async fn more_messages_than_may_be_under_way_are_all_accepted_in_order() {
    let app = TestApp::with(&[("session.in_flight", "2"), ("session.message_burst", "1000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let mut to = app.socket(&bob).await;
    for n in 0..200 {
        from.send(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    for n in 0..200 {
        assert_eq!(from.expect("accepted").await["clientMessageId"], n.to_string());
    }
    for (n, message) in to.messages(200).await.iter().enumerate() {
        assert_eq!(message["messageBody"], n.to_string());
    }
}

#[tokio::test]
async fn a_user_may_have_so_many_sessions_and_no_more() {
    let app = TestApp::with(&[("session.sessions_per_user", "2")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let (mut first, second) = (app.socket(&ada).await, app.socket(&ada).await);
    let mut third = app.upgrade(&ada, Default::default()).await.unwrap();
    assert_eq!(third.expect_close().await, 4429);
    first.assert_alive().await;
    app.socket(&bob).await.assert_alive().await;
    second.close().await;
    retry(&app, &ada).await.assert_alive().await;
}

/// A place that was given up is there for the next session, at once or nearly so.
async fn retry(app: &TestApp, account: &Account) -> Socket {
    for _ in 0..100 {
        let mut socket = app.upgrade(account, Default::default()).await.unwrap();
        if socket.gather("welcome", Duration::from_millis(50)).await.len() == 1 {
            return socket;
        }
    }
    panic!("no place was given up");
}
