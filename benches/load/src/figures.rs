//! What is counted and timed.

use std::time::Instant;

use hdrhistogram::Histogram;

/// Latencies are kept in microseconds up to ten minutes, to three digits.
const MAX_MICROS: u64 = 600_000_000;

/// How often something happened since the run began.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(crate) struct Counters {
    /// Messages written to a socket, repeats after a reconnect not counted.
    pub(crate) sent: u64,
    /// Messages answered by `accepted`.
    pub(crate) accepted: u64,
    /// Messages answered by `rejected`.
    pub(crate) rejected: u64,
    /// `message` frames of ours that came to a recipient, the sender's own copies not counted.
    pub(crate) delivered: u64,
    /// `message` frames that this run did not send.
    pub(crate) foreign: u64,
    /// Connections that the server closed or that broke.
    pub(crate) disconnects: u64,
    /// `error` frames and frames that could not be read.
    pub(crate) errors: u64,
}

impl Counters {
    /// What happened since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            accepted: self.accepted - earlier.accepted,
            rejected: self.rejected - earlier.rejected,
            delivered: self.delivered - earlier.delivered,
            foreign: self.foreign - earlier.foreign,
            disconnects: self.disconnects - earlier.disconnects,
            errors: self.errors - earlier.errors,
        }
    }
}

/// A histogram of microseconds.
#[derive(Debug)]
pub(crate) struct Latency(pub(crate) Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // The bounds are constants that the constructor takes; the fallback never runs.
        let histogram = Histogram::new_with_bounds(1, MAX_MICROS, 3);
        Self(histogram.unwrap_or_else(|_| unreachable!("constant bounds of a histogram")))
    }
}

impl Latency {
    /// Counts the time from `start` to `end`.
    pub(crate) fn record(&mut self, start: Instant, end: Instant) {
        let micros = u64::try_from(end.saturating_duration_since(start).as_micros()).unwrap_or(MAX_MICROS);
        self.0.saturating_record(micros.max(1));
    }
}
