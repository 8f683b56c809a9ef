//! OTLP over HTTP, in its JSON encoding (opentelemetry.io/docs/specs/otlp): spans in batches to a collector's `/v1/traces`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use url::Url;
use uuid::Uuid;

use super::span::Span;
use crate::metrics;
use crate::version::VERSION;

/// Spans in one request.
const BATCH: usize = 512;
/// How long spans are gathered when they are few.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector may take for a request.
const LIMIT: Duration = Duration::from_secs(5);

/// Sends spans to one collector.
pub(super) struct Exporter {
    http: reqwest::Client,
    to: Url,
    resource: Value,
    /// Said in the log when it changes, not for each batch.
    away: bool,
}

impl Exporter {
    pub(super) fn new(to: Url) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(LIMIT).no_proxy().build()?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let attributes = [
            ("service.name", "parlor".to_owned()),
            ("service.version", VERSION.to_owned()),
            // Which process of many.
            ("service.instance.id", Uuid::new_v4().to_string()),
            ("host.name", host),
        ];
        let resource = json!({"attributes": attributes.iter().map(attribute).collect::<Vec<_>>()});
        Ok(Self { http, to, resource, away: false })
    }

    /// Until `stopped`, and then what waits.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Span>, mut stopped: oneshot::Receiver<()>) {
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                _ = &mut stopped, if !waiting.is_closed() => waiting.close(),
                n = waiting.recv_many(&mut batch, BATCH) => {
                    if n == 0 {
                        return;
                    }
                    self.send(batch).await;
                    if n < BATCH && !waiting.is_closed() && tokio::time::timeout(GATHER, &mut stopped).await.is_ok() {
                        waiting.close();
                    }
                }
            }
        }
    }

    /// A batch is sent once: what the collector does not take is counted, and gone.
    async fn send(&mut self, batch: Vec<Span>) {
        let all = batch.len() as u64;
        let outcome = self.post(&batch).await;
        let refused = match &outcome {
            Ok(refused) => (*refused).min(all),
            Err(_) => all,
        };
        metrics::spans_exported(all - refused);
        metrics::spans_dropped(refused, "collector");
        match outcome {
            Err(error) if !self.away => {
                tracing::warn!(%error, "the collector does not take spans; they are left out until it does");
                self.away = true;
            }
            Ok(_) if self.away => {
                tracing::info!("the collector takes spans again");
                self.away = false;
            }
            _ => {}
        }
    }

    /// How many of them the collector refused.
    async fn post(&self, batch: &[Span]) -> Result<u64, reqwest::Error> {
        let answer = self.http.post(self.to.clone()).json(&self.request(batch)).send().await?.error_for_status()?;
        // One that says nothing more has taken all.
        let said = answer.json::<Value>().await.unwrap_or_default();
        let refused = &said["partialSuccess"]["rejectedSpans"];
        Ok(refused.as_u64().or_else(|| refused.as_str()?.parse().ok()).unwrap_or_default())
    }

    /// An `ExportTraceServiceRequest`.
    fn request(&self, batch: &[Span]) -> Value {
        let spans: Vec<Value> = batch.iter().map(encode).collect();
        let scope = json!({"name": "parlor", "version": VERSION});
        json!({"resourceSpans": [{"resource": self.resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
    }
}

fn attribute((key, value): &(&str, String)) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// Ids are hexadecimal and 64-bit numbers are text, as OTLP's mapping to JSON has it.
fn encode(span: &Span) -> Value {
    let mut encoded = json!({
        "traceId": span.trace.simple().to_string(),
        "spanId": span.id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
    });
    if let Some(parent) = &span.parent {
        encoded["parentSpanId"] = json!(parent);
    }
    encoded
}
