//! What each script has done since this node started, for its owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::{Direction, Ran};
use super::effects::{Effects, Verdict};
use crate::ids::UserId;

/// Scripts whose figures are kept; about 200 bytes each. One that was forgotten begins at nothing.
const KEPT: usize = 100_000;

/// The figures of all scripts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stats(Arc<Cache<(UserId, Direction), Arc<Counters>>>);

#[derive(Debug, Default)]
struct Counters {
    runs: AtomicU64,
    forwarded: AtomicU64,
    dropped: AtomicU64,
    edited: AtomicU64,
    failed: AtomicU64,
    replies: AtomicU64,
    cpu_micros: AtomicU64,
    wall_micros: AtomicU64,
}

/// One script's figures since this node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptStats {
    /// Runs.
    pub runs: u64,
    /// Those that let the message go on as it was.
    pub forwarded: u64,
    /// Those that kept it from its owner.
    pub dropped: u64,
    /// Those that changed it.
    pub edited: u64,
    /// Those that came to nothing.
    pub failed: u64,
    /// Replies sent.
    pub replies: u64,
    /// Processor time of all, in microseconds.
    pub cpu_micros: u64,
    /// Wall time of all, in microseconds.
    pub wall_micros: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self(Arc::new(Cache::new(KEPT)))
    }
}

impl Stats {
    /// Counts a run; returns how many there were before it.
    pub fn note(&self, owner: UserId, direction: Direction, ran: &Ran, effects: &Effects) -> u64 {
        let key = (owner, direction);
        let counters = self.0.get(&key).unwrap_or_else(|| {
            let fresh = Arc::new(Counters::default());
            self.0.insert(key, fresh.clone());
            fresh
        });
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        match effects.verdict {
            Verdict::Forward => add(&counters.forwarded, 1),
            Verdict::Drop => add(&counters.dropped, 1),
            Verdict::Edited(_) => add(&counters.edited, 1),
            Verdict::Failed(_) => add(&counters.failed, 1),
        };
        add(&counters.replies, effects.replies.len() as u64);
        add(&counters.cpu_micros, ran.cpu_micros);
        add(&counters.wall_micros, ran.wall_micros);
        add(&counters.runs, 1)
    }

    /// A script's figures; all nothing when it has not run.
    #[must_use]
    pub fn of(&self, owner: UserId, direction: Direction) -> ScriptStats {
        let Some(counters) = self.0.get(&(owner, direction)) else { return ScriptStats::default() };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ScriptStats {
            runs: read(&counters.runs),
            forwarded: read(&counters.forwarded),
            dropped: read(&counters.dropped),
            edited: read(&counters.edited),
            failed: read(&counters.failed),
            replies: read(&counters.replies),
            cpu_micros: read(&counters.cpu_micros),
            wall_micros: read(&counters.wall_micros),
        }
    }
}
