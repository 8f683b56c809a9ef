//! Clients that go without a word are noticed, and nothing of them is kept.

use std::time::Duration;

use crate::app::{Raw, TestApp};

const QUICK: [(&str, &str); 1] = [("session.ping_interval_seconds", "1")];

#[tokio::test]
async fn a_client_that_never_answers_is_closed_with_4408() {
    let app = TestApp::with(&QUICK).await;
    let ada = app.register("ada").await;
    let mut raw = Raw::connect(&app, &ada).await;
    assert_eq!(raw.json().await["type"], "welcome");
    let began = tokio::time::Instant::now();
    assert_eq!(raw.expect_close().await, 4408);
    let lived = began.elapsed();
    assert!((2300..5000).contains(&lived.as_millis()), "two and a half intervals: {lived:?}");
    app.until_metric("parlor_sessions", Duration::from_secs(2), |sessions| sessions == 0.0).await;
}

#[tokio::test]
async fn a_client_that_answers_pings_may_be_silent_otherwise() {
    let app = TestApp::with(&QUICK).await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    socket.expect_none("error", Duration::from_secs(4)).await;
    socket.assert_alive().await;
}

#[tokio::test]
async fn a_reset_connection_is_noticed_at_once() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let (first, second) = (app.socket(&ada).await, app.socket(&ada).await);
    app.until_metric("parlor_sessions", Duration::from_secs(2), |sessions| sessions == 2.0).await;
    first.reset();
    app.until_metric("parlor_sessions", Duration::from_secs(2), |sessions| sessions == 1.0).await;
    // Without a reset, but without a close frame too.
    drop(second);
    app.until_metric("parlor_sessions", Duration::from_secs(2), |sessions| sessions == 0.0).await;
}

#[tokio::test]
async fn a_client_that_neither_reads_nor_writes_any_more_is_noticed() {
    let app = TestApp::with(&QUICK).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let silent = Raw::connect_with_buffer(&app, &bob, Some(16 * 1024)).await;
    app.until_metric("parlor_sessions", Duration::from_secs(2), |sessions| sessions == 1.0).await;
    let body = "x".repeat(60_000);
    for _ in 0..10 {
        app.send(&ada, &[&bob], &body).await;
    }
    app.until_metric("parlor_sessions", Duration::from_secs(6), |sessions| sessions == 0.0).await;
    assert_eq!(app.metric("parlor_sessions_closed_total").await, 1.0);
    drop(silent);
}

#[tokio::test]
async fn sessions_that_come_and_go_leave_nothing_behind() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    for n in 0..60 {
        let socket = app.socket(&ada).await;
        match n % 3 {
            0 => socket.close().await,
            1 => socket.reset(),
            _ => drop(socket),
        }
    }
    app.until_metric("parlor_sessions", Duration::from_secs(5), |sessions| sessions == 0.0).await;
    assert_eq!(app.metric("parlor_sessions_opened_total").await, 60.0);
    app.until_metric("parlor_sessions_closed_total", Duration::from_secs(2), |closed| closed == 60.0).await;
}
