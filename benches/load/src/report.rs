//! What a run found, as data: the JSON is this, the table is printed from it.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    book::Book,
    check::Tally,
    figures::{Counters, Latency},
    machine::Machine,
    meter::{Reading, Sample},
};

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl From<&Latency> for Quantiles {
    fn from(latency: &Latency) -> Self {
        let at = |quantile| latency.0.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            count: latency.0.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: latency.0.max() as f64 / 1000.0,
        }
    }
}

/// What went through in the measured window.
#[derive(Debug, Serialize)]
pub(crate) struct Traffic {
    pub(crate) window_seconds: f64,
    /// In the window only; the check is of the whole run.
    pub(crate) counts: Counters,
    pub(crate) accepted_per_second: f64,
    pub(crate) delivered_per_second: f64,
    /// From the intended send to `accepted`, of messages meant for the window.
    pub(crate) accepted: Quantiles,
    /// From the intended send to each recipient's `message`, of messages meant for the window.
    pub(crate) delivery: Quantiles,
}

/// What the server used.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ServerFigures {
    pub(crate) startup_ms: Option<f64>,
    /// In the window.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) cpu_us_per_message: Option<f64>,
    pub(crate) cpu_us_per_delivery: Option<f64>,
    pub(crate) rss_before_kib: Option<u64>,
    pub(crate) rss_after_kib: Option<u64>,
    pub(crate) rss_max_kib: Option<u64>,
    pub(crate) anon_before_kib: Option<u64>,
    pub(crate) anon_after_kib: Option<u64>,
}

/// What `idle` found.
#[derive(Debug, Serialize)]
pub(crate) struct IdleFigures {
    pub(crate) connections: usize,
    pub(crate) connect_seconds: f64,
    pub(crate) kib_per_connection: Option<f64>,
    pub(crate) anon_kib_per_connection: Option<f64>,
    /// After all were closed again.
    pub(crate) rss_closed_kib: Option<u64>,
    /// Server processor time while nothing happened, a second.
    pub(crate) cpu_seconds_per_second: Option<f64>,
}

/// What `storm` found.
#[derive(Debug, Serialize)]
pub(crate) struct StormFigures {
    pub(crate) connections: usize,
    pub(crate) rounds: u32,
    /// From the break to `welcome`.
    pub(crate) to_welcome: Quantiles,
    /// From the break to the last of what was missed.
    pub(crate) to_caught_up: Quantiles,
    /// Until the last connection was served again, each round.
    pub(crate) round_seconds: Vec<f64>,
}

/// What `drain` and `death` found.
#[derive(Debug, Serialize)]
pub(crate) struct HandoverFigures {
    pub(crate) connections: usize,
    /// From when a connection lost its node, or left it as it was asked to, until it had all that it had missed.
    pub(crate) without_server: Quantiles,
    /// From the first attempt to come back to the first message that was placed after it.
    pub(crate) to_served: Quantiles,
    /// From when the node went until the last connection was served.
    pub(crate) all_served_seconds: f64,
    /// From when the node was told to go until its process had ended.
    pub(crate) node_ended_seconds: f64,
}

/// What `soak` found.
#[derive(Debug, Serialize)]
pub(crate) struct SoakFigures {
    pub(crate) slope_kib_per_minute: Option<f64>,
    pub(crate) slope_kib_per_million_messages: Option<f64>,
    pub(crate) samples: Vec<Sample>,
}

/// What the checker found in the whole run, warm-up included.
#[derive(Debug, Serialize)]
pub(crate) struct CheckFigures {
    #[serde(flatten)]
    pub(crate) tally: Tally,
    /// Messages that got neither `accepted` nor `rejected` before the end.
    pub(crate) unanswered: u64,
    /// In the whole run.
    pub(crate) counts: Counters,
    /// What the server or the network complained of, how often.
    pub(crate) complaints: BTreeMap<String, u64>,
    pub(crate) passed: bool,
}

impl CheckFigures {
    /// Judges a run that is over.
    pub(crate) fn of(book: &Book) -> Self {
        let (tally, unanswered) = (book.tally(), book.unanswered());
        Self {
            tally,
            unanswered,
            counts: book.counters,
            complaints: book.complaints.clone(),
            passed: tally.is_clean() && unanswered == 0,
        }
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) title: String,
    pub(crate) command: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) server: ServerFigures,
    /// Share of one processor that the generator used in the window: near 1, it may be what was measured.
    pub(crate) generator_load: Option<f64>,
    pub(crate) traffic: Option<Traffic>,
    pub(crate) idle: Option<IdleFigures>,
    pub(crate) storm: Option<StormFigures>,
    pub(crate) handover: Option<HandoverFigures>,
    pub(crate) soak: Option<SoakFigures>,
    pub(crate) check: CheckFigures,
}

impl Report {
    /// A report of a window from `begin` to `end` of a run that is over; the scenario adds what is its own.
    pub(crate) fn new(title: String, book: &Book, startup: Option<Duration>, begin: &Reading, end: &Reading) -> Self {
        let counts = end.counters.since(&begin.counters);
        let seconds = (end.at - begin.at).as_secs_f64();
        let cpu = |pick: fn(&Reading) -> Option<crate::machine::Usage>| {
            Some(pick(end)?.cpu_seconds - pick(begin)?.cpu_seconds)
        };
        let server_cpu = cpu(|reading| reading.server);
        let per = |count: u64| server_cpu.filter(|_| count > 0).map(|cpu| cpu * 1e6 / count as f64);
        Self {
            title,
            command: std::env::args().collect(),
            machine: Machine::here(),
            server: ServerFigures {
                startup_ms: startup.map(|startup| startup.as_secs_f64() * 1e3),
                cpu_seconds: server_cpu,
                cpu_us_per_message: per(counts.accepted),
                cpu_us_per_delivery: per(counts.delivered),
                rss_before_kib: begin.server.map(|usage| usage.rss_kib),
                rss_after_kib: end.server.map(|usage| usage.rss_kib),
                anon_before_kib: begin.server.map(|usage| usage.anon_kib),
                anon_after_kib: end.server.map(|usage| usage.anon_kib),
                rss_max_kib: None,
            },
            generator_load: cpu(|reading| reading.generator).map(|cpu| cpu / seconds),
            traffic: (counts.sent > 0).then(|| Traffic {
                window_seconds: seconds,
                counts,
                accepted_per_second: counts.accepted as f64 / seconds,
                delivered_per_second: counts.delivered as f64 / seconds,
                accepted: (&book.to_accepted).into(),
                delivery: (&book.to_delivered).into(),
            }),
            idle: None,
            storm: None,
            handover: None,
            soak: None,
            check: CheckFigures::of(book),
        }
    }

    /// Adds the largest of the samples.
    pub(crate) fn with_max_rss(mut self, samples: &[Sample]) -> Self {
        let ends = [self.server.rss_before_kib, self.server.rss_after_kib];
        self.server.rss_max_kib = samples.iter().map(|sample| sample.rss_kib).chain(ends.into_iter().flatten()).max();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_milliseconds() {
        let mut latency = Latency::default();
        for micros in 1..=1000 {
            latency.0.saturating_record(micros * 10);
        }
        let quantiles = Quantiles::from(&latency);
        assert_eq!(quantiles.count, 1000);
        assert!((quantiles.p50_ms - 5.0).abs() < 0.02 && (quantiles.p99_ms - 9.9).abs() < 0.02, "{quantiles:?}");
    }
}
