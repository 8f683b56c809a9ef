//! `pairs`, `groups` and `soak`: users who write, in a closed or an open loop.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    accounts::Accounts,
    book::Book,
    cli,
    hub::Hub,
    meter::{Meter, slope_kib_per_minute},
    report::{Report, SoakFigures},
    scenario::{Crowd, Stage, send_at_rate},
    wire::LineId,
};

/// Connections opened a second.
const CONNECT_RATE: u64 = 500;
/// Each connection reads so much at once: many frames of this load.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Who writes to whom, and how fast. One connection for each user.
#[derive(Debug)]
pub(crate) struct Plan {
    title: String,
    label: &'static str,
    users: usize,
    /// A sender and its recipients, by user.
    lines: Vec<(usize, Vec<usize>)>,
    load: cli::Load,
    scripts: cli::Scripts,
    /// Whether memory over time is the point.
    is_soak: bool,
}

impl Plan {
    /// Users 0 and 1 write to each other, 2 and 3, and so on.
    pub(crate) fn pairs(pairs: cli::Pairs) -> Self {
        let cli::Pairs { users, scripts, load } = pairs;
        let title = format!("pairs: {users} users, {}", describe(&load));
        let lines = (0..users).map(|user| (user, vec![user ^ 1])).collect();
        Self { title, label: "pairs", users, lines, load, scripts, is_soak: false }
    }

    /// The recipients come first, then the senders.
    pub(crate) fn groups(groups: cli::Groups) -> Self {
        let (recipients, senders, load) = (groups.recipients, groups.senders, groups.load);
        let title = format!("groups: {senders} senders to {recipients} recipients, {}", describe(&load));
        let users = recipients + senders;
        let lines = (recipients..users).map(|sender| (sender, (0..recipients).collect())).collect();
        Self { title, label: "groups", users, lines, load, scripts: cli::Scripts::default(), is_soak: false }
    }

    /// Pairs in an open loop.
    pub(crate) fn soak(soak: cli::Soak) -> Self {
        let cli::Soak { users, rate, seconds, warm_up, bytes } = soak;
        let load = cli::Load { bytes, in_flight: 1, rate: Some(rate), seconds, warm_up };
        let pairs = Self::pairs(cli::Pairs { users, scripts: cli::Scripts::default(), load });
        Self { title: pairs.title.replacen("pairs", "soak", 1), label: "soak", is_soak: true, ..pairs }
    }

    /// Does it.
    pub(crate) async fn run(self, stage: &Stage<'_>) -> anyhow::Result<Report> {
        let accounts = Rc::new(Accounts::register(&stage.server.urls, self.users).await?);
        for (direction, file) in [("incoming", &self.scripts.incoming), ("outgoing", &self.scripts.outgoing)] {
            if let Some(file) = file {
                let source =
                    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                accounts.give_script(direction, &source).await?;
            }
        }
        let mut book = Book::new(self.users);
        let lines: Vec<(LineId, usize)> = self
            .lines
            .iter()
            .map(|(sender, recipients)| {
                let ids: Vec<u64> = recipients.iter().map(|user| accounts.user_id(*user)).collect();
                (book.open_line(*sender, self.load.bytes as usize, &ids, recipients), *sender)
            })
            .collect();
        let hub = Rc::new(Hub::new(book, accounts, READ_BUFFER_BYTES));
        let crowd = Crowd::connect(&hub, CONNECT_RATE, |connection| connection).await?;

        let meter = Meter::start(&hub, &stage.server.pids, self.label);
        let open_loop = self.start_load(&hub, &lines);
        hub.wait_until(Duration::from_secs(self.load.warm_up), |_| false).await?;
        let begin = meter.read();
        hub.book.borrow_mut().measure_from = Some(Instant::now());
        hub.wait_until(Duration::from_secs(self.load.seconds), |_| false).await?;
        let end = meter.read();
        if let Some(task) = open_loop {
            task.abort();
        }
        let samples = meter.samples_since(begin.at);
        crowd.drain(stage.drain).await?;
        crowd.leave().await;

        let report = Report::new(self.title, &hub.book.borrow(), stage.server.startup, &begin, &end);
        let mut report = report.with_max_rss(&samples);
        if self.is_soak {
            let slope = slope_kib_per_minute(&samples);
            let per_minute = report.traffic.as_ref().map(|traffic| traffic.accepted_per_second * 60.0);
            report.soak = Some(SoakFigures {
                slope_kib_per_minute: slope,
                slope_kib_per_million_messages: slope.zip(per_minute).map(|(slope, rate)| slope / rate * 1e6),
                samples,
            });
        }
        Ok(report)
    }

    /// Starts the senders; gives the task that paces an open loop.
    fn start_load(&self, hub: &Rc<Hub>, lines: &[(LineId, usize)]) -> Option<tokio::task::JoinHandle<()>> {
        if let Some(rate) = self.load.rate {
            return Some(tokio::task::spawn_local(send_at_rate(Rc::clone(hub), rate, lines.to_vec())));
        }
        hub.is_closed_loop.set(true);
        for line in lines {
            (0..self.load.in_flight).for_each(|_| hub.fill(*line));
        }
        None
    }
}

fn describe(load: &cli::Load) -> String {
    let pace = match load.rate {
        Some(rate) => format!("open loop, {rate} messages/s offered"),
        None => format!("closed loop, {} in flight each", load.in_flight),
    };
    format!("{} bytes, {pace}, {} s", load.bytes, load.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> cli::Load {
        cli::Load { bytes: 50, in_flight: 2, rate: None, seconds: 1, warm_up: 0 }
    }

    #[test]
    fn pairs_write_to_each_other_and_groups_to_all_recipients() {
        let pairs = Plan::pairs(cli::Pairs { users: 4, scripts: cli::Scripts::default(), load: load() });
        assert_eq!(pairs.lines, [(0, vec![1]), (1, vec![0]), (2, vec![3]), (3, vec![2])]);
        let groups = Plan::groups(cli::Groups { recipients: 2, senders: 1, load: load() });
        assert_eq!((groups.users, groups.lines), (3, vec![(2, vec![0, 1])]));
    }
}
