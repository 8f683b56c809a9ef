//! Spans at a collector: one trace a message over all nodes, continued from the headers in Kafka; and no collector at all, or one that
//! never answers, which costs spans and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::app::kafka::Kafka;
use crate::app::{PATIENCE, TestApp, send_frame};
use crate::nodes::Ground;

/// OTLP's `ExportTraceServiceRequest` in JSON; nothing that the protocol does not have is let pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    version: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    value: AnyValue,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AnyValue {
    string_value: String,
}

impl Span {
    fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.key == key).map(|found| found.value.string_value.as_str())
    }
}

/// Takes spans as an OpenTelemetry collector does, and keeps them: which process sent them, and the span.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let spans: Arc<Mutex<Vec<(String, Span)>>> = Arc::default();
        let kept = spans.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, kept.clone()));
            }
        });
        Self { address, spans }
    }

    /// The spans of a trace, when there are so many.
    async fn trace(&self, uid: &str, count: usize) -> Vec<(String, Span)> {
        let id = uid.replace('-', "");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.spans.lock().unwrap().clone();
            let found: Vec<_> = all.into_iter().filter(|(_, span)| span.trace_id == id).collect();
            if found.len() >= count {
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count}: {found:#?}", found.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One request after the other of a connection.
async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Vec<(String, Span)>>>) {
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let text = String::from_utf8(read[..head].to_vec()).unwrap().to_lowercase();
        assert!(text.starts_with("post /v1/traces http/1.1\r\n"), "{text}");
        assert!(text.contains("\r\ncontent-type: application/json\r\n"), "{text}");
        let length: usize = text.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        while read.len() < head + length {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        let request: Request = serde_json::from_slice(&read[head..head + length]).unwrap();
        read.drain(..head + length);
        for ResourceSpans { resource, scope_spans } in request.resource_spans {
            let of =
                |key: &str| resource.attributes.iter().find(|it| it.key == key).unwrap().value.string_value.clone();
            assert_eq!(of("service.name"), "parlor");
            for ScopeSpans { scope, spans } in scope_spans {
                assert_eq!((scope.name.as_str(), scope.version), ("parlor", of("service.version")));
                kept.lock().unwrap().extend(spans.into_iter().map(|span| (of("service.instance.id"), span)));
            }
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
            .await
            .unwrap();
    }
}

/// The header `traceparent` of the first record of a topic.
fn header(topic: &str) -> String {
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", Kafka::shared().bootstrap()).set("group.id", topic);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in 0..2 {
        list.add_partition_offset(topic, partition, rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let record = (0..300).find_map(|_| consumer.poll(Duration::from_millis(100))).unwrap().unwrap();
    let headers = record.headers().unwrap();
    let value = headers.iter().find(|header| header.key == "traceparent").unwrap().value.unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

#[tokio::test]
async fn a_message_is_one_trace_over_three_nodes_continued_from_the_headers_in_kafka() {
    let collector = Collector::start().await;
    let ground = Ground::new().await;
    let node = async |stages: &str| {
        ground.node(&[("stages", stages), ("telemetry.otlp_endpoint", &format!("{:?}", collector.address))]).await
    };
    let gateway = node(r#"["gateway"]"#).await;
    let _scripts = node(r#"["outgoing", "incoming"]"#).await;
    let _rest = node(r#"["auto-reply", "router"]"#).await;
    let (ada, bob) = (gateway.register("ada").await, gateway.register("bob").await);
    let away = serde_json::json!({"enabled": true, "text": "away", "repeatAfterSeconds": 0});
    gateway.put("users/me/auto-reply", &bob, &away).await.assert(200);
    let (mut at_ada, mut at_bob) = (gateway.socket(&ada).await, gateway.socket(&bob).await);
    let uid = at_ada.accepted(send_frame(&[&bob], "hello", "1")).await;
    at_bob.messages(1).await;

    let found = collector.trace(&uid, 8).await;
    let names: BTreeMap<&str, &Span> = found.iter().map(|(_, span)| (span.name.as_str(), span)).collect();
    let publish = |stage: &str| format!("publish {}.{stage}", ground.prefix);
    let expected: BTreeSet<String> =
        ["accept", "stage outgoing", "stage incoming", "stage auto-reply", "stage router", "to client"]
            .map(str::to_owned)
            .into_iter()
            .chain([publish("auto-reply")])
            .collect();
    assert_eq!(names.keys().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(), expected);
    let clients: BTreeSet<_> = found.iter().filter_map(|(_, span)| span.attribute("parlor.session_id")).collect();
    assert_eq!(clients.len(), 2, "both have a socket");
    let nodes: BTreeSet<&str> = found.iter().map(|(node, _)| node.as_str()).collect();
    assert_eq!(nodes.len(), 3, "each node tells of its part");
    // Every span has its parent in the trace, but the first.
    let parent = |name: &str| names[name].parent_span_id.clone();
    let id = |name: &str| Some(names[name].span_id.clone());
    assert_eq!(parent("accept"), None);
    assert_eq!((parent("stage outgoing"), parent("stage incoming")), (id("accept"), id("accept")));
    assert_eq!(parent(&publish("auto-reply")), id("accept"));
    assert_eq!(
        (parent("stage auto-reply"), parent("stage router")),
        (id(&publish("auto-reply")), id(&publish("auto-reply")))
    );
    assert_eq!(parent("to client"), id("stage router"));
    assert_eq!((names["accept"].kind, names["stage router"].kind, names["to client"].kind), (4, 5, 1));
    // What the records say is what the spans are.
    let said = |stage: &str, name: &str| (header(&format!("{}.{stage}", ground.prefix)), names[name].span_id.clone());
    for (header, span) in [said("outgoing", "accept"), said("auto-reply", &publish("auto-reply"))] {
        assert_eq!(header, format!("00-{}-{span}-01", uid.replace('-', "")));
    }
    // Times are of this moment, and a message is accepted before it goes to a client.
    let times = |name: &str| {
        let (start, end) = (&names[name].start_time_unix_nano, &names[name].end_time_unix_nano);
        (start.parse::<i64>().unwrap(), end.parse::<i64>().unwrap())
    };
    let now = parlor::clock::Clock::system().now().timestamp_nanos_opt().unwrap();
    assert!((times("accept").1 - now).abs() < 120_000_000_000, "{:?}", times("accept"));
    assert!(times("accept").0 < times("accept").1 && times("accept").0 < times("to client").1);

    // The answer is a message of its own, which says of what it is the answer.
    let answer = at_ada.messages(2).await.into_iter().find(|message| message["fromAutoReply"] == true).unwrap();
    let answer = collector.trace(answer["messageUid"].as_str().unwrap(), 7).await;
    let made = answer.iter().find(|(_, span)| span.parent_span_id.is_none()).unwrap_or_else(|| panic!("{answer:#?}"));
    assert!(made.1.name.starts_with("publish "), "{made:?}");
    assert_eq!(made.1.attribute("parlor.cause_uid"), Some(uid.as_str()));
}

#[tokio::test]
async fn a_collector_that_never_answers_or_is_not_there_slows_and_stops_nothing() {
    // Connections to the first are taken by the kernel, and nobody reads what they bring.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for (address, reason) in [(silent.local_addr().unwrap(), "queue"), (gone, "collector")] {
        let endpoint = format!("\"http://{address}\"");
        let settings = [
            ("telemetry.otlp_endpoint", endpoint.as_str()),
            ("session.message_burst", "100000"),
            ("session.in_flight", "500"),
        ];
        let mut app = TestApp::with(&settings).await;
        let (ada, bob) = (app.register("ada").await, app.register("bob").await);
        let (mut at_ada, mut at_bob) = (app.socket(&ada).await, app.socket(&bob).await);
        // Seven spans each: more than wait and are sent at once together.
        for n in 0..900 {
            at_ada.send(send_frame(&[&bob], "hello", &n.to_string())).await;
            if n % 300 == 299 {
                at_bob.messages(300).await;
            }
        }
        let dropped = format!("parlor_spans_dropped_total{{reason=\"{reason}\"}}");
        app.until_metric(&dropped, PATIENCE, |spans| spans > 0.5).await;
        assert!(app.metric("parlor_spans_exported_total").await < 0.5);
        let begun = Instant::now();
        app.terminate();
        assert_eq!(app.ended().await, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
