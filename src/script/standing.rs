//! How a script has behaved: which lane it runs in, what it has used lately, and when it is switched off.
//!
//! Pure: the runner tells what happened and when.

use std::time::{Duration, Instant};

use super::call::{FailureKind, Ran};
use super::effects::Verdict;
use super::pool::Lane;
use crate::config::scripts::Conduct;

/// Runs without trouble after which a script shares a worker with others that run well.
const TRUSTED_AFTER: u32 = 3;
/// How long a script that hit a limit runs apart from all others.
const QUARANTINE: Duration = Duration::from_secs(600);
/// Workers that a script may bring down, alone in them, before it is switched off.
const MAX_KILLS: u32 = 2;
/// A script that used more processor time than this lately, in microseconds, is remembered while its runner sleeps.
const KEPT_MICROS: u64 = 500_000;
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
    /// It was switched off over its budget: the next version waits until half of that is free again.
    held: bool,
}

impl Standing {
    /// Whether anything is held against it that must outlast its runner's sleep.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.failures > 0
            || self.kills > 0
            || self.apart_until.is_some()
            || self.held
            || self.ledger.sum() > KEPT_MICROS
    }

    /// With whom the next run of `version` may share a worker. A new version has to prove itself; that its owner's
    /// scripts hit limits lately is not forgotten by uploading another.
    pub fn lane(&mut self, version: u32, now: Instant) -> Lane {
        if self.version != version {
            let (apart_until, ledger, held) = (self.apart_until, self.ledger.clone(), self.held);
            *self = Self { version, apart_until, ledger, held, ..Self::default() };
        }
        if self.apart_until.is_some_and(|until| now < until) {
            return Lane::Alone;
        }
        self.apart_until = None;
        if self.good >= TRUSTED_AFTER { Lane::Shared } else { Lane::Trial }
    }

    /// The version that has proved itself, if nothing is held against it: remembered while the runner sleeps.
    #[must_use]
    pub fn proven(&self) -> Option<u32> {
        (self.good >= TRUSTED_AFTER && self.apart_until.is_none()).then_some(self.version)
    }

    /// `version` has proved itself before its runner went to sleep.
    #[must_use]
    pub fn proven_before(version: u32) -> Self {
        Self { version, good: TRUSTED_AFTER, ..Self::default() }
    }

    /// It was switched off: if it is switched on again, only the processor time that it has had is held against it.
    pub fn switched_off(&mut self, conduct: &Conduct) {
        self.held = self.ledger.sum() > conduct.budget_micros;
        (self.good, self.failures, self.kills) = (0, 0, 0);
    }

    /// Whether it must not run now, because what ran before it has used up the budget.
    pub fn is_held(&mut self, now: Instant, conduct: &Conduct) -> bool {
        if self.held {
            let used = self.ledger.add(0, now, conduct.window);
            self.held = used > conduct.budget_micros / 2;
        }
        self.held
    }

    /// Takes a run into account; says whether the script must be switched off.
    pub fn note(&mut self, ran: &Ran, verdict: &Verdict, now: Instant, conduct: &Conduct) -> Option<SwitchOff> {
        let failure = match verdict {
            Verdict::Failed(failure) => Some(failure),
            Verdict::Forward | Verdict::Drop | Verdict::Edited(_) => None,
        };
        let kind = failure.map(|failure| failure.kind);
        if matches!(kind, Some(FailureKind::Overloaded | FailureKind::Unavailable)) {
            return None;
        }
        // Nobody knows what a worker used that had to be killed: all that it was given. But once is not over budget.
        let killed = kind == Some(FailureKind::WorkerKilled);
        let given = conduct.wall_micros.min(conduct.budget_micros / 3);
        let micros = if killed { ran.cpu_micros.max(given) } else { ran.cpu_micros };
        let used = self.ledger.add(micros, now, conduct.window);
        let limit = matches!(kind, Some(FailureKind::CpuLimit | FailureKind::HeapLimit | FailureKind::WorkerKilled));
        if limit || ran.cpu_micros > conduct.heavy_micros {
            self.apart_until = Some(now + QUARANTINE);
            self.good = 0;
        }
        self.kills += u32::from(killed);
        if failure.is_none() {
            self.failures = 0;
            self.good = self.good.saturating_add(1);
        } else {
            self.failures += 1;
        }
        if self.kills >= MAX_KILLS {
            let detail = format!("it brought its worker down {MAX_KILLS} times");
            return Some(SwitchOff { code: "kills_workers", detail });
        }
        if used > conduct.budget_micros {
            let (used, seconds, most) = (used / 1000, conduct.window.as_secs(), conduct.budget_micros / 1000);
            let detail = format!("it used {used} ms of processor time within {seconds} s, at most {most} are allowed");
            return Some(SwitchOff { code: "over_budget", detail });
        }
        if self.failures >= conduct.max_failures {
            // Not in the script's own words: administrators read this, and those may quote a message.
            let detail = format!("it failed {} times one after the other, see its log", self.failures);
            return Some(SwitchOff { code: "failing", detail });
        }
        None
    }
}

/// How many messages one owner's scripts may send.
#[derive(Clone, Copy, Debug)]
pub struct ReplyRate {
    /// For long.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// What one owner's scripts have sent: a leaky bucket in the time of the messages that they answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// When the bucket will be empty, in microseconds.
    empty_at: i64,
    latest: i64,
}

impl Sent {
    /// Whether `count` more may be sent, all of them or none; `at` is in milliseconds.
    pub fn take(&mut self, count: usize, at: i64, rate: ReplyRate) -> bool {
        let each = 1_000_000 / i64::from(rate.per_second.max(1));
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        // Messages of different senders come in any order.
        self.latest = self.latest.max(at.saturating_mul(1000));
        let filled = self.empty_at.max(self.latest).saturating_add(count.saturating_mul(each));
        let fine = filled <= self.latest.saturating_add(i64::from(rate.burst).saturating_mul(each));
        if fine {
            self.empty_at = filled;
        }
        fine
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
        self.sum()
    }

    fn sum(&self) -> u64 {
        self.parts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scripts::ScriptsOptions;
    use crate::script::call::{Failure, Language, Prints};

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
        let (options, now) = (ScriptsOptions::default().conduct(Language::Luau), start());
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
        let (options, now) = (ScriptsOptions::default().conduct(Language::Luau), start());
        for (cpu, lane) in [(options.heavy_micros, Lane::Trial), (options.heavy_micros + 1, Lane::Alone)] {
            let mut standing = Standing::default();
            standing.lane(1, now);
            standing.note(&ran(cpu), &Verdict::Forward, now, &options);
            assert_eq!(standing.lane(1, now), lane, "{cpu}");
        }
    }

    #[test]
    fn a_run_in_jolie_may_take_longer_and_holds_up_nobody() {
        let (options, now) = (ScriptsOptions::default(), start());
        let (luau, jolie) = (options.conduct(Language::Luau), options.conduct(Language::Jolie));
        let mut standing = Standing::default();
        standing.lane(1, now);
        let used = ran(luau.budget_micros + 1);
        assert_eq!(
            standing.clone().note(&used, &Verdict::Forward, now, &luau).map(|off| off.code),
            Some("over_budget")
        );
        assert_eq!(standing.note(&used, &Verdict::Forward, now, &jolie), None);
        assert_eq!(standing.lane(1, now), Lane::Trial);
        let over = standing.note(&ran(jolie.budget_micros), &Verdict::Forward, now, &jolie);
        assert_eq!(over.map(|off| off.code), Some("over_budget"));
    }

    #[test]
    fn failing_over_and_over_switches_it_off_and_one_good_run_forgives() {
        let (options, now) =
            (ScriptsOptions { max_failures: 3, ..Default::default() }.conduct(Language::Luau), start());
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
        let (options, now) = (ScriptsOptions::default().conduct(Language::Luau), start());
        let mut standing = Standing::default();
        standing.lane(1, now);
        assert_eq!(standing.note(&ran(1), &failed(FailureKind::WorkerKilled), now, &options), None);
        assert_eq!(standing.note(&ran(1), &Verdict::Forward, now, &options), None);
        let off = standing.note(&ran(1), &failed(FailureKind::WorkerKilled), now, &options);
        assert_eq!(off.map(|off| off.code), Some("kills_workers"));
    }

    #[test]
    fn switched_off_over_budget_it_is_held_until_half_is_free_and_a_new_version_does_not_help() {
        let (options, now) =
            (ScriptsOptions { budget_cpu_ms: 100, ..Default::default() }.conduct(Language::Luau), start());
        let mut standing = Standing::default();
        standing.lane(1, now);
        assert_eq!(standing.note(&ran(50_000), &Verdict::Forward, now, &options), None);
        let soon = now + Duration::from_secs(30);
        assert!(standing.note(&ran(50_001), &Verdict::Forward, soon, &options).is_some());
        assert!(!standing.is_held(soon, &options), "nobody has switched it off yet");
        standing.switched_off(&options);
        standing.lane(2, soon);
        assert!(standing.is_held(soon, &options));
        assert!(standing.is_held(now + Duration::from_secs(70), &options), "50001 are left");
        assert!(!standing.is_held(now + Duration::from_secs(100), &options));
        assert_eq!(standing.note(&ran(90_000), &Verdict::Forward, now + Duration::from_secs(100), &options), None);
    }

    #[test]
    fn a_worker_that_had_to_be_killed_costs_all_the_time_that_it_was_given() {
        for (wall_ms, budget_cpu_ms) in [(1000, 3000), (60_000, 3000)] {
            let options = ScriptsOptions { wall_ms, budget_cpu_ms, ..Default::default() }.conduct(Language::Luau);
            let mut standing = Standing::default();
            for (version, expected) in [(1, None), (2, None), (3, None), (4, Some("over_budget"))] {
                standing.lane(version, start());
                let off = standing.note(&ran(0), &failed(FailureKind::WorkerKilled), start(), &options);
                assert_eq!(off.map(|off| off.code), expected, "{version}");
            }
        }
    }

    #[test]
    fn replies_are_counted_by_the_time_of_what_they_answer_all_or_none() {
        let (mut sent, rate) = (Sent::default(), ReplyRate { per_second: 10, burst: 20 });
        let now = 1_700_000_000_000;
        assert!(sent.take(16, now, rate));
        assert!(!sent.take(5, now, rate), "21 at once");
        assert!(sent.take(4, now - 5000, rate), "from before, and it fits");
        assert!(!sent.take(1, now + 99, rate));
        assert!(sent.take(1, now + 100, rate) && !sent.take(1, now + 100, rate));
        assert!(sent.take(20, now + 60_000, rate));
        assert!(!sent.take(1, now + 60_000, rate) && sent.take(0, now + 60_000, rate));
    }

    #[test]
    fn processor_time_is_summed_over_the_window_and_no_longer() {
        let (options, now) =
            (ScriptsOptions { budget_cpu_ms: 100, ..Default::default() }.conduct(Language::Luau), start());
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
