//! A real Prometheus watches a cluster by the rules of `deploy/prometheus`: it understands all of them, says nothing while all is well,
//! and tells of a broker that is gone until it is back.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::backing::blocking;
use super::world::World;
use crate::app::{lasting_port, send_frame};

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

#[tokio::test]
async fn a_real_prometheus_understands_every_rule_and_tells_of_a_broker_that_is_gone() {
    let mut world = World::breakable(2, &[]).await;
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
