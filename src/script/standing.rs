//! How a script has behaved: which lane it runs in, what it has used lately, and when it is switched off.
//!
//! Pure: the runner tells what happened and when.

use std::time::{Duration, Instant};

use super::call::{FailureKind, Ran};
use super::effects::Verdict;
use super::pool::Lane;
use crate::config::scripts::ScriptsOptions;

/// Runs without trouble after which a script shares a worker with others that run well.
const TRUSTED_AFTER: u32 = 8;
/// How long a script that hit a limit runs apart from all others.
const QUARANTINE: Duration = Duration::from_secs(600);
/// A run that uses more processor time than this, in microseconds, counts as one that hit a limit: it holds up whoever
/// waits for the same worker.
const HEAVY_MICROS: u64 = 20_000;
/// Workers that a script may bring down, alone in them, before it is switched off.
const MAX_KILLS: u32 = 2;
/// Parts of the window over which processor time is summed.
const BUCKETS: u32 = 12;

/// Why a script is switched off, in words for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchOff {
    /// `over_budget`, `failing` or `kills_workers`.
    pub code: &'static str,
    /// In words.
    pub detail: String,
}

/// What is known about one script's behaviour.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    version: u32,
    good: u32,
    failures: u32,
    kills: u32,
    apart_until: Option<Instant>,
    ledger: Ledger,
}

impl Standing {
    /// Whether anything is held against it that must outlast its runner's sleep.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.failures > 0 || self.kills > 0 || self.apart_until.is_some()
    }

    /// With whom the next run of `version` may share a worker. A new version has to prove itself; that its owner's
    /// scripts hit limits lately is not forgotten by uploading another.
    pub fn lane(&mut self, version: u32, now: Instant) -> Lane {
        if self.version != version {
            *self = Self { version, apart_until: self.apart_until, ledger: self.ledger.clone(), ..Self::default() };
        }
        if self.apart_until.is_some_and(|until| now < until) {
            return Lane::Alone;
        }
        self.apart_until = None;
        if self.good >= TRUSTED_AFTER { Lane::Shared } else { Lane::Trial }
    }

    /// Takes a run into account; says whether the script must be switched off.
    pub fn note(&mut self, ran: &Ran, verdict: &Verdict, now: Instant, options: &ScriptsOptions) -> Option<SwitchOff> {
        let window = Duration::from_secs(options.budget_seconds);
        let used = self.ledger.add(ran.cpu_micros, now, window);
        let failure = match verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Forward | Verdict::Drop | Verdict::Edited(_) => None,
        };
        let kind = failure.map(|failure| failure.kind);
        let limit = matches!(kind, Some(FailureKind::CpuLimit | FailureKind::HeapLimit | FailureKind::WorkerKilled));
        if limit || ran.cpu_micros > HEAVY_MICROS {
            self.apart_until = Some(now + QUARANTINE);
            self.good = 0;
        }
        if kind == Some(FailureKind::WorkerKilled) {
            self.kills += 1;
        }
        match failure {
            None => {
                self.failures = 0;
                self.good = self.good.saturating_add(1);
            }
            Some(failure) if failure.kind.is_the_scripts() => self.failures += 1,
            Some(_) => {}
        }
        if self.kills >= MAX_KILLS {
            let detail = format!("it brought its worker down {MAX_KILLS} times");
            return Some(SwitchOff { code: "kills_workers", detail });
        }
        if used > options.budget_cpu_ms * 1000 {
            let (used, seconds, most) = (used / 1000, options.budget_seconds, options.budget_cpu_ms);
            let detail = format!("it used {used} ms of processor time within {seconds} s, at most {most} are allowed");
            return Some(SwitchOff { code: "over_budget", detail });
        }
        if self.failures >= options.max_failures {
            let last = failure.map(|failure| failure.detail.as_str()).unwrap_or_default();
            let detail = format!("it failed {} times one after the other; the last time: {last}", self.failures);
            return Some(SwitchOff { code: "failing", detail });
        }
        None
    }
}

/// Processor time over a sliding window, in parts: what is older than the window is left out, at most one part too late.
#[derive(Clone, Debug, Default)]
struct Ledger {
    parts: [u64; BUCKETS as usize],
    /// The part that is being added to, and when it began.
    current: usize,
    began: Option<Instant>,
}

impl Ledger {
    /// Adds what a run used; returns the sum over the window.
    fn add(&mut self, micros: u64, now: Instant, window: Duration) -> u64 {
        let part = window / BUCKETS;
        let began = *self.began.get_or_insert(now);
        let passed = now.saturating_duration_since(began).as_micros() / part.as_micros().max(1);
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        for _ in 0..passed.min(BUCKETS) {
            self.current = (self.current + 1) % BUCKETS as usize;
            self.parts[self.current] = 0;
        }
        if passed > 0 {
            self.began = Some(if passed > BUCKETS { now } else { began + part * passed });
        }
        self.parts[self.current] += micros;
        self.parts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::call::{Failure, Prints};

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn ran(cpu_micros: u64) -> Ran {
        let outcome = Err(Failure::new(FailureKind::Error, "not looked at"));
        Ran { outcome, prints: Prints::default(), cpu_micros, wall_micros: 0, heap_bytes: 0 }
    }

    fn failed(kind: FailureKind) -> Verdict {
        Verdict::Failed(Failure::new(kind, "oh"))
    }

    #[test]
    fn a_script_proves_itself_and_falls_back_when_it_hits_a_limit() {
        let (options, now) = (ScriptsOptions::default(), start());
        let mut standing = Standing::default();
        for _ in 0..TRUSTED_AFTER {
            assert_eq!(standing.lane(1, now), Lane::Trial);
            assert_eq!(standing.note(&ran(10), &Verdict::Forward, now, &options), None);
        }
        assert_eq!(standing.lane(1, now), Lane::Shared);
        assert!(!standing.is_bad());
        assert_eq!(standing.note(&ran(10), &failed(FailureKind::CpuLimit), now, &options), None);
        assert_eq!(standing.lane(1, now), Lane::Alone);
        assert_eq!(standing.lane(2, now), Lane::Alone, "another version does not help");
        assert!(standing.is_bad());
        let later = now + QUARANTINE;
        assert_eq!(standing.lane(2, later - Duration::from_millis(1)), Lane::Alone);
        assert_eq!(standing.lane(2, later), Lane::Trial);
    }

    #[test]
    fn a_heavy_run_is_kept_apart_although_it_did_not_fail() {
        let (options, now) = (ScriptsOptions::default(), start());
        for (cpu, lane) in [(HEAVY_MICROS, Lane::Trial), (HEAVY_MICROS + 1, Lane::Alone)] {
            let mut standing = Standing::default();
            standing.lane(1, now);
            standing.note(&ran(cpu), &Verdict::Forward, now, &options);
            assert_eq!(standing.lane(1, now), lane, "{cpu}");
        }
    }

    #[test]
    fn failing_over_and_over_switches_it_off_and_one_good_run_forgives() {
        let (options, now) = (ScriptsOptions { max_failures: 3, ..Default::default() }, start());
        let mut standing = Standing::default();
        standing.lane(1, now);
        let mut note = |verdict: Verdict| standing.note(&ran(1), &verdict, now, &options).map(|off| off.code);
        assert_eq!(note(failed(FailureKind::Error)), None);
        assert_eq!(note(failed(FailureKind::BadResult)), None);
        assert_eq!(note(Verdict::Drop), None);
        assert_eq!(note(failed(FailureKind::Error)), None);
        assert_eq!(note(failed(FailureKind::Overloaded)), None);
        assert_eq!(note(failed(FailureKind::Unavailable)), None);
        assert_eq!(note(failed(FailureKind::Error)), None);
        assert_eq!(note(failed(FailureKind::Error)), Some("failing"));
    }

    #[test]
    fn a_second_worker_brought_down_switches_it_off() {
        let (options, now) = (ScriptsOptions::default(), start());
        let mut standing = Standing::default();
        standing.lane(1, now);
        assert_eq!(standing.note(&ran(1), &failed(FailureKind::WorkerKilled), now, &options), None);
        assert_eq!(standing.note(&ran(1), &Verdict::Forward, now, &options), None);
        let off = standing.note(&ran(1), &failed(FailureKind::WorkerKilled), now, &options);
        assert_eq!(off.map(|off| off.code), Some("kills_workers"));
    }

    #[test]
    fn processor_time_is_summed_over_the_window_and_no_longer() {
        let (options, now) = (ScriptsOptions { budget_cpu_ms: 100, ..Default::default() }, start());
        let mut standing = Standing::default();
        let mut at = |seconds: u64, ms: u64| {
            let now = now + Duration::from_secs(seconds);
            standing.note(&ran(ms * 1000), &Verdict::Forward, now, &options).map(|off| off.code)
        };
        assert_eq!(at(0, 50), None);
        assert_eq!(at(30, 50), None, "exactly the budget");
        assert_eq!(at(70, 50), None, "the first has left the window");
        assert_eq!(at(71, 1), Some("over_budget"));
        assert_eq!(at(1000, 100), None);
    }
}
