//! The pipeline as a chain of stages: order, back-pressure, crashes. Runs the node inside the test, with stages of the
//! test's own.

use std::collections::HashMap;
use std::panic::panic_any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parlor::actors::node::{Node, Startup};
use parlor::clock::Clock;
use parlor::config::Config;
use parlor::envelope::Envelope;
use parlor::pipeline::stages::{Catalogue, Kind, Outcome, Stage};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::app::{Account, PATIENCE, TestApp, send_frame};

/// A stage made of a function.
struct Does<F>(F);

impl<F> Stage for Does<F>
where
    F: Fn(Envelope) -> BoxFuture<'static, Envelope> + Send + Sync + 'static,
{
    fn apply(&self, envelope: Envelope, _: std::time::Instant) -> BoxFuture<'_, Outcome> {
        let work = (self.0)(envelope);
        async move { Outcome::pass(work.await) }.boxed()
    }
}

pub(crate) fn does<F>(work: F) -> Kind
where
    F: Fn(Envelope) -> BoxFuture<'static, Envelope> + Send + Sync + 'static,
{
    Kind::Each(Arc::new(Does(work)))
}

/// Writes everything in capitals.
fn upper() -> Kind {
    does(|mut envelope| {
        envelope.message_body = envelope.message_body.to_uppercase();
        async { envelope }.boxed()
    })
}

/// Writes its name behind everything.
fn sign(name: &'static str) -> Kind {
    does(move |mut envelope| {
        envelope.message_body += name;
        async { envelope }.boxed()
    })
}

/// A node in the test's own process, and a client of it.
pub(crate) struct Inside {
    pub(crate) node: Node,
    server: ServerHandle,
    pub(crate) app: TestApp,
    pub(crate) folder: TempDir,
}

impl Inside {
    pub(crate) async fn start(pipeline: &[&str], catalogue: Catalogue, set: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipeline: Vec<String> = pipeline.iter().map(|name| (*name).to_owned()).collect();
        let stages = [vec!["gateway".to_owned()], pipeline.clone()].concat();
        let mut config = Config { data: folder.path().into(), pipeline, stages, ..Config::default() };
        config.session.message_burst = 100_000;
        set(&mut config);
        config.check(&catalogue).unwrap();
        let max_request = config.session.max_frame_bytes();
        let node = Node::start(config, &catalogue, Clock::system(), &Startup::default()).await.unwrap();
        let state = Data::new(node.http_state());
        let (deps, handle) = (Data::from(node.session_deps()), Data::new(node.handle()));
        let server = HttpServer::new(move || {
            let app = App::new().app_data(state.clone()).app_data(deps.clone()).app_data(handle.clone());
            app.configure(parlor::http::api(max_request, &[], parlor::actors::busy::BusyCount::default()))
        });
        let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let running = server.run();
        let handle = running.handle();
        actix::spawn(running);
        Self { node, server: handle, app: TestApp::around(&format!("http://{address}")), folder }
    }

    pub(crate) async fn stop(self) -> TempDir {
        self.node.drain().await;
        self.server.stop(false).await;
        self.node.close().await;
        self.folder
    }

    pub(crate) async fn pair(&self) -> (Account, Account) {
        (self.app.register("ada").await, self.app.register("bob").await)
    }
}

pub(crate) fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["messageBody"].as_str().unwrap()).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// The records that were put aside: reason and payload.
pub(crate) fn dead_letters(data: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(data.join("bus/dead-letter.jsonl")).unwrap_or_default();
    let read = |line: &str| -> (String, String) {
        let line: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (field("reason"), field("payload"))
    };
    text.lines().map(read).collect()
}

#[actix::test]
async fn a_message_passes_the_stages_in_the_order_that_is_configured() {
    for (pipeline, came) in [
        (vec!["upper", "sign", "router"], "HELLO, signed"),
        (vec!["sign", "upper", "router"], "HELLO, SIGNED"),
        (vec!["upper", "router"], "HELLO"),
        (vec!["router"], "hello"),
    ] {
        let catalogue = Catalogue::standard().with("upper", upper()).with("sign", sign(", signed"));
        let inside = Inside::start(&pipeline, catalogue, |_| {}).await;
        let (ada, bob) = inside.pair().await;
        inside.app.socket(&ada).await.accepted(send_frame(&[&bob], "hello", "1")).await;
        for reader in [&ada, &bob] {
            assert_eq!(bodies(&inside.app.inbox(reader, 1).await), [came], "{pipeline:?}");
        }
        inside.stop().await;
    }
}

#[actix::test]
async fn a_slow_stage_keeps_a_senders_order_and_another_sender_passes_by() {
    let slow: Arc<std::sync::Mutex<HashMap<i64, Duration>>> = Arc::default();
    let table = slow.clone();
    let stage = does(move |envelope| {
        let wait = table.lock().unwrap().get(&envelope.sender_id.0).copied().unwrap_or_default();
        async move {
            tokio::time::sleep(wait).await;
            envelope
        }
        .boxed()
    });
    let catalogue = Catalogue::standard().with("slow", stage).with("upper", upper());
    let inside = Inside::start(&["slow", "upper", "router"], catalogue, |_| {}).await;
    let (ada, bob) = inside.pair().await;
    let carol = inside.app.register("carol").await;
    slow.lock().unwrap().insert(ada.id, Duration::from_millis(40));
    let (mut slow_one, mut quick_one) = (inside.app.socket(&ada).await, inside.app.socket(&bob).await);
    let mut reader = inside.app.socket(&carol).await;
    for n in 0..50 {
        slow_one.accepted(send_frame(&[&carol], &format!("a{n}"), &n.to_string())).await;
    }
    for n in 0..50 {
        quick_one.accepted(send_frame(&[&carol], &format!("b{n}"), &n.to_string())).await;
    }
    let came = reader.messages(100).await;
    let came = bodies(&came);
    let of = |who: &str| came.iter().filter_map(|body| body.strip_prefix(who)).collect::<Vec<_>>();
    assert_eq!(
        (of("A"), of("B")),
        (numbers(50).iter().map(String::as_str).collect(), numbers(50).iter().map(String::as_str).collect())
    );
    let last_of_quick = came.iter().rposition(|body| body.starts_with('B')).unwrap();
    let behind = came[last_of_quick..].iter().filter(|body| body.starts_with('A')).count();
    assert!(behind >= 10, "the quick one waited for the slow one: {came:?}");
    inside.stop().await;
}

#[actix::test]
async fn a_stage_that_stands_still_makes_senders_wait_and_loses_nothing() {
    const BODY: usize = 10_000;
    const BOUND: usize = 512 * 1024;
    let gate = Arc::new(Semaphore::new(0));
    let door = gate.clone();
    let stage = does(move |envelope| {
        let door = door.clone();
        async move {
            door.acquire().await.unwrap().forget();
            envelope
        }
        .boxed()
    });
    let catalogue = Catalogue::standard().with("gate", stage);
    let inside = Inside::start(&["gate", "router"], catalogue, |config| {
        config.session.max_message_bytes = BODY;
        config.session.ping_interval_seconds = 1;
        config.bus.max_record_bytes = 128 * 1024;
        config.bus.unfinished_bytes = BOUND;
    })
    .await;
    let (ada, bob) = inside.pair().await;
    let mut from = inside.app.socket(&ada).await;
    let filler = "x".repeat(BODY - 4);
    for n in 0..200 {
        from.send(send_frame(&[&bob], &format!("{n:<4}{filler}"), &n.to_string())).await;
    }
    // Longer than a client may be silent: that it is not heard is the server's doing, and not held against it.
    let taken = from.gather("accepted", Duration::from_secs(4)).await.len();
    assert!((20..=BOUND / BODY).contains(&taken), "{taken} were accepted while nothing moved");
    assert_eq!(inside.app.get("inbox", &bob).await.items().len(), 0);
    // What waits at the door waits by HTTP too.
    let message = serde_json::json!({"messageBody": filler, "recipientIds": [bob.id]});
    let waiting = tokio::time::timeout(Duration::from_millis(300), inside.app.post("messages", Some(&bob), &message));
    assert!(waiting.await.is_err());
    gate.add_permits(1_000);
    for _ in taken..200 {
        from.expect("accepted").await;
    }
    let inbox = inside.app.inbox(&bob, 201).await;
    let of_ada: Vec<&Value> = inbox.iter().filter(|message| message["senderId"] == ada.id).collect();
    let came: Vec<String> =
        of_ada.iter().map(|message| message["messageBody"].as_str().unwrap()[..4].trim().to_owned()).collect();
    assert_eq!(came, numbers(200));
    assert_eq!(inbox.len(), 201, "a client that hung up has still sent its message");
    inside.stop().await;
}

#[actix::test]
async fn a_message_that_crashes_its_stage_is_put_aside_after_five_attempts_and_holds_nobody_up() {
    let attempts = Arc::new(AtomicU32::new(0));
    let count = attempts.clone();
    let stage = does(move |envelope| {
        if envelope.message_body == "boom" {
            count.fetch_add(1, Ordering::Relaxed);
            // Not `panic!`: what it prints would look like a failure of the test.
            panic_any("a stage of the test's own");
        }
        async { envelope }.boxed()
    });
    let catalogue = Catalogue::standard().with("fragile", stage).with("upper", upper());
    let inside = Inside::start(&["fragile", "upper", "router"], catalogue, |_| {}).await;
    let (ada, bob) = inside.pair().await;
    let (mut from, mut other) = (inside.app.socket(&ada).await, inside.app.socket(&bob).await);
    // All at once, so that there are some behind it from the first attempt on.
    for n in 0..20 {
        let body = if n == 5 { "boom".to_owned() } else { n.to_string() };
        from.send(send_frame(&[&bob], &body, &n.to_string())).await;
    }
    for _ in 0..20 {
        from.expect("accepted").await;
    }
    let began = tokio::time::Instant::now();
    other.accepted(send_frame(&[&ada], "not held up", "1")).await;
    while from.expect("message").await["messageBody"] != "NOT HELD UP" {}
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while inside.app.get("inbox?limit=100", &bob).await.items().len() < 20 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let inbox = inside.app.inbox(&bob, 20).await;
    let mut wanted = numbers(20);
    wanted.remove(5);
    let of_ada: Vec<Value> = inbox.into_iter().filter(|message| message["senderId"] == ada.id).collect();
    assert_eq!(bodies(&of_ada), wanted);
    assert_eq!(attempts.load(Ordering::Relaxed), 5);
    let folder = inside.stop().await;
    let dead = dead_letters(folder.path());
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].0.contains("crashed over it 5 times") && dead[0].1.contains("boom"), "{dead:?}");
}

#[actix::test]
async fn a_stage_that_crashes_now_and_then_changes_nothing() {
    // More crashes than a message has attempts, and more messages behind them than are fed without a break.
    const COUNT: usize = 1500;
    let turn = Arc::new(AtomicU32::new(0));
    let stage = does(move |envelope| {
        if turn.fetch_add(1, Ordering::Relaxed) % 200 == 3 {
            panic_any("a stage of the test's own");
        }
        async { envelope }.boxed()
    });
    let catalogue = Catalogue::standard().with("flaky", stage);
    let inside = Inside::start(&["flaky", "router"], catalogue, |_| {}).await;
    let (ada, bob) = inside.pair().await;
    let mut from = inside.app.socket(&ada).await;
    for n in 0..COUNT {
        from.send(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    for _ in 0..COUNT {
        from.expect("accepted").await;
    }
    assert_eq!(bodies(&inside.app.inbox(&bob, COUNT).await), numbers(COUNT));
    inside.stop().await;
}

#[tokio::test]
async fn a_record_that_is_no_envelope_is_put_aside_with_the_reason_and_the_next_one_passes() {
    use parlor::config::bus::BusOptions;
    use parlor::pipeline::bus::{Bus, Topic};
    use parlor::pipeline::embedded::EmbeddedBus;

    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    app.terminate();
    assert_eq!(app.ended().await, Some(0));
    let envelope = |body: &str, topics: &str, more: &str| {
        format!(
            r#"{{"messageUid":"{}","sessionId":"{}","messageBody":"{body}","senderId":{},"recipientIds":[{}],
            "fromAutoReply":false,"eventDestinations":{topics}{more}}}"#,
            uuid::Uuid::new_v4(),
            uuid::Uuid::new_v4(),
            ada.id,
            bob.id
        )
    };
    let here = r#"["parlor.router"]"#;
    let records = [
        envelope("first", here, ""),
        "poison".to_owned(),
        "{}".to_owned(),
        String::new(),
        envelope("lost", r#"["parlor.elsewhere"]"#, ""),
        envelope("lost", "[]", ""),
        envelope("in circles", here, r#","hops":65"#),
        envelope("foreign", here, r#","somebodyElses":{"field":1e400}"#),
        envelope("last", here, r#","hops":64"#),
    ];
    let folder = app.data().join("bus");
    let bus = EmbeddedBus::open(&folder, &BusOptions::default(), Clock::system()).unwrap();
    let topic = Topic::from("parlor.router");
    for record in &records {
        let room = bus.room(record.len() + 1).await.unwrap();
        bus.publish(room, &topic, "1".into(), record.clone().into()).await.unwrap();
    }
    let no_text = bus.room(3).await.unwrap();
    bus.publish(no_text, &topic, "1".into(), bytes::Bytes::from_static(b"\xff\xfe")).await.unwrap();
    bus.close().await;
    drop(bus);
    app.restart_after_end().await;
    assert_eq!(bodies(&app.inbox(&bob, 3).await), ["first", "foreign", "last"]);
    app.until_metric("parlor_dead_letters_total", PATIENCE, |count| (count - 7.0).abs() < 0.1).await;
    let dead = dead_letters(&app.data());
    assert_eq!(dead.len(), 7);
    for ((reason, payload), (record, part)) in dead.iter().zip([
        (&records[1], "not an envelope"),
        (&records[2], "messageUid"),
        (&records[3], "not an envelope"),
        (&records[4], "its next destination is parlor.elsewhere"),
        (&records[5], "its next destination is nowhere"),
        (&records[6], "passed 65 stages"),
        (&String::new(), "not an envelope"),
    ]) {
        assert!(reason.contains(part) && payload == record, "{reason}: {payload}");
    }
}
