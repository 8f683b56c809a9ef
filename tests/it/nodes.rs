//! Two real nodes on Kafka, Postgres and Redis: whoever is on one reaches whoever is on the other.

use std::time::Duration;

use parlor::config::redis::RedisOptions;
use parlor::config::secret::Secret;
use rustix::process::Signal;
use serde_json::json;

use crate::app::certificate::Certificate;
use crate::app::kafka::Kafka;
use crate::app::postgres::{Database, Postgres};
use crate::app::redis::Redis;
use crate::app::{PATIENCE, TestApp, send_frame};
use crate::redis::until;

/// What the nodes share.
pub(crate) struct Ground {
    database: Database,
    redis: Redis,
    pub(crate) prefix: String,
    sources: tempfile::TempDir,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        let prefix = format!("nodes-{}", uuid::Uuid::new_v4().simple());
        let database = Postgres::shared().database("template1");
        Self { database, redis: Redis::start().await, prefix, sources: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn node(&self, more: &[(&str, &str)]) -> TestApp {
        self.node_in(more, &[]).await
    }

    async fn node_in(&self, more: &[(&str, &str)], environment: &[(&str, &str)]) -> TestApp {
        let quoted = |text: &str| format!("{text:?}");
        let settings = [
            ("kafka_brokers", quoted(&Kafka::shared().bootstrap())),
            ("database_url", quoted(&self.database.url())),
            ("redis_url", quoted(&self.redis.url())),
            ("jwt_keys", quoted("k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")),
            ("object_store_url", quoted(&format!("file://{}", self.sources.path().display()))),
            ("topic_prefix", quoted(&self.prefix)),
            ("cluster.slots", "4".to_owned()),
            ("cluster.lease_ms", "3000".to_owned()),
            // Clients are to stay where the test has put them.
            ("cluster.shed_per_second", "0".to_owned()),
            ("kafka.partitions", "2".to_owned()),
            ("kafka.replication", "1".to_owned()),
            ("kafka.min_in_sync", "1".to_owned()),
        ];
        let settings = settings.iter().map(|(key, value)| (*key, value.as_str()));
        let settings: Vec<(&str, &str)> = settings.chain(more.iter().copied()).collect();
        TestApp::in_environment(&settings, environment).await
    }

    async fn two(&self, more: &[(&str, &str)]) -> (TestApp, TestApp) {
        // One after the other: the second finds the topics and the tables made.
        let (first, second) = (self.node(more).await, self.node(more).await);
        for node in [&first, &second] {
            node.until_metric("parlor_slots_live", PATIENCE, |nodes| nodes > 1.5).await;
        }
        (first, second)
    }
}

/// A metric of both together.
async fn sum(nodes: [&TestApp; 2], metric: &str) -> f64 {
    nodes[0].metric(metric).await + nodes[1].metric(metric).await
}

#[tokio::test]
async fn people_on_two_nodes_talk_as_if_it_were_one() {
    let ground = Ground::new().await;
    let (first, second) = ground.two(&[]).await;
    let (ada, bob) = (first.register("ada").await, second.register("bob").await);
    let (mut of_ada, mut of_bob) = (first.socket(&ada).await, second.socket(&bob).await);
    let found = sum([&first, &second], "parlor_catch_up_found_total").await;
    for n in 0..20 {
        of_ada.accepted(send_frame(&[&bob], &format!("to bob {n}"), &n.to_string())).await;
        of_bob.accepted(send_frame(&[&ada], &format!("to ada {n}"), &n.to_string())).await;
    }
    for socket in [&mut of_ada, &mut of_bob] {
        assert_eq!(socket.messages(40).await.last().unwrap()["seq"], 40);
    }
    assert!(sum([&first, &second], "parlor_bridge_told_total").await > 0.5, "they were told over the bridge");
    assert!(sum([&first, &second], "parlor_catch_up_found_total").await - found < 0.5, "and not found in the store");
    // Who comes, writes and reads is seen on the other node.
    of_ada.send(json!({"type": "typing", "recipientIds": [bob.id]})).await;
    assert_eq!(of_bob.expect("typing").await["userId"], ada.id);
    let conversation = first.inbox(&ada, 1).await[0]["conversationId"].clone();
    of_bob.send(json!({"type": "markRead", "conversationId": conversation, "seq": 40})).await;
    let read = of_ada.expect("read").await;
    assert_eq!((&read["userId"], &read["seq"]), (&json!(bob.id), &json!(40)));
    let presence = |online: bool| json!({"type": "presence", "userId": ada.id, "online": online});
    of_ada.close().await;
    assert_eq!(of_bob.expect_within("presence", PATIENCE).await, presence(false));
    let mut again = first.socket(&ada).await;
    assert_eq!(of_bob.expect("presence").await, presence(true));
    assert_eq!(again.expect("presence").await["userId"], bob.id, "who comes learns who is there, wherever");
    // A second device on the other node is neither a coming nor, when it is closed, a going.
    second.socket(&ada).await.close().await;
    of_bob.expect_none("presence", Duration::from_millis(3500)).await;
}

#[tokio::test]
async fn who_was_on_a_node_that_died_is_shown_as_gone_unless_they_came_back() {
    let ground = Ground::new().await;
    let (mut first, second) = ground.two(&[]).await;
    let (ada, bob, eve) = (first.register("ada").await, second.register("bob").await, first.register("eve").await);
    let (mut of_ada, mut of_bob, _of_eve) =
        (first.socket(&ada).await, second.socket(&bob).await, first.socket(&eve).await);
    for to in [&ada, &eve] {
        of_bob.accepted(send_frame(&[to], "hello", &to.id.to_string())).await;
    }
    of_ada.messages(1).await;
    first.process().signal(Signal::KILL);
    assert_eq!(first.ended().await, None);
    // Ada's client finds another node; nobody hears of Eve again.
    let _again = second.socket(&ada).await;
    let mut gone = Vec::new();
    while gone.is_empty() {
        gone.extend(
            of_bob
                .expect_within("presence", PATIENCE)
                .await
                .as_object()
                .filter(|frame| frame["online"] == false)
                .cloned(),
        );
    }
    while let Ok(frame) = tokio::time::timeout(Duration::from_secs(8), of_bob.expect_within("presence", PATIENCE)).await
    {
        gone.extend(frame.as_object().filter(|frame| frame["online"] == false).cloned());
    }
    assert_eq!(gone.iter().map(|frame| &frame["userId"]).collect::<Vec<_>>(), [&json!(eve.id)]);
}

#[tokio::test]
async fn limits_and_ends_of_logins_hold_on_both_nodes() {
    let ground = Ground::new().await;
    let (first, second) = ground.two(&[("session.messages_per_second", "1"), ("session.message_burst", "24")]).await;
    let (ada, bob) = (first.register("ada").await, second.register("bob").await);
    let mut sockets = [first.socket(&ada).await, second.socket(&ada).await];
    let mut refused = 0;
    for n in 0..40 {
        let body = json!({"messageBody": "x", "recipientIds": [bob.id]});
        let answer = [&first, &second][n % 2].post("messages", Some(&ada), &body).await;
        if answer.status == 429 {
            answer.assert_problem(429, "rate_limited");
            refused += 1;
        } else {
            answer.assert(202);
        }
    }
    // Each node for itself would take all 40: at most 24, and one more for each second that it took.
    assert!(refused >= 5, "{refused} of 40 were refused");
    second.post("logout", Some(&ada), &json!({"refreshToken": ada.refresh_token})).await;
    for socket in &mut sockets {
        assert_eq!(socket.expect_close().await, 4401);
    }
}

#[tokio::test]
async fn without_redis_everything_goes_on_and_it_heals() {
    let mut ground = Ground::new().await;
    let (first, second) = ground.two(&[]).await;
    let (ada, bob) = (first.register("ada").await, second.register("bob").await);
    let (mut of_ada, mut of_bob) = (first.socket(&ada).await, second.socket(&bob).await);
    ground.redis.kill().await;
    first.until_metric("parlor_redis_up", PATIENCE, |up| up < 0.5).await;
    of_ada.accepted(send_frame(&[&bob], "without", "1")).await;
    assert_eq!(of_bob.messages(1).await[0]["messageBody"], "without");
    let mut late = second.socket(&bob).await;
    of_ada.accepted(send_frame(&[&bob], "to both", "2")).await;
    assert_eq!(late.messages(1).await[0]["messageBody"], "to both");
    let ready = first.get_url(&format!("{}/readyz", first.internal)).await.assert(200).text;
    assert!(ready.contains("away"), "{ready}");
    ground.redis.start_again().await;
    for node in [&first, &second] {
        node.until_metric("parlor_slots_live", PATIENCE, |nodes| nodes > 1.5).await;
    }
    of_ada.accepted(send_frame(&[&bob], "with", "3")).await;
    assert_eq!(late.messages(1).await[0]["messageBody"], "with");
}

#[tokio::test]
async fn postgres_and_redis_are_spoken_to_in_secret_and_checked_against_their_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let Certificate { authority: ca, certificate, key } = Certificate::make(folder.path());
    let postgres = Postgres::start(&["fsync=off"]);
    postgres.speak_tls(&certificate, &key);
    let redis = Redis::with_tls(&certificate, &key).await;
    let database = postgres.url("postgres");
    let secret = |mode: &str| format!("{:?}", format!("{database}?sslmode={mode}&sslrootcert={}", ca.display()));
    let ground = Ground::new().await;
    let (url, tls) = (secret("verify-full"), format!("{:?}", redis.tls_url()));
    let settings = [("database_url", url.as_str()), ("redis_url", tls.as_str())];
    let node = ground.node_in(&settings, &[("SSL_CERT_FILE", ca.to_str().unwrap())]).await;
    node.until_metric("parlor_redis_up", PATIENCE, |up| up > 0.5).await;
    let (ada, bob) = (node.register("ada").await, node.register("bob").await);
    let mut of_bob = node.socket(&bob).await;
    node.socket(&ada).await.accepted(send_frame(&[&bob], "hush", "1")).await;
    assert_eq!(of_bob.messages(1).await[0]["messageBody"], "hush");
    assert_eq!(
        postgres.sql(
            "postgres",
            "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'parlor'"
        ),
        "t"
    );
    // Nobody whom this machine trusts has signed it.
    let stranger = parlor::cluster::redis::Redis::new(&Secret::new(redis.tls_url()), &RedisOptions::default()).unwrap();
    let connecting = tokio::spawn(stranger.clone().keep_connected());
    until("it is told why", || stranger.why().contains("certificate").then_some(())).await;
    assert!(!stranger.up());
    connecting.abort();
}
