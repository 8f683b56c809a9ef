//! What gives reason to believe that sessions here may not be told of something: then the store is asked for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// Redis does not answer.
    Redis = 1,
    /// This node holds no slot that Redis knows of.
    Slot = 2,
    /// Somebody has a session here and Redis was not told in time.
    Presence = 4,
    /// What is sent to this node is not being read.
    Bridge = 8,
}

/// The reasons at this moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Doubt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reasons: AtomicU32,
    born: Instant,
    /// Milliseconds since `born` until which there is doubt in any case.
    until: AtomicU64,
}

impl Doubt {
    /// No doubt.
    #[must_use]
    pub fn none() -> Self {
        let born = crate::clock::monotonic();
        Self(Arc::new(Inner { reasons: AtomicU32::new(0), born, until: AtomicU64::new(0) }))
    }

    /// There is this reason, or no longer.
    pub fn set(&self, reason: Reason, there: bool) {
        if there {
            self.0.reasons.fetch_or(reason as u32, Ordering::AcqRel);
        } else {
            self.0.reasons.fetch_and(!(reason as u32), Ordering::AcqRel);
        }
    }

    /// Something happened that may have cost something: there is doubt for so long.
    pub fn for_a_while(&self, time: Duration) {
        let until =
            u64::try_from((crate::clock::monotonic().saturating_duration_since(self.0.born) + time).as_millis())
                .unwrap_or(u64::MAX);
        self.0.until.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether there is this reason.
    #[must_use]
    pub fn has(&self, reason: Reason) -> bool {
        self.0.reasons.load(Ordering::Acquire) & reason as u32 != 0
    }

    /// Whether there is any.
    #[must_use]
    pub fn any(&self) -> bool {
        let now = u64::try_from(crate::clock::monotonic().saturating_duration_since(self.0.born).as_millis())
            .unwrap_or(u64::MAX);
        self.0.reasons.load(Ordering::Acquire) != 0 || now < self.0.until.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_and_go_each_for_itself() {
        let doubt = Doubt::none();
        assert!(!doubt.any());
        doubt.set(Reason::Redis, true);
        doubt.set(Reason::Bridge, true);
        doubt.set(Reason::Redis, false);
        assert!(doubt.any() && doubt.has(Reason::Bridge) && !doubt.has(Reason::Redis));
        doubt.set(Reason::Bridge, false);
        assert!(!doubt.any());
        doubt.for_a_while(Duration::from_secs(60));
        assert!(doubt.any());
    }
}
