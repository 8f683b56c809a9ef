//! The close codes that a client earns by what it sends.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::app::{Account, Frame, Raw, TestApp};

/// The largest frame with the default settings: `max_message_bytes`, six-fold, and what stands around it.
const LARGEST_FRAME: usize = 64 * 1024 * 6 + 256 * 21 + 1024;

fn frame(first: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame { first, masked: true, payload: payload.into() }
}

/// The close code for these bytes, sent after the welcome.
async fn close_code(app: &TestApp, account: &Account, bytes: &[u8]) -> u16 {
    let mut raw = Raw::connect(app, account).await;
    assert_eq!(raw.json().await["type"], "welcome");
    raw.try_write(bytes).await;
    raw.expect_close().await
}

#[tokio::test]
async fn a_client_that_says_goodbye_hears_goodbye() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    app.socket(&ada).await.close().await;
    let code = 4321u16.to_be_bytes();
    assert_eq!(close_code(&app, &ada, &frame(0x88, code).bytes()).await, 1000);
    assert_eq!(close_code(&app, &ada, &frame(0x88, []).bytes()).await, 1000);
    app.until_metric("parlor_sessions", crate::app::PATIENCE, |sessions| sessions == 0.0).await;
}

#[tokio::test]
async fn binary_frames_close_with_1003() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    socket.send_message(Message::binary(br#"{"type":"ping"}"#.to_vec())).await;
    assert_eq!(socket.expect_close().await, 1003);
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let whole = Frame::text(b"\"\xff\xfe\"".to_vec());
    assert_eq!(close_code(&app, &ada, &whole.bytes()).await, 1007);
    let in_pieces = [frame(0x01, *b"\"\xc3").bytes(), frame(0x80, *b"\"").bytes()].concat();
    assert_eq!(close_code(&app, &ada, &in_pieces).await, 1007);
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009_and_one_of_the_limit_does_not() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let ping = |length: usize| {
        let mut text = json!({"type": "ping"}).to_string().into_bytes();
        text.resize(length, b' ');
        text
    };
    let mut raw = Raw::connect(&app, &ada).await;
    assert_eq!(raw.json().await["type"], "welcome");
    raw.write(&Frame::text(ping(LARGEST_FRAME)).bytes()).await;
    assert_eq!(raw.json().await["type"], "pong");
    let (start, end) = (frame(0x01, ping(LARGEST_FRAME / 2)), frame(0x80, vec![b' '; LARGEST_FRAME / 2]));
    raw.write(&[start.bytes(), end.bytes()].concat()).await;
    assert_eq!(raw.json().await["type"], "pong");

    assert_eq!(close_code(&app, &ada, &Frame::text(ping(LARGEST_FRAME + 1)).bytes()).await, 1009);
    let over = frame(0x80, vec![b' '; LARGEST_FRAME / 2 + 1]);
    assert_eq!(close_code(&app, &ada, &[start.bytes(), over.bytes()].concat()).await, 1009);
    // Only announced: the server does not wait for it, and keeps none of it.
    for length in [LARGEST_FRAME as u64 + 1, 1 << 62, u64::MAX] {
        let announced = [&[0x81, 0xff][..], &length.to_be_bytes()[..], &[0; 4][..]].concat();
        assert_eq!(close_code(&app, &ada, &announced).await, 1009, "{length}");
    }
    let mut endless = frame(0x01, vec![b' '; 100_000]).bytes();
    endless.extend(frame(0x00, vec![b' '; 100_000]).bytes().repeat(4));
    assert_eq!(close_code(&app, &ada, &endless).await, 1009);
}

#[tokio::test]
async fn what_is_not_rfc_6455_closes_with_1002() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let ping = br#"{"type":"ping"}"#.to_vec();
    for (what, bytes) in [
        ("unmasked", Frame { first: 0x81, masked: false, payload: ping.clone() }.bytes()),
        ("reserved opcode 3", frame(0x83, ping.clone()).bytes()),
        ("reserved opcode 11", frame(0x8b, []).bytes()),
        ("continuation of nothing", frame(0x80, ping.clone()).bytes()),
        ("a new message inside another", [frame(0x01, *b"x").bytes(), Frame::text(ping.clone()).bytes()].concat()),
        ("a ping of more than 125 bytes", frame(0x89, vec![0; 126]).bytes()),
        ("a ping in pieces", frame(0x09, *b"x").bytes()),
        ("a close code that must not be sent", frame(0x88, 1005u16.to_be_bytes()).bytes()),
        ("half a close code", frame(0x88, *b"x").bytes()),
        ("a reserved bit", frame(0xc1, ping.clone()).bytes()),
    ] {
        assert_eq!(close_code(&app, &ada, &bytes).await, 1002, "{what}");
    }
}

#[tokio::test]
async fn a_flood_of_nonsense_closes_with_4429_and_disturbs_nobody() {
    let app = TestApp::with(&[("session.other_frames_burst", "20"), ("session.other_frames_per_second", "1")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let (mut flooder, mut other) = (app.socket(&ada).await, app.socket(&bob).await);
    for n in 0..20 {
        flooder.send_text("nonsense").await;
        assert_eq!(flooder.expect("error").await["code"], "malformed_frame", "{n}");
    }
    flooder.send_text("nonsense").await;
    assert_eq!(flooder.expect_close().await, 4429);
    other.assert_alive().await;
    // Accepted messages are no nonsense; pings, marks, typing and protocol pings are counted.
    let mut busy = app.socket(&ada).await;
    for n in 0..100 {
        busy.accepted(crate::app::send_frame(&[&bob], "x", &n.to_string())).await;
    }
    for _ in 0..30 {
        busy.try_send(&json!({"type": "typing", "recipientIds": [bob.id]})).await;
    }
    assert_eq!(busy.expect_close().await, 4429);
    let mut pinging = Raw::connect(&app, &ada).await;
    pinging.try_write(&frame(0x89, []).bytes().repeat(40)).await;
    assert_eq!(pinging.expect_close().await, 4429);
    other.assert_alive().await;
}
