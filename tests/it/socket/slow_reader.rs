//! Who does not read is let go, resumes by seq, and slows nobody down.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::{PATIENCE, Raw, TestApp, send_frame};

const BODY: usize = 60_000;

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed_while_others_chat_and_gets_everything_later() {
    let app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    let mut stalled = Raw::connect_with_buffer(&app, &bob, Some(16 * 1024)).await;
    let mut from = app.socket(&ada).await;
    let (mut one, mut two) = (app.socket(&carol).await, app.socket(&ada).await);
    let before = app.process().memory();
    let body = "x".repeat(BODY);
    let mut slowest = Duration::ZERO;
    for n in 0..300 {
        from.accepted(send_frame(&[&bob], &format!("{n} {body}"), &n.to_string())).await;
        if n % 10 == 0 {
            // Meanwhile two others chat.
            let began = Instant::now();
            one.accepted(send_frame(&[&ada], "still here?", &n.to_string())).await;
            while two.expect("message").await["messageBody"] != "still here?" {}
            slowest = slowest.max(began.elapsed());
        }
    }
    assert!(slowest < Duration::from_secs(2), "others waited for {slowest:?}");
    app.until_metric("parlor_sessions", PATIENCE, |sessions| sessions == 3.0).await;
    let grown = app.process().memory().saturating_sub(before);
    assert!(grown < 100 << 20, "18 MB for a client that reads nothing took {grown} bytes of memory");
    // When it reads at last, it is told why, and that it may resume.
    let mut seen = 0;
    let code = loop {
        match stalled.frame().await {
            Some((0x81, payload)) => {
                let frame: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                if frame["type"] == "message" {
                    seen += 1;
                    assert_eq!(frame["seq"], seen);
                }
            }
            Some((0x88, payload)) => break u16::from_be_bytes([payload[0], payload[1]]),
            Some(_) => {}
            None => break 1006,
        }
    };
    assert_eq!(code, 4508);
    assert!(seen < 100, "{seen} messages were kept for it");
    let mut back = app.socket_after(&bob, seen).await;
    for n in seen..300 {
        let message = back.expect("message").await;
        assert_eq!(message["seq"], n + 1);
        assert!(message["messageBody"].as_str().unwrap().starts_with(&format!("{n} ")));
    }
}

#[tokio::test]
async fn a_resuming_client_that_reads_slowly_is_waited_for_and_one_that_does_not_read_is_closed() {
    let app = TestApp::with(&[("session.message_burst", "1000"), ("session.write_timeout_seconds", "1")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let body = "x".repeat(BODY);
    for n in 0..100 {
        from.accepted(send_frame(&[&bob], &body, &n.to_string())).await;
    }
    app.inbox(&bob, 100).await;
    let mut slow = Raw::connect_after(&app, &bob, Some(16 * 1024), Some(0)).await;
    let mut stalled = Raw::connect_after(&app, &bob, Some(16 * 1024), Some(0)).await;
    assert_eq!(slow.json().await["type"], "welcome");
    for n in 1..=100 {
        let mut frame = slow.json().await;
        while frame["type"] == "presence" {
            frame = slow.json().await;
        }
        assert_eq!(frame["seq"], n);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    app.until_metric("parlor_sessions", PATIENCE, |sessions| sessions == 2.0).await;
    assert_eq!(stalled.expect_close().await, 4508);
}
