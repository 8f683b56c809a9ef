//! A node that is told to stop hands its clients over.

use std::time::Duration;

use serde_json::json;

use crate::app::{ConnectOptions, TestApp, send_frame};

#[tokio::test]
async fn clients_are_told_when_to_come_back_and_then_closed_with_1012() {
    let mut app = TestApp::with(&[("reconnect_spread_seconds", "4")]).await;
    let ada = app.register("ada").await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(app.socket(&ada).await);
    }
    sockets[0].accepted(send_frame(&[&ada], "last words", "1")).await;
    app.terminate();
    let mut waits = Vec::new();
    for socket in &mut sockets {
        waits.push(socket.expect("reconnect").await["afterMs"].as_u64().unwrap());
        assert_eq!(socket.expect_close().await, 1012);
    }
    assert_eq!(app.ended().await, Some(0));
    waits.sort_unstable();
    waits.dedup();
    assert_eq!(waits.len(), 8, "spread: {waits:?}");
    assert!(waits[7] < 4000 && waits[7] - waits[0] > 2000, "over the time set: {waits:?}");
}

#[tokio::test]
async fn what_was_accepted_before_the_stop_is_there_after_it() {
    let mut app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let mut to = app.socket(&bob).await;
    for n in 0..500 {
        from.send(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    from.expect("accepted").await;
    app.terminate();
    // Each is either accepted or refused by name; what is neither is known by the close to be sent again.
    let accepted = 1 + from.gather("accepted", Duration::from_secs(8)).await.len();
    assert_eq!(from.expect_close().await, 1012);
    for refused in from.gather("rejected", Duration::ZERO).await {
        assert_eq!(refused["code"], "stopping");
    }
    let live = to.gather("message", Duration::from_secs(8)).await.len();
    app.restart_after_end().await;
    let mut from = app.socket(&ada).await;
    for n in 0..500 {
        from.accepted(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    let inbox = app.inbox(&bob, 500).await;
    let numbers: Vec<usize> =
        inbox.iter().map(|message| message["messageBody"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "once, in order; {accepted} had been accepted, {live} seen");
    let missed = app.socket_after(&bob, i64::try_from(live).unwrap()).await.messages(500 - live).await;
    assert_eq!(
        missed.first().map(|message| &message["messageBody"]),
        (live < 500).then(|| json!(live.to_string())).as_ref()
    );
}

#[tokio::test]
async fn an_administrator_can_drain_a_node() {
    let mut app = TestApp::start().await;
    let (root, ada) = (app.admin("root").await, app.register("ada").await);
    let mut socket = app.socket(&ada).await;
    let nodes = app.get("admin/nodes", &root).await.assert(200);
    let node = &nodes.items()[0];
    assert_eq!(
        (&node["id"], &node["sessions"], &node["draining"], &node["version"]),
        (&json!("0"), &json!(1), &json!(false), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(node["stages"], json!(["gateway", "outgoing", "incoming", "auto-reply", "router"]));
    assert!(chrono::DateTime::parse_from_rfc3339(node["startedAt"].as_str().unwrap()).is_ok());
    app.get("admin/nodes", &ada).await.assert_problem(403, "admin_required");
    app.post("admin/nodes/0/drain", Some(&ada), &json!({})).await.assert_problem(403, "admin_required");
    app.post("admin/nodes/1/drain", Some(&root), &json!({})).await.assert_problem(404, "unknown_node");
    socket.assert_alive().await;
    app.post("admin/nodes/0/drain", Some(&root), &json!({})).await.assert(202);
    socket.expect("reconnect").await;
    assert_eq!(socket.expect_close().await, 1012);
    assert_eq!(app.ended().await, Some(0));
}

#[tokio::test]
async fn a_data_folder_has_one_server() {
    let app = TestApp::start().await;
    let mut second = crate::app::parlor();
    second.arg("serve").arg("--data").arg(app.data());
    second.args(["--listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"]);
    let ended = crate::app::finish(second, "").await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("in use by another Parlor") && ended.out.is_empty(), "{ended:?}");
    let ada = app.register("ada").await;
    app.connect(&ada, ConnectOptions::default()).await.assert_alive().await;
}
