//! The one source of the time of day, so that tests can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time of day. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start.timestamp_millis()))))
    }

    /// The time now, in whole milliseconds: what is stored and sent carries no more.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the ambient clock")]
    pub fn now(&self) -> DateTime<Utc> {
        let millis = match &self.0 {
            None => Utc::now().timestamp_millis(),
            Some(at) => at.load(Ordering::Relaxed),
        };
        DateTime::from_timestamp_millis(millis).unwrap_or_default()
    }

    /// Moves a manual clock on; the machine's own clock is left alone.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(at) = &self.0 {
            at.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
        }
    }
}

/// The monotonic clock, for how long things take. In tests with paused time it is theirs.
#[must_use]
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}
