//! What the operator sees stands on a port of its own.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::{TestApp, send_frame};

#[tokio::test]
async fn health_and_metrics_are_on_the_internal_port_only_and_nothing_else_is() {
    let app = TestApp::start().await;
    assert_eq!(app.get_url(&format!("{}/healthz", app.internal)).await.assert(200).text, "ok\n");
    let ready = app.get_url(&format!("{}/readyz", app.internal)).await.assert(200);
    assert_eq!(
        ready.json,
        serde_json::json!({"ready": true, "checks": {"bus": "ok", "draining": "ok", "store": "ok"}})
    );
    let metrics = app.get_url(&format!("{}/metrics", app.internal)).await.assert(200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    for path in ["healthz", "readyz", "metrics"] {
        app.get_url(&format!("{}/{path}", app.url)).await.assert_problem(404, "not_found");
    }
    for path in ["ws", "api/v1/me", "api/v1/openapi.json", "api/docs/"] {
        app.get_url(&format!("{}/{path}", app.internal)).await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn metrics_count_what_happened_and_have_their_help() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut socket = app.socket(&ada).await;
    for n in 0..3 {
        socket.accepted(send_frame(&[&bob], "x", &n.to_string())).await;
    }
    socket.accepted(send_frame(&[&bob], "x", "0")).await;
    socket.send(send_frame(&[], "x", "none")).await;
    socket.expect("rejected").await;
    app.send(&ada, &[&bob], "by http").await;
    app.inbox(&bob, 4).await;
    for (name, value) in [
        ("parlor_messages_accepted_total", 5.0),
        ("parlor_messages_rejected_total", 1.0),
        ("parlor_sessions", 1.0),
        ("parlor_sessions_opened_total", 1.0),
        ("parlor_messages_placed_total", 4.0),
        ("parlor_messages_repeated_total", 1.0),
        ("parlor_deliveries_total", 8.0),
        ("parlor_bus_unfinished_records", 0.0),
        ("parlor_accept_seconds_count", 5.0),
        // Ada's own four, on her socket; Bob has none.
        ("parlor_end_to_end_seconds_count", 4.0),
        // Five records, four stages.
        ("parlor_stage_seconds_count", 20.0),
        ("parlor_ready", 1.0),
        // start, store, bus, draining.
        ("parlor_check_ok", 4.0),
        ("parlor_queue_length", 0.0),
    ] {
        app.until_metric(name, std::time::Duration::from_secs(3), |found| (found - value).abs() < 0.1).await;
    }
    assert!(app.metric("parlor_process_resident_bytes").await > 1e6);
    assert!(app.metric("parlor_process_open_files").await < app.metric("parlor_process_open_files_limit").await);
    let wrong = serde_json::json!({"username": "ada", "password": "something else"});
    app.post("login", None, &wrong).await.assert(401);
    assert_eq!(app.metric("parlor_auth_failed_total").await, 1.0);
    drop(app.socket_after(&bob, 0).await);
    assert_eq!(app.metric("parlor_sessions_resumed_total").await, 1.0);
    let text = app.get_url(&format!("{}/metrics", app.internal)).await.text;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(parlor::metrics::ALL.iter().any(|metric| metric.name == name), "{name} is declared nowhere");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
}

#[tokio::test]
async fn a_connection_may_rest_between_two_requests_and_a_stop_does_not_wait_for_it() {
    let mut app = TestApp::start().await;
    let address = app.url.strip_prefix("http://").unwrap().to_owned();
    let mut tcp = TcpStream::connect(&address).await.unwrap();
    let mut answer = [0; 4096];
    for rest in [Duration::from_secs(7), Duration::ZERO] {
        tcp.write_all(format!("GET /icon HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await.unwrap();
        let read = tcp.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 404 "), "{}", String::from_utf8_lossy(&answer[..read]));
        // Longer than the five seconds that are common with servers, and too short for proxies.
        tokio::time::sleep(rest).await;
    }
    app.terminate();
    assert_eq!(app.ended().await, Some(0));
    assert!(matches!(tcp.read(&mut answer).await, Ok(0) | Err(_)), "the connection outlived the server");
}
