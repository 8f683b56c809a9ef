//! A real Prometheus watches a cluster by the rules of `deploy/prometheus`: it understands all of them, says nothing while all is well,
//! and tells of a broker that is gone until it is back. An operator's questions are asked while it is so that they have an answer, in the
//! words of `docs/operations.md`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::backing::blocking;
use super::world::World;
use crate::app::{Account, Socket, TestApp, lasting_port, send_frame};
use crate::scripts::activate;

/// "Who is slow?", and "is it Kafka, the tables, or us?", as the handbook has them.
const WHO_IS_SLOW: &str = "topk(1, parlor:stage_seconds:p99_5m)";
const WHOSE_FAULT: &str = "topk(1, parlor:part_seconds:p99_5m)";
/// A library call that no interrupt reaches: its worker is killed after a second.
const HANGS: &str = include_str!("../../hostile/020-quadratic-plain-find.luau");
const DROPS: &str = "function incoming(message)\n  return { action = \"DROP\" }\nend";

/// What is switched on is heard of by the other node within this time.
const SPREAD: Duration = Duration::from_secs(2);
/// Kafka takes seconds to miss a broker, the alert half a minute to be sure.
const TOLD: Duration = Duration::from_secs(180);

/// A Prometheus of the test's own. Dropped, it is gone.
struct Prometheus {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    fn start(targets: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/rules/*.yml");
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "parlor", "static_configs": [{"targets": targets}]}],
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let listen = format!("127.0.0.1:{}", lasting_port());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus: tests/setup.sh installs it");
        Self { process, url: format!("http://{listen}/api/v1"), _folder: folder }
    }

    /// What it answers; nothing while it does not.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = url::Url::parse_with_params(&format!("{}/{path}", self.url), query).unwrap();
        let answer = reqwest::Client::new().get(url).send().await.ok()?;
        Some(answer.json::<Value>().await.ok()?["data"].clone())
    }

    /// The value of an expression that has one.
    async fn value(&self, expr: &str) -> Option<f64> {
        let data = self.ask("query", &[("query", expr)]).await?;
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// A label of the one series that an expression has.
    async fn label(&self, expr: &str, label: &str) -> Option<String> {
        let data = self.ask("query", &[("query", expr)]).await?;
        data["result"][0]["metric"][label].as_str().map(str::to_owned)
    }

    async fn until_label(&self, expr: &str, label: &str, wanted: &str) {
        let named = format!("{expr} is {wanted}");
        self.until(&named, async |it| it.label(expr, label).await.as_deref() == Some(wanted)).await;
    }

    /// The alerts that fire.
    async fn firing(&self) -> Vec<String> {
        let data = self.ask("alerts", &[]).await.unwrap_or_default();
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + TOLD;
        while !holds(self).await {
            assert!(Instant::now() < deadline, "{what}: not within {TOLD:?}; firing: {:?}", self.firing().await);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A script hangs, the tables are locked, brokers stand still: each time the question is answered rightly. Each fault is slower than the
/// one before, because all are in the last five minutes.
async fn who_is_slow_and_whose_fault_it_is(world: &mut World, prometheus: &Prometheus, ada: &Account, bob: &Account) {
    let (here, there) = (world.app(0), world.app(1));
    let (mut at_ada, mut at_bob) = (here.socket(ada).await, there.socket(bob).await);
    activate(&there, bob, "incoming", HANGS).await;
    tokio::time::sleep(SPREAD).await;
    at_ada.accepted(send_frame(&[bob], "to a script that hangs", "script")).await;
    at_bob.messages(1).await;
    prometheus.until_label(WHO_IS_SLOW, "stage", "incoming").await;
    prometheus.until_label(WHOSE_FAULT, "part", "scripts").await;
    there.post("users/me/scripts/incoming/disable", Some(bob), &serde_json::json!({})).await.assert(200);
    tokio::time::sleep(SPREAD).await;

    // As by a migration that holds a table for long.
    let postgres = world.backing().postgres.clone();
    let held = tokio::task::spawn_blocking(move || {
        postgres.sql("parlor", "BEGIN; LOCK TABLE inbox_heads IN EXCLUSIVE MODE; SELECT pg_sleep(7); COMMIT");
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    at_ada.accepted(send_frame(&[bob], "to tables that are locked", "tables")).await;
    held.await.unwrap();
    at_bob.messages(1).await;
    prometheus.until_label(WHO_IS_SLOW, "stage", "router").await;
    prometheus.until_label(WHOSE_FAULT, "part", "tables").await;

    // Two of three: nothing is acknowledged, and after a while the bus counts as away.
    let kafka = world.backing().kafka.clone();
    blocking(move || [1, 2].into_iter().for_each(|number| kafka.broker(number).pause())).await;
    at_ada.send(send_frame(&[bob], "to brokers that stand still", "kafka")).await;
    prometheus.until_label(WHOSE_FAULT, "part", "kafka").await;
    let kafka = world.backing().kafka.clone();
    blocking(move || [1, 2].into_iter().for_each(|number| kafka.broker(number).resume())).await;
    world.until_ready().await;
}

/// What all nodes logged of a message, in order: the step, the stage, how many it was kept from.
fn way_of(world: &World, uid: &str) -> Vec<(String, String, u64)> {
    let logs = world.logs();
    let lines = logs.lines().filter(|line| line.contains(uid));
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["timestamp"].as_str().unwrap().to_owned());
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let steps = lines.iter().filter(|line| line["step"].is_string());
    steps.map(|line| (text(line, "step"), text(line, "stage"), line["filtered"].as_u64().unwrap_or_default())).collect()
}

/// A script drops a message: its lines in the logs say where it went and who did not get it.
async fn why_a_message_did_not_arrive(world: &World, there: &TestApp, bob: &Account, at_ada: &mut Socket) {
    activate(there, bob, "incoming", DROPS).await;
    tokio::time::sleep(SPREAD).await;
    let uid = at_ada.accepted(send_frame(&[bob], "unwanted", "unwanted")).await;
    let deadline = Instant::now() + TOLD;
    while !way_of(world, &uid).iter().any(|(_, stage, _)| stage == "router") {
        assert!(Instant::now() < deadline, "{:?}", way_of(world, &uid));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let way = way_of(world, &uid);
    let at = |stage: &str| way.iter().find(|(_, at, _)| at == stage).unwrap_or_else(|| panic!("{way:?}")).2;
    assert_eq!((at("outgoing"), at("incoming")), (0, 1), "{way:?}");
    assert_eq!(way.iter().filter(|(step, ..)| step == "accept").count(), 1, "{way:?}");
    let filtered = there.get("filtered", bob).await.assert(200).items();
    assert!(filtered.iter().any(|message| message["messageUid"] == uid.as_str()), "{filtered:?}");
}

#[tokio::test]
async fn a_real_prometheus_understands_every_rule_and_tells_of_a_broker_that_is_gone() {
    let logs = [("LOG_FORMAT", "json"), ("LOG", "info,parlor::message=debug")];
    let mut world = World::breakable(2, &logs).await;
    let targets: Vec<String> = world.servers().map(|server| server.internal.clone()).collect();
    let prometheus = Prometheus::start(&targets);
    prometheus.until("both nodes are scraped", async |it| it.value("sum(up)").await == Some(2.0)).await;
    prometheus.until("three brokers are seen", async |it| it.value("min(parlor_bus_brokers)").await == Some(3.0)).await;
    let (here, there) = (world.app(0), world.app(1));
    let (ada, bob) = (here.register("ada").await, there.register("bob").await);
    let (mut at_ada, mut at_bob) = (here.socket(&ada).await, there.socket(&bob).await);
    for n in 0..20 {
        at_ada.accepted(send_frame(&[&bob], "hello", &n.to_string())).await;
    }
    at_bob.messages(20).await;
    // What the dashboards show is what happened.
    prometheus
        .until("the messages are counted", async |it| it.value("sum(parlor_messages_placed_total)").await == Some(20.0))
        .await;
    let written = "sum(parlor_end_to_end_seconds_count)";
    prometheus.until("they were written to sockets", async |it| it.value(written).await > Some(0.0)).await;
    prometheus.until("sockets are summed", async |it| it.value("parlor:sessions:sum").await == Some(2.0)).await;
    let rules = prometheus.ask("rules", &[]).await.unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let ill = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).filter(|rule| rule["health"] == "err");
    assert_eq!(ill.collect::<Vec<_>>(), Vec::<&Value>::new());
    assert!(groups.len() >= 7, "{}", groups.len());
    let calm = prometheus.firing().await;
    assert!(!calm.contains(&"ParlorBrokerDown".to_owned()), "{calm:?}");

    who_is_slow_and_whose_fault_it_is(&mut world, &prometheus, &ada, &bob).await;
    // Nobody has read the other one for minutes: it is closed.
    let mut at_ada = here.socket(&ada).await;
    why_a_message_did_not_arrive(&world, &there, &bob, &mut at_ada).await;

    let kafka = world.backing().kafka.clone();
    blocking(move || kafka.broker(2).kill()).await;
    let gone = Instant::now();
    prometheus
        .until("the broker is missed", async |it| it.firing().await.contains(&"ParlorBrokerDown".to_owned()))
        .await;
    eprintln!("ParlorBrokerDown fires {:?} after the broker's end", gone.elapsed());
    // Two of three are enough.
    at_ada.accepted(send_frame(&[&bob], "still", "still")).await;
    world.start_broker(2).await;
    prometheus.until("all is well again", async |it| !it.firing().await.contains(&"ParlorBrokerDown".to_owned())).await;
    world.stop().await;
}
