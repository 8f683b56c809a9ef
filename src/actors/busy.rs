//! Counts what is under way on the connections of a node, so that stopping can let it end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many requests are being answered and sockets are open. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct BusyCount(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl BusyCount {
    /// One more.
    #[must_use]
    pub fn enter(&self) -> Busy {
        self.0.fetch_add(1, Ordering::AcqRel);
        Busy(self.0.clone())
    }

    /// How many there are now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
