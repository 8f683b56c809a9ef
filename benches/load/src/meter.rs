//! Watches a run from the side: once a second the server's memory and the counters, shown as progress and kept.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{figures::Counters, hub::Hub, machine::Usage, progress::Progress};

const EVERY: Duration = Duration::from_secs(1);

/// The server's memory at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Since the meter began.
    pub(crate) second: f64,
    /// Resident memory.
    pub(crate) rss_kib: u64,
}

/// Everything that is read at the beginning and the end of a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) at: Instant,
    pub(crate) counters: Counters,
    pub(crate) server: Option<Usage>,
    pub(crate) generator: Option<Usage>,
}

/// Takes samples until it is dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    hub: Rc<Hub>,
    server_pids: Vec<u32>,
    samples: Rc<RefCell<Vec<Sample>>>,
    start: Instant,
    task: tokio::task::JoinHandle<()>,
}

impl Meter {
    /// Begins, with `label` in front of the progress line.
    pub(crate) fn start(hub: &Rc<Hub>, server_pids: &[u32], label: &'static str) -> Self {
        let (samples, start) = (Rc::new(RefCell::new(Vec::new())), Instant::now());
        let server_pids = server_pids.to_vec();
        let watch = watch(Rc::clone(hub), server_pids.clone(), Rc::clone(&samples), start, label);
        Self { hub: Rc::clone(hub), server_pids, samples, start, task: tokio::task::spawn_local(watch) }
    }

    /// Reads everything now.
    pub(crate) fn read(&self) -> Reading {
        Reading {
            at: Instant::now(),
            counters: self.hub.book.borrow().counters,
            server: Usage::of_families(&self.server_pids),
            generator: Usage::of(std::process::id()),
        }
    }

    /// The samples taken at or after `from`.
    pub(crate) fn samples_since(&self, from: Instant) -> Vec<Sample> {
        let from = from.saturating_duration_since(self.start).as_secs_f64();
        self.samples.borrow().iter().filter(|sample| sample.second >= from).copied().collect()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(hub: Rc<Hub>, pids: Vec<u32>, samples: Rc<RefCell<Vec<Sample>>>, start: Instant, label: &'static str) {
    let (mut progress, mut last, mut last_at) = (Progress::new(), Counters::default(), start);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let (now, counters) = (Instant::now(), hub.book.borrow().counters);
        let rss = Usage::of_families(&pids).map(|usage| usage.rss_kib);
        if let Some(rss_kib) = rss {
            samples.borrow_mut().push(Sample { second: (now - start).as_secs_f64(), rss_kib });
        }
        let (step, seconds) = (counters.since(&last), (now - last_at).as_secs_f64());
        progress.show(|| {
            let per_second = |count: u64| (count as f64 / seconds).round();
            format!(
                "{label} {:>4.0} s: {} in service, sent {}/s, accepted {}/s, delivered {}/s, rejected {}, server {} MiB",
                (now - start).as_secs_f64(),
                hub.in_service.get(),
                per_second(step.sent),
                per_second(step.accepted),
                per_second(step.delivered),
                counters.rejected,
                rss.map_or("?".into(), |kib| (kib / 1024).to_string()),
            )
        });
        (last, last_at) = (counters, now);
    }
}

/// The slope of memory over time, KiB a minute, by least squares. Absent for fewer than three samples.
pub(crate) fn slope_kib_per_minute(samples: &[Sample]) -> Option<f64> {
    if samples.len() < 3 {
        return None;
    }
    let count = samples.len() as f64;
    let mean_x = samples.iter().map(|s| s.second).sum::<f64>() / count;
    let mean_y = samples.iter().map(|s| s.rss_kib as f64).sum::<f64>() / count;
    let covariance = samples.iter().map(|s| (s.second - mean_x) * (s.rss_kib as f64 - mean_y)).sum::<f64>();
    let variance = samples.iter().map(|s| (s.second - mean_x).powi(2)).sum::<f64>();
    (variance > 0.0).then(|| covariance / variance * 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_slope_and_of_too_little_none() {
        let line: Vec<_> =
            (0..120_u32).map(|i| Sample { second: f64::from(i), rss_kib: 5_000 + u64::from(i) * 2 }).collect();
        assert!((slope_kib_per_minute(&line).unwrap() - 120.0).abs() < 1e-6);
        assert_eq!(slope_kib_per_minute(&line[..2]), None);
    }
}
