//! Stages spread over nodes, and one of them in another language: the way of a message over several processes.

use std::process::Command;

use crate::app::kafka::Kafka;
use crate::app::{Account, PATIENCE, Process, SETUP, TestApp, cache, send_frame};
use crate::nodes::Ground;

/// A node with these stages of that pipeline, lists as in TOML.
async fn node(ground: &Ground, stages: &str, pipeline: &str) -> TestApp {
    ground.node(&[("stages", stages), ("pipeline", pipeline)]).await
}

/// Twenty messages from one to another over a socket.
async fn send(app: &TestApp, from: &Account, to: &Account, what: &str) {
    let mut socket = app.socket(from).await;
    for number in 0..20 {
        let body = format!("{what} {number}");
        socket.accepted(send_frame(&[to], &body, &body)).await;
    }
}

/// What lies in somebody's inbox when so many messages are there, in order.
async fn came(app: &TestApp, to: &Account, count: usize) -> Vec<String> {
    let inbox = app.inbox(to, count).await;
    inbox.iter().map(|message| message["messageBody"].as_str().unwrap().to_owned()).collect()
}

fn numbered(what: &str) -> impl Iterator<Item = String> {
    (0..20).map(move |number| format!("{what} {number}"))
}

#[tokio::test]
async fn sockets_are_on_one_node_and_the_stages_on_others() {
    const PIPELINE: &str = r#"["outgoing", "incoming", "auto-reply", "router"]"#;
    let ground = Ground::new().await;
    let gateway = node(&ground, r#"["gateway"]"#, PIPELINE).await;
    let mut scripts = node(&ground, r#"["outgoing", "incoming"]"#, PIPELINE).await;
    let _rest = node(&ground, r#"["auto-reply", "router"]"#, PIPELINE).await;
    let (ada, bob) = (gateway.register("ada").await, gateway.register("bob").await);
    send(&gateway, &ada, &bob, "quiet").await;
    assert_eq!(came(&gateway, &bob, 20).await, numbered("quiet").collect::<Vec<_>>());
    // A stage dies with messages in it: they are run again where it comes back, and arrive once.
    tokio::join!(send(&gateway, &ada, &bob, "killed"), scripts.kill9());
    send(&gateway, &ada, &bob, "after").await;
    let all: Vec<_> = ["quiet", "killed", "after"].into_iter().flat_map(numbered).collect();
    assert_eq!(came(&gateway, &bob, all.len()).await, all);
}

#[tokio::test]
async fn a_stage_may_be_anybodys_in_any_language() {
    const PIPELINE: &str = r#"["outgoing", "shout", "router"]"#;
    let ground = Ground::new().await;
    let app = node(&ground, r#"["gateway", "outgoing", "router"]"#, PIPELINE).await;
    let mut python = Command::new(cache().join("python/bin/python"));
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/stage-python/stage.py"));
    python.args(["--brokers", &Kafka::shared().bootstrap(), "--topic", &format!("{}.shout", ground.prefix)]);
    let stage = Process::start(python);
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    send(&app, &ada, &bob, "shout").await;
    assert_eq!(came(&app, &bob, 20).await, numbered("SHOUT").collect::<Vec<_>>(), "{:?} ({SETUP})", stage.log());
    app.until_metric("parlor_dead_letters_total", PATIENCE, |count| count < 0.5).await;
}
