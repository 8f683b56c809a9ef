//! Spans of messages, for an OpenTelemetry collector where `telemetry.otlp_endpoint` names one: what the log tells of a message's way
//! (`parlor::message`) becomes a span of its trace, so no actor knows of it, and without the setting nothing is done.
//!
//! Spans wait in a queue with a bound. A collector that is slow or away costs spans, which are counted, and nothing else.

use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use self::export::Exporter;
use self::span::{Span, Told};
use crate::clock::Clock;
use crate::metrics;

mod export;
mod span;

/// The target of events that become spans.
const TARGET: &str = "parlor::message";
/// Spans that wait to be sent; one more is left out, and counted.
const QUEUE: usize = 4096;
/// Time for what still waits when the node stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// The layer that makes spans of events, before it is put under a subscriber.
pub struct Spans {
    queue: mpsc::Sender<Span>,
    clock: Clock,
}

/// What sends them.
pub struct Telemetry {
    stop: oneshot::Sender<()>,
    exporter: JoinHandle<()>,
}

/// Spans go to this address from now on, until [`Telemetry::finish`].
///
/// # Errors
/// When there is no HTTP client to be had.
pub fn start(to: Url, clock: Clock) -> Result<(Spans, Telemetry), reqwest::Error> {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let (stop, stopped) = oneshot::channel();
    let exporter = tokio::spawn(Exporter::new(to)?.run(waiting, stopped));
    Ok((Spans { queue, clock }, Telemetry { stop, exporter }))
}

impl Telemetry {
    /// Sends what waits, if that is done soon.
    pub async fn finish(self) {
        // An exporter that has ended needs not be told.
        let _ = self.stop.send(());
        if tokio::time::timeout(FAREWELL, self.exporter).await.is_err() {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}

impl Spans {
    /// With the filter that lets through what it is made for, whatever the log shows.
    pub fn layer<S>(self) -> impl Layer<S> + Send + Sync
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.with_filter(Targets::new().with_target(TARGET, Level::DEBUG))
    }
}

impl<S: Subscriber> Layer<S> for Spans {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let Some(span) = told.into_span(self.clock.now()) else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.queue.try_send(span) {
            metrics::spans_dropped(1, "queue");
        }
    }
}
