//! Stages spread over nodes, and one of them in another language: the way of a message over several processes.

use std::process::Command;

use crate::app::kafka::Kafka;
use crate::app::postgres::{Database, Postgres};
use crate::app::{Account, PATIENCE, Process, SETUP, TestApp, cache, send_frame};

/// What the nodes of one cluster share.
struct Cluster {
    database: Database,
    prefix: String,
    sources: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        let prefix = format!("spread-{}", uuid::Uuid::new_v4().simple());
        let database = Postgres::shared().database("template1");
        Self { database, prefix, sources: tempfile::tempdir().unwrap() }
    }

    /// A node in this slot, with these stages of that pipeline; lists as in TOML.
    async fn node(&self, slot: &str, stages: &str, pipeline: &str) -> TestApp {
        let quoted = |text: &str| format!("{text:?}");
        let settings = [
            ("kafka_brokers", quoted(&Kafka::shared().bootstrap())),
            ("database_url", quoted(&self.database.url())),
            ("jwt_keys", quoted("k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")),
            ("object_store_url", quoted(&format!("file://{}", self.sources.path().display()))),
            ("topic_prefix", quoted(&self.prefix)),
            ("slot", slot.to_owned()),
            ("stages", stages.to_owned()),
            ("pipeline", pipeline.to_owned()),
            ("cluster.slots", "4".to_owned()),
            ("kafka.partitions", "3".to_owned()),
            ("kafka.replication", "1".to_owned()),
            ("kafka.min_in_sync", "1".to_owned()),
        ];
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        TestApp::with(&settings).await
    }
}

/// Twenty messages from one to another over a socket, and what came of them, in order.
async fn chat(app: &TestApp, from: &Account, to: &Account) -> Vec<String> {
    let mut socket = app.socket(from).await;
    for number in 0..20 {
        socket.accepted(send_frame(&[to], &format!("message {number}"), &number.to_string())).await;
    }
    let inbox = app.inbox(to, 20).await;
    inbox.iter().map(|message| message["messageBody"].as_str().unwrap().to_owned()).collect()
}

fn numbered(what: &str) -> Vec<String> {
    (0..20).map(|number| format!("{what} {number}")).collect()
}

#[tokio::test]
async fn sockets_are_on_one_node_and_the_stages_on_others() {
    const PIPELINE: &str = r#"["outgoing", "incoming", "auto-reply", "router"]"#;
    let cluster = Cluster::new();
    let gateway = cluster.node("0", r#"["gateway"]"#, PIPELINE).await;
    let _scripts = cluster.node("1", r#"["outgoing", "incoming"]"#, PIPELINE).await;
    let _rest = cluster.node("2", r#"["auto-reply", "router"]"#, PIPELINE).await;
    let (ada, bob) = (gateway.register("ada").await, gateway.register("bob").await);
    assert_eq!(chat(&gateway, &ada, &bob).await, numbered("message"));
}

#[tokio::test]
async fn a_stage_may_be_anybodys_in_any_language() {
    const PIPELINE: &str = r#"["outgoing", "shout", "router"]"#;
    let cluster = Cluster::new();
    let app = cluster.node("0", r#"["gateway", "outgoing", "router"]"#, PIPELINE).await;
    let mut python = Command::new(cache().join("python/bin/python"));
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/stage-python/stage.py"));
    python.args(["--brokers", &Kafka::shared().bootstrap(), "--topic", &format!("{}.shout", cluster.prefix)]);
    let stage = Process::start(python);
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    assert_eq!(chat(&app, &ada, &bob).await, numbered("MESSAGE"), "{:?} ({SETUP})", stage.log());
    app.until_metric("parlor_dead_letters_total", PATIENCE, |count| count < 0.5).await;
}
