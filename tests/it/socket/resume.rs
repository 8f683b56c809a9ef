//! Coming back: everything that was missed, in order, once.

use serde_json::Value;

use crate::app::{ConnectOptions, TestApp, send_frame};

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["messageBody"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_socket_resumes_behind_the_place_it_names() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    for n in 1..=5 {
        app.send(&ada, &[&bob], &n.to_string()).await;
    }
    let stored = app.inbox(&bob, 5).await;
    let mut from_start = app.socket_after(&bob, 0).await;
    let mut frames = from_start.messages(5).await;
    for frame in &mut frames {
        assert_eq!(frame.as_object_mut().unwrap().remove("type"), Some("message".into()));
    }
    assert_eq!(frames, stored, "lists and frames say the same");
    let (mut middle, mut head, mut fresh) =
        (app.socket_after(&bob, 3).await, app.socket_after(&bob, 5).await, app.socket(&bob).await);
    assert_eq!(bodies(&middle.messages(2).await), ["4", "5"]);
    let mut lost = Vec::new();
    for after in [6, i64::MAX, -1, i64::MIN] {
        let mut socket = app.socket_after(&bob, after).await;
        assert_eq!(socket.welcome["headSeq"], 5);
        assert_eq!(socket.expect("error").await["code"], "after_beyond_head", "{after}");
        lost.push(socket);
    }
    app.send(&ada, &[&bob], "6").await;
    for socket in lost.iter_mut().chain([&mut from_start, &mut middle, &mut head, &mut fresh]) {
        assert_eq!(bodies(&socket.messages(1).await), ["6"], "each goes on with what is new");
    }
}

#[tokio::test]
async fn an_empty_inbox_resumes_at_zero() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.connect(&ada, ConnectOptions { after: Some(0), ..Default::default() }).await;
    socket.assert_alive().await;
    socket.expect_none("message", std::time::Duration::from_millis(50)).await;
}

#[tokio::test]
async fn two_thousand_missed_messages_come_without_a_gap_while_new_ones_arrive() {
    let app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let filler = "x".repeat(200);
    for n in 0..2000 {
        from.send(send_frame(&[&bob], &format!("{n} {filler}"), &n.to_string())).await;
    }
    for _ in 0..2000 {
        from.expect("accepted").await;
    }
    app.inbox(&bob, 2000).await;
    let mut sockets = [app.socket_after(&bob, 0).await, app.socket_after(&bob, 1000).await];
    for n in 2000..2500 {
        from.send(send_frame(&[&bob], &format!("{n} {filler}"), &n.to_string())).await;
        from.expect("accepted").await;
    }
    for (socket, start) in sockets.iter_mut().zip([0, 1000]) {
        let messages = socket.messages(2500 - start).await;
        for (message, n) in messages.iter().zip(start..) {
            assert_eq!(message["seq"], n + 1);
            assert!(message["messageBody"].as_str().unwrap().starts_with(&format!("{n} ")), "{message}");
        }
    }
}

#[tokio::test]
async fn a_client_that_is_thrown_off_again_and_again_misses_nothing() {
    let app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let (mut seen, mut sent) = (0, 0);
    let mut got = Vec::new();
    for round in 0..10 {
        let mut socket = app.socket_after(&bob, seen).await;
        for _ in 0..30 {
            from.send(send_frame(&[&bob], &sent.to_string(), &sent.to_string())).await;
            sent += 1;
        }
        for message in socket.messages(5 + round).await {
            seen = message["seq"].as_i64().unwrap();
            got.push(message["messageBody"].as_str().unwrap().to_owned());
        }
        socket.reset();
    }
    let mut socket = app.socket_after(&bob, seen).await;
    let rest = socket.messages(300 - got.len()).await;
    got.extend(bodies(&rest).into_iter().map(str::to_owned));
    assert_eq!(got, (0..300).map(|n: i32| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_restart_loses_and_repeats_nothing() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    app.socket(&ada).await.accepted(send_frame(&[&bob], "before", "1")).await;
    app.restart().await;
    let mut to = app.socket_after(&bob, 0).await;
    app.socket(&ada).await.accepted(send_frame(&[&bob], "after", "2")).await;
    assert_eq!(bodies(&to.messages(2).await), ["before", "after"]);
}
