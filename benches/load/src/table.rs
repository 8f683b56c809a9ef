//! A report for people.

use std::fmt::{self, Display, Formatter};

use crate::report::{
    CheckFigures, HandoverFigures, IdleFigures, Quantiles, Report, ServerFigures, SoakFigures, StormFigures, Traffic,
};

/// An optional figure with so many decimals; `-` where it is not known.
struct Figure(Option<f64>, usize);

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:.*}", self.1),
            None => write!(f, "-"),
        }
    }
}

fn mib(kib: Option<u64>) -> Figure {
    Figure(kib.map(|kib| kib as f64 / 1024.0), 1)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        if let Some(traffic) = &self.traffic {
            write!(f, "{traffic}")?;
        }
        if let Some(idle) = &self.idle {
            write!(f, "{idle}")?;
        }
        if let Some(storm) = &self.storm {
            write!(f, "{storm}")?;
        }
        if let Some(handover) = &self.handover {
            write!(f, "{handover}")?;
        }
        if let Some(soak) = &self.soak {
            write!(f, "{soak}")?;
        }
        write!(f, "{}", self.server)?;
        writeln!(f, "  generator   {} of one processor", Figure(self.generator_load, 2))?;
        write!(f, "{}", self.check)
    }
}

impl Display for Quantiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.2}{:>10.2}{:>10.2}{:>10.2}", self.p50_ms, self.p99_ms, self.p999_ms, self.max_ms)
    }
}

/// The heading over [`Quantiles`].
const QUANTILES: &str = "  milliseconds              p50       p99     p99.9       max";

impl Display for Traffic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(
            f,
            "  in {:.1} s    sent {}, accepted {}, delivered {}, rejected {}",
            self.window_seconds, counts.sent, counts.accepted, counts.delivered, counts.rejected
        )?;
        writeln!(
            f,
            "  throughput  {:.0} messages/s accepted, {:.0} deliveries/s",
            self.accepted_per_second, self.delivered_per_second
        )?;
        writeln!(f, "{QUANTILES}")?;
        writeln!(f, "    to accepted    {}", self.accepted)?;
        writeln!(f, "    to recipient   {}", self.delivery)
    }
}

impl Display for IdleFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  idle        {} connections in {:.1} s, {} KiB resident each ({} KiB anonymous), cpu {} s/s",
            self.connections,
            self.connect_seconds,
            Figure(self.kib_per_connection, 1),
            Figure(self.anon_kib_per_connection, 1),
            Figure(self.cpu_seconds_per_second, 3),
        )?;
        writeln!(f, "  closed      {} MiB resident after all were closed", mib(self.rss_closed_kib))
    }
}

impl Display for StormFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let slowest = self.round_seconds.iter().copied().fold(0.0, f64::max);
        writeln!(
            f,
            "  storm       {} connections, {} rounds, all served again within {slowest:.2} s",
            self.connections, self.rounds
        )?;
        writeln!(f, "{QUANTILES}")?;
        writeln!(f, "    to welcome     {}", self.to_welcome)?;
        writeln!(f, "    to caught up   {}", self.to_caught_up)
    }
}

impl Display for HandoverFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  handover    {} connections, all served after {:.2} s, the node had ended after {:.2} s",
            self.connections, self.all_served_seconds, self.node_ended_seconds
        )?;
        writeln!(f, "{QUANTILES}")?;
        writeln!(f, "    without server {}", self.without_server)?;
        writeln!(f, "    to served      {}", self.to_served)
    }
}

impl Display for SoakFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  soak        memory slope {} KiB/minute, {} KiB per million messages, {} samples",
            Figure(self.slope_kib_per_minute, 1),
            Figure(self.slope_kib_per_million_messages, 0),
            self.samples.len()
        )
    }
}

impl Display for ServerFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  server      start-up {} ms, cpu {} s, {} µs/message, {} µs/delivery",
            Figure(self.startup_ms, 0),
            Figure(self.cpu_seconds, 2),
            Figure(self.cpu_us_per_message, 1),
            Figure(self.cpu_us_per_delivery, 1),
        )?;
        writeln!(
            f,
            "  memory      {} MiB before, {} MiB after, {} MiB at most",
            mib(self.rss_before_kib),
            mib(self.rss_after_kib),
            mib(self.rss_max_kib)
        )
    }
}

impl Display for CheckFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (complaint, count) in &self.complaints {
            writeln!(f, "  {count:>9} × {complaint}")?;
        }
        if self.unanswered > 0 {
            writeln!(f, "  unanswered  {}", self.unanswered)?;
        }
        let tally = &self.tally;
        writeln!(
            f,
            "  check       loss {}, repeats {}, out of order {}, gaps {}",
            tally.lost, tally.repeats, tally.out_of_order, tally.gaps
        )
    }
}
