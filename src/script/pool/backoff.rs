//! How long a worker waits to be started again: not at all the first time, then longer and longer.

use std::time::Duration;

/// The second wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(50);
/// A worker that lived so long, or answered anything, died of something new.
const OLD: Duration = Duration::from_secs(5);

/// Remembers how often a worker died young, one time after the other.
#[derive(Debug)]
pub(super) struct BackOff {
    longest: Duration,
    deaths: u32,
}

impl BackOff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, deaths: 0 }
    }

    /// One died that had lived so long: how long to wait.
    pub(super) fn died(&mut self, lived: Duration, answered: bool) -> Duration {
        self.deaths = if answered || lived >= OLD { 1 } else { self.deaths.saturating_add(1) };
        match self.deaths.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => FIRST.saturating_mul(1 << doublings.min(20)).min(self.longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_started_at_once_and_each_further_one_that_dies_young_later() {
        let mut backoff = BackOff::new(Duration::from_millis(150));
        let mut young = || backoff.died(Duration::from_millis(1), false).as_millis();
        assert_eq!([young(), young(), young(), young(), young()], [0, 50, 100, 150, 150]);
        assert_eq!(backoff.died(OLD, false), Duration::ZERO);
        assert_eq!(backoff.died(OLD.saturating_sub(Duration::from_millis(1)), false), FIRST);
        assert_eq!(backoff.died(Duration::ZERO, true), Duration::ZERO);
    }

    #[test]
    fn however_often_it_dies_the_wait_has_a_bound() {
        let mut backoff = BackOff::new(Duration::from_secs(30));
        let longest = (0..10_000).map(|_| backoff.died(Duration::ZERO, false)).max();
        assert_eq!(longest, Some(Duration::from_secs(30)));
    }
}
