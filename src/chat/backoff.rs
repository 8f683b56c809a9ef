//! When to come back after a connection is lost. Pure: randomness comes from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The longest first wait; each further one may be twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// No ordinary wait is longer.
const LONGEST: Duration = Duration::from_secs(15);
/// What a server that was asked too much is spared at least.
const PENALTY: Duration = Duration::from_secs(5);

/// What a close code asks of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// At once, resuming.
    Now,
    /// When the server said.
    After(Duration),
    /// After a wait that grows.
    BackOff,
    /// After a wait that grows and begins long.
    LongBackOff,
    /// With a new token.
    NewToken,
    /// Not at all: the fault is the client's, and would be repeated.
    Never,
}

/// The meaning of a close code; `asked` is what a `reconnect` frame said before it.
pub(super) fn policy(code: Option<u16>, asked: Option<Duration>) -> Return {
    match code {
        Some(1002 | 1003 | 1007 | 1009 | 1010) => Return::Never,
        Some(4401) => Return::NewToken,
        Some(4429) => Return::LongBackOff,
        Some(4508) => Return::Now,
        // 1012, or a node that died while it drained: the server has spread its clients already.
        _ => asked.map_or(Return::BackOff, Return::After),
    }
}

/// Waits that grow exponentially, with full jitter, so that clients lost together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    attempt: u32,
    random: StdRng,
}

impl Backoff {
    /// A back-off whose jitter follows from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { attempt: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = FIRST.saturating_mul(2_u32.saturating_pow(self.attempt)).min(LONGEST);
        self.attempt = self.attempt.saturating_add(1);
        self.random.random_range(Duration::ZERO..=ceiling)
    }

    /// The next wait after too much was asked.
    pub(super) fn next_long(&mut self) -> Duration {
        PENALTY + self.next() * 2
    }

    /// A connection has held: the next loss is a new one.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Whether a loss has been followed by another without a connection that held.
    pub(super) fn is_growing(&self) -> bool {
        self.attempt > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_a_quarter_of_a_second_to_fifteen_seconds() {
        let mut longest = [Duration::ZERO; 12];
        for seed in 0..300 {
            let mut backoff = Backoff::new(seed);
            for slot in &mut longest {
                *slot = (*slot).max(backoff.next());
            }
        }
        for (attempt, longest) in longest.into_iter().enumerate() {
            let ceiling = (FIRST * 2_u32.pow(attempt as u32)).min(LONGEST);
            assert!(longest <= ceiling && longest > ceiling.mul_f64(0.9), "{attempt}: {longest:?}");
        }
    }

    #[test]
    fn a_flood_is_answered_by_a_longer_wait() {
        let mut backoff = Backoff::new(1);
        assert!((0..50).all(|_| backoff.next_long() >= PENALTY));
        assert!(backoff.next_long() <= PENALTY + LONGEST * 2);
    }

    #[test]
    fn every_close_code_of_the_contract_has_its_answer() {
        let asked = Some(Duration::from_millis(700));
        let table = [
            (Some(1012), asked, Return::After(Duration::from_millis(700))),
            (Some(1012), None, Return::BackOff),
            (Some(4401), None, Return::NewToken),
            (Some(4408), None, Return::BackOff),
            (Some(4429), None, Return::LongBackOff),
            (Some(4508), None, Return::Now),
            (Some(1009), None, Return::Never),
            (Some(1002), asked, Return::Never),
            (Some(1003), None, Return::Never),
            (Some(1006), None, Return::BackOff),
            (None, None, Return::BackOff),
        ];
        for (code, asked, answer) in table {
            assert_eq!(policy(code, asked), answer, "{code:?}");
        }
    }
}
