//! The bound on unfinished bytes: who waits at it, and what is let in above it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::pipeline::bus::Room;

/// Keeps account of what is unfinished. A permit is a byte.
#[derive(Debug)]
pub(crate) struct Ledger {
    permits: Arc<Semaphore>,
    /// Bytes that were let in without a permit: what is finished next pays for them before anybody waiting is let in.
    debt: Mutex<usize>,
    bytes: AtomicU64,
    records: AtomicU64,
}

/// One unfinished record's part of the bound; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    bytes: usize,
}

impl Ledger {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(limit)),
            debt: Mutex::new(0),
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
        })
    }

    /// Waits, first come first served, until there is room; `None` when the bus has closed.
    pub(crate) async fn wait(self: Arc<Self>, bytes: usize) -> Option<Room> {
        let count = u32::try_from(bytes).ok()?;
        self.permits.clone().acquire_many_owned(count).await.ok().map(|permit| Room(Some(permit)))
    }

    /// Takes a record in that is `bytes` long, whatever room was asked for. Never waits.
    pub(crate) fn enter(self: &Arc<Self>, room: Room, bytes: usize) -> Charge {
        let reserved = room.0.map_or(0, |permit| {
            let count = permit.num_permits();
            permit.forget();
            count
        });
        if reserved > bytes {
            self.give_back(reserved - bytes);
        } else if reserved < bytes {
            let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
            let lacking = bytes - reserved;
            *debt += lacking - self.permits.forget_permits(lacking);
        }
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.records.fetch_add(1, Ordering::Relaxed);
        Charge { ledger: self.clone(), bytes }
    }

    /// Lets everybody who waits go, with nothing.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        let mut debt = self.debt.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = bytes.min(*debt);
        *debt -= paid;
        self.permits.add_permits(bytes - paid);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.bytes.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        self.ledger.records.fetch_sub(1, Ordering::Relaxed);
        self.ledger.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn available(ledger: &Arc<Ledger>, bytes: usize) -> bool {
        ledger.clone().wait(bytes).now_or_never().flatten().is_some()
    }

    #[test]
    fn room_that_was_not_used_goes_back() {
        let ledger = Ledger::new(100);
        let room = ledger.clone().wait(80).now_or_never().unwrap().unwrap();
        assert!(!available(&ledger, 21) && available(&ledger, 20));
        let charge = ledger.enter(room, 30);
        assert!(!available(&ledger, 71) && available(&ledger, 70));
        drop(charge);
        assert!(available(&ledger, 100));
        assert_eq!((ledger.bytes(), ledger.records()), (0, 0));
    }

    #[test]
    fn what_is_let_in_above_the_bound_is_paid_for_before_anybody_waiting_gets_in() {
        let ledger = Ledger::new(100);
        let room = ledger.clone().wait(60).now_or_never().unwrap().unwrap();
        let outside = ledger.enter(room, 60);
        let inside = ledger.enter(Room(None), 90);
        assert_eq!((ledger.bytes(), ledger.records()), (150, 2));
        drop(outside);
        assert!(!available(&ledger, 11) && available(&ledger, 10), "90 of 100 are still inside");
        drop(inside);
        assert!(available(&ledger, 100) && !available(&ledger, 101));
    }
}
