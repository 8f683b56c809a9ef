//! When messages are due: the arithmetic of an open loop, and a timer finer than the runtime's millisecond.

use std::time::{Duration, Instant};

/// Hands out due times at a fixed rate. It never skips one: what could not be sent in time is still due, at the time
/// it was meant for, so that a slow server is not flattered (no coordinated omission).
#[derive(Debug)]
pub(crate) struct Pacer {
    rate: u64,
    issued: u64,
}

impl Pacer {
    /// `rate` a second, the first one at once.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), issued: 0 }
    }

    /// When the next one is due, counted from the start.
    pub(crate) fn next_due(&self) -> Duration {
        // In whole and rest, so that no rate drifts and nothing overflows.
        let nanos = (self.issued % self.rate) * 1_000_000_000 / self.rate;
        Duration::from_secs(self.issued / self.rate) + Duration::from_nanos(nanos)
    }

    /// The next one with its place and time, if it is due after `elapsed`.
    pub(crate) fn take_due(&mut self, elapsed: Duration) -> Option<(u64, Duration)> {
        let due = self.next_due();
        (due <= elapsed).then(|| {
            self.issued += 1;
            (self.issued - 1, due)
        })
    }
}

/// Sleeps to within some ten microseconds. The runtime's own timers are rounded up to a millisecond, which would count as
/// latency of the server.
#[derive(Debug)]
pub(crate) struct FineTimer {
    #[cfg(target_os = "linux")]
    timer: tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>,
}

#[cfg(target_os = "linux")]
impl FineTimer {
    /// A timer of the kernel's.
    #[expect(
        deprecated,
        reason = "unsound for types that lie about their descriptor; OwnedFd does not, `register` is unsafe"
    )]
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer: tokio::io::unix::AsyncFd::new(timer)? })
    }

    /// Returns at `when`, at once if that has passed.
    pub(crate) async fn sleep_until(&mut self, when: Instant) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let wait = when.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            // Others must get their turn even when this one is always behind.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value =
            Timespec { tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: wait.subsec_nanos().into() };
        timerfd_settime(
            self.timer.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: never, it_value: value },
        )?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut count).map_err(std::io::Error::from)) {
                Ok(result) => return result.map(|_| ()),
                Err(_would_block) => continue,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl FineTimer {
    /// The runtime's timer: good to a millisecond.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Returns at `when`, at once if that has passed.
    pub(crate) async fn sleep_until(&mut self, when: Instant) -> std::io::Result<()> {
        tokio::time::sleep_until(when.into()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a pacer in virtual time, each wake-up late by what `lateness` says; gives the due times.
    fn run(rate: u64, length: Duration, mut lateness: impl FnMut(u64) -> Duration) -> Vec<Duration> {
        let (mut pacer, mut due_times, mut wakes) = (Pacer::new(rate), Vec::new(), 0);
        loop {
            let now = pacer.next_due() + lateness(wakes);
            wakes += 1;
            if now >= length {
                while let Some((_, due)) = pacer.take_due(length - Duration::from_nanos(1)) {
                    due_times.push(due);
                }
                return due_times;
            }
            while let Some((_, due)) = pacer.take_due(now) {
                due_times.push(due);
            }
        }
    }

    #[test]
    fn hits_its_rate_exactly_whatever_the_rate() {
        for rate in [1, 7, 999, 1_000, 30_001] {
            let due = run(rate, Duration::from_secs(10), |_| Duration::ZERO);
            assert_eq!(due.len() as u64, rate * 10, "at {rate} a second");
        }
    }

    #[test]
    fn late_wake_ups_neither_drop_messages_nor_move_their_times() {
        let punctual = run(1_000, Duration::from_secs(5), |_| Duration::ZERO);
        let late = run(1_000, Duration::from_secs(5), |wake| Duration::from_millis(wake % 40));
        assert_eq!(punctual, late);
        assert_eq!(late.get(1_500), Some(&Duration::from_millis(1_500)));
    }

    #[tokio::test]
    async fn the_fine_timer_is_finer_than_a_millisecond_on_average() {
        let mut timer = FineTimer::new().unwrap();
        let start = Instant::now();
        for i in 1..=100_u32 {
            timer.sleep_until(start + Duration::from_micros(200) * i).await.unwrap();
        }
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(20), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(90), "{elapsed:?}");
    }
}
