//! What one run may use and print, kept where the interpreter's interrupt reaches it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mlua::{Lua, VmState};
use rustix::time::{ClockId, clock_gettime};

use crate::script::call::Prints;
use crate::script::protocol::RunLimits;

/// One interrupt in so many reads the clock: one may stand for a millisecond's work of a library function.
const TICKS_PER_LOOK: u64 = 4;

/// The budget of the run that is under way; one for all states of an engine, since one run is made at a time.
///
/// Atomics are here for `Send`, which the interpreter asks of its callbacks; there is one thread.
#[derive(Debug)]
pub(super) struct Budget {
    limits: RunLimits,
    epoch: Instant,
    /// Sticky: once over, every interrupt raises, so that nothing which catches errors lives on.
    over: AtomicBool,
    ticks: AtomicU64,
    cpu_begin: AtomicU64,
    look_again: AtomicU64,
    peak: AtomicU64,
    /// The run's clock, in milliseconds since 1970.
    now: AtomicI64,
    prints: Mutex<Prints>,
}

impl Budget {
    pub(super) fn new(limits: RunLimits) -> Self {
        Self {
            limits,
            epoch: Instant::now(),
            over: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
            cpu_begin: AtomicU64::new(0),
            look_again: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            now: AtomicI64::new(0),
            prints: Mutex::default(),
        }
    }

    /// A run begins, at this time of its own.
    pub(super) fn begin(&self, now: i64) {
        self.over.store(false, Relaxed);
        self.ticks.store(0, Relaxed);
        self.peak.store(0, Relaxed);
        self.now.store(now, Relaxed);
        self.cpu_begin.store(thread_cpu_nanos(), Relaxed);
        self.look_again.store(self.wall_nanos() + self.limit_nanos() / 8, Relaxed);
    }

    /// The processor time of this run, in microseconds.
    pub(super) fn cpu_micros(&self) -> u64 {
        self.cpu_nanos() / 1000
    }

    /// Whether it has used more than it may. Also looks: a function of the library may have been the last thing it did.
    pub(super) fn is_over(&self) -> bool {
        if !self.over.load(Relaxed) && self.wall_nanos() >= self.look_again.load(Relaxed) {
            self.look();
        }
        self.over.load(Relaxed)
    }

    /// The words for it.
    pub(super) fn over_words(&self) -> String {
        format!("used more than {} ms of processor time", self.limits.cpu_micros as f64 / 1000.0)
    }

    /// The most heap that was seen.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    /// The run's own clock.
    pub(super) fn now(&self) -> i64 {
        self.now.load(Relaxed)
    }

    /// The interpreter asks, at every call and every turn of a loop.
    pub(super) fn tick(&self, lua: &Lua) -> mlua::Result<VmState> {
        if self.over.load(Relaxed) {
            return Err(mlua::Error::runtime(self.over_words()));
        }
        let ticks = self.ticks.load(Relaxed);
        self.ticks.store(ticks.wrapping_add(1), Relaxed);
        if !ticks.is_multiple_of(TICKS_PER_LOOK) || self.wall_nanos() < self.look_again.load(Relaxed) {
            return Ok(VmState::Continue);
        }
        self.peak.fetch_max(lua.used_memory() as u64, Relaxed);
        self.look();
        if self.over.load(Relaxed) { Err(mlua::Error::runtime(self.over_words())) } else { Ok(VmState::Continue) }
    }

    /// Asks for the processor time, and says when to ask again: a thread cannot use it faster than wall time passes, so
    /// until what is left could have passed no system call is needed.
    fn look(&self) {
        let (used, limit) = (self.cpu_nanos(), self.limit_nanos());
        self.over.store(used >= limit, Relaxed);
        let left = limit.saturating_sub(used).min(limit / 8);
        self.look_again.store(self.wall_nanos() + left, Relaxed);
    }

    fn cpu_nanos(&self) -> u64 {
        thread_cpu_nanos().saturating_sub(self.cpu_begin.load(Relaxed))
    }

    fn limit_nanos(&self) -> u64 {
        self.limits.cpu_micros.saturating_mul(1000)
    }

    fn wall_nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A line is printed; what does not fit is left out, and `cut` says so.
    pub(super) fn print(&self, line: &[u8]) {
        self.prints().push(line, self.limits.print_lines, self.limits.print_bytes);
    }

    /// Whether nothing more is kept.
    pub(super) fn prints_are_full(&self) -> bool {
        self.prints().cut
    }

    /// What was printed.
    pub(super) fn take_prints(&self) -> Prints {
        std::mem::take(&mut *self.prints())
    }

    fn prints(&self) -> MutexGuard<'_, Prints> {
        self.prints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn thread_cpu_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
