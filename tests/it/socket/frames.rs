//! The smaller frames, and frames that are none.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::app::{TestApp, send_frame};

#[tokio::test]
async fn what_cannot_be_understood_is_told_by_name_and_the_session_lives_on() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    let deep = "[".repeat(100_000);
    for (text, code) in [
        ("", "malformed_frame"),
        ("hello", "malformed_frame"),
        ("null", "malformed_frame"),
        ("[]", "malformed_frame"),
        (deep.as_str(), "malformed_frame"),
        (r#"{"type":"ping"} {"type":"ping"}"#, "malformed_frame"),
        (r#"{"type":"ping","type":"ping"}"#, "malformed_frame"),
        (r#"{"type":7}"#, "malformed_frame"),
        (r#"{"type":"sendMessage","messageBody":7,"recipientIds":[1]}"#, "malformed_frame"),
        (r#"{"type":"sendMessage","messageBody":"x","recipientIds":1}"#, "malformed_frame"),
        (r#"{"type":"sendMessage","messageBody":"x","recipientIds":[1.5]}"#, "malformed_frame"),
        (r#"{"type":"sendMessage","messageBody":"x","recipientIds":["1"]}"#, "malformed_frame"),
        (r#"{"type":"sendMessage","messageBody":"x","recipientIds":[9223372036854775808]}"#, "malformed_frame"),
        (r#"{"type":"sendMessage","messageBody":"\ud800","recipientIds":[1]}"#, "malformed_frame"),
        (r#"{"type":"markRead","conversationId":"x","seq":1}"#, "malformed_frame"),
        (r#"{}"#, "missing_field"),
        (r#"{"type":null}"#, "missing_field"),
        (r#"{"type":"sendMessage","recipientIds":[1]}"#, "missing_field"),
        (r#"{"type":"sendMessage","messageBody":"x"}"#, "missing_field"),
        (r#"{"type":"markRead","seq":1}"#, "missing_field"),
        (r#"{"type":"typing"}"#, "missing_field"),
        (r#"{"type":"refreshToken"}"#, "missing_field"),
        (r#"{"type":""}"#, "unknown_frame"),
        (r#"{"type":"Ping"}"#, "unknown_frame"),
        (r#"{"type":"welcome"}"#, "unknown_frame"),
    ] {
        socket.send_text(text).await;
        let error = socket.expect("error").await;
        assert_eq!(error["code"], code, "{text:.80} {error}");
        assert!(error["detail"].as_str().is_some_and(|detail| detail.len() < 300), "{error}");
    }
    let conversation = uuid::Uuid::nil();
    socket.send(json!({"type": "markRead", "conversationId": conversation})).await;
    assert_eq!(socket.expect("error").await["code"], "missing_field");
    // Who named the message hears about the message.
    socket.send(json!({"type": "sendMessage", "messageBody": "x", "clientMessageId": "7"})).await;
    let rejected = socket.expect("rejected").await;
    assert_eq!((&rejected["code"], &rejected["clientMessageId"]), (&json!("missing_field"), &json!("7")));
    // Fields of a later version are no error.
    socket.send(json!({"type": "ping", "later": {"than": ["now"]}})).await;
    socket.expect("pong").await;
}

#[tokio::test]
async fn typing_is_seen_by_those_written_to_and_by_nobody_else() {
    let app = TestApp::with(&[("session.max_recipients", "3")]).await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    let (mut from, mut to, mut other) = (app.socket(&ada).await, app.socket(&bob).await, app.socket(&carol).await);
    from.send(json!({"type": "typing", "recipientIds": [bob.id, ada.id, 999]})).await;
    from.send(json!({"type": "typing", "recipientIds": [bob.id]})).await;
    let group = to.expect("typing").await;
    let typing = to.expect("typing").await;
    assert_eq!(typing["userId"], ada.id);
    assert_eq!(typing.as_object().unwrap().len(), 3);
    assert_ne!(typing["conversationId"], group["conversationId"]);
    // The conversation is the one that a message would stand in.
    from.accepted(send_frame(&[&bob], "done", "1")).await;
    assert_eq!(to.expect("message").await["conversationId"], typing["conversationId"]);
    from.send(json!({"type": "typing", "recipientIds": [1, 2, 3, 4]})).await;
    assert_eq!(from.expect("error").await["code"], "too_many_recipients");
    for socket in [&mut from, &mut other] {
        socket.expect_none("typing", Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn people_who_share_a_conversation_see_each_other_come_and_after_a_grace_go() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    app.send(&ada, &[&bob], "hi").await;
    app.inbox(&bob, 1).await;
    let (mut watcher, mut stranger) = (app.socket(&ada).await, app.socket(&carol).await);
    let first = app.socket(&bob).await;
    let presence = |online: bool| json!({"type": "presence", "userId": bob.id, "online": online});
    assert_eq!(watcher.expect("presence").await, presence(true));
    // A second device says nothing new, nor does one of two that leaves, nor who is back within the grace.
    let mut second = app.socket(&bob).await;
    assert_eq!(second.expect("presence").await["userId"], ada.id, "who comes learns who is there");
    first.close().await;
    second.assert_alive().await;
    second.close().await;
    let third = app.socket(&bob).await;
    watcher.expect_none("presence", Duration::from_millis(3500)).await;
    third.close().await;
    let gone_at = tokio::time::Instant::now();
    assert_eq!(watcher.expect("presence").await, presence(false));
    let grace = gone_at.elapsed();
    assert!((2500..6000).contains(&grace.as_millis()), "{grace:?}");
    stranger.expect_none("presence", Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_read_mark_reaches_ones_other_devices_and_the_other_side_in_its_own_numbers() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    // Bob's inbox is ahead of Ada's: the same message has different numbers.
    for n in 0..3 {
        app.send(&carol, &[&bob], &format!("{n}")).await;
    }
    app.send(&ada, &[&bob], "to be read").await;
    let of_bob = app.inbox(&bob, 4).await.pop().unwrap();
    let of_ada = app.inbox(&ada, 1).await.pop().unwrap();
    assert_eq!((&of_bob["seq"], &of_ada["seq"]), (&json!(4), &json!(1)));
    let (mut desk, mut phone) = (app.socket(&bob).await, app.socket(&bob).await);
    let (mut sender, mut stranger) = (app.socket(&ada).await, app.socket(&carol).await);
    let mark = |seq: i64| json!({"type": "markRead", "conversationId": of_bob["conversationId"], "seq": seq});
    let read =
        |seq: i64| json!({"type": "read", "conversationId": of_bob["conversationId"], "userId": bob.id, "seq": seq});
    desk.send(mark(4)).await;
    assert_eq!(phone.expect("read").await, read(4));
    assert_eq!(desk.expect("read").await, read(4));
    assert_eq!(sender.expect("read").await, read(1));
    // Backwards, again, and before the first: nothing new was read.
    for seq in [4, 3, 0, -1] {
        desk.send(mark(seq)).await;
    }
    desk.assert_alive().await;
    phone.expect_none("read", Duration::from_millis(100)).await;
    // Beyond the last: as far as there is something.
    app.send(&ada, &[&bob], "one more").await;
    app.inbox(&bob, 5).await;
    desk.send(mark(1_000_000)).await;
    assert_eq!(phone.expect("read").await, read(5));
    assert_eq!(sender.expect("read").await, read(2));
    stranger.expect_none("read", Duration::from_millis(50)).await;
    // A conversation of others is none.
    stranger.send(mark(1)).await;
    assert_eq!(stranger.expect("error").await["code"], "unknown_conversation");
}

#[tokio::test]
async fn both_kinds_of_ping_are_answered() {
    let app = TestApp::with(&[("session.ping_interval_seconds", "1")]).await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    socket.assert_alive().await;
    for payload in [vec![], vec![7; 125]] {
        socket.send_message(Message::Ping(Bytes::from(payload.clone()))).await;
        assert_eq!(socket.protocol_pong().await, payload);
    }
    assert_eq!(socket.welcome["pingIntervalSeconds"], 1);
    socket.expect_none("error", Duration::from_millis(2500)).await;
    assert!((1..=3).contains(&socket.pings()), "the server pings every second: {}", socket.pings());
    socket.assert_alive().await;
}

#[tokio::test]
async fn a_frame_may_come_in_pieces_with_a_ping_between_them() {
    use crate::app::{Frame, Raw};
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut raw = Raw::connect(&app, &ada).await;
    assert_eq!(raw.json().await["type"], "welcome");
    // The cut is inside a character.
    let text = send_frame(&[&ada], "grün", "1").to_string();
    let (start, end) = text.as_bytes().split_at(text.find('ü').unwrap() + 1);
    let piece = |first: u8, payload: &[u8]| Frame { first, masked: true, payload: payload.to_vec() }.bytes();
    raw.write(&piece(0x01, start)).await;
    raw.write(&piece(0x89, b"?")).await;
    raw.write(&piece(0x80, end)).await;
    assert_eq!(raw.frame().await, Some((0x8a, b"?".to_vec())));
    let mut types: Vec<Value> = vec![raw.json().await, raw.json().await];
    types.sort_by_key(|frame| frame["type"].to_string());
    assert_eq!((&types[0]["type"], &types[1]["messageBody"]), (&json!("accepted"), &json!("grün")));
}
