//! `drain` and `death`: the node that all listeners are on goes, and others go on writing to them.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    accounts::Accounts,
    book::Book,
    cli,
    hub::Hub,
    machine::Usage,
    meter::Meter,
    report::{HandoverFigures, Report},
    scenario::{Crowd, Listeners, Stage, send_at_rate},
};

const CONNECT_RATE: u64 = 500;
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// How long it may take until everybody is served again.
const LIMIT: Duration = Duration::from_secs(120);

/// How the node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Told to stop.
    Drain,
    /// Killed.
    Death,
}

/// Does it. All listeners begin at the first address, the senders elsewhere.
pub(crate) async fn run(plan: cli::Handover, end: End, stage: &Stage<'_>) -> anyhow::Result<Report> {
    if stage.server.urls.len() < 2 {
        bail!("the listeners need somewhere to go: give two addresses or more, as in --url A,B");
    }
    let victim =
        stage.server.pids.first().copied().context("which process? Give that of the first node: --server-pid")?;
    let listeners = Listeners {
        senders: plan.senders,
        accounts: plan.accounts.min(plan.connections),
        connections: plan.connections,
    };
    let accounts = Rc::new(Accounts::register(&stage.server.urls, listeners.senders + listeners.accounts).await?);
    let mut book = Book::new(listeners.range().end);
    let lines = listeners.open_lines(&mut book, plan.bytes as usize, &accounts);
    let mut hub = Hub::new(book, accounts, READ_BUFFER_BYTES);
    hub.crowd_at_first = Some(listeners.range());
    let hub = Rc::new(hub);
    let crowd = Crowd::connect(&hub, CONNECT_RATE, |connection| listeners.account_of(connection)).await?;

    // No process: one of them ends in the middle.
    let meter = Meter::start(&hub, &[], if end == End::Drain { "drain" } else { "death" });
    let begin = meter.read();
    hub.book.borrow_mut().measure_from = Some(begin.at);
    let sending = tokio::task::spawn_local(send_at_rate(Rc::clone(&hub), plan.rate, lines));
    hub.wait_until(Duration::from_secs(plan.pause), |_| false).await?;
    let gone_at = Instant::now();
    signal(victim, if end == End::Drain { Signal::TERM } else { Signal::KILL })?;
    let connections = plan.connections as u64;
    let are_back = |hub: &Hub| hub.returns.borrow().to_served.0.len() >= connections;
    if !hub.wait_until(LIMIT, are_back).await? {
        let served = hub.returns.borrow().to_served.0.len();
        bail!("only {served} of {connections} connections are served {LIMIT:?} after the node went");
    }
    let all_served_seconds = gone_at.elapsed().as_secs_f64();
    hub.wait_until(LIMIT, |_| Usage::of(victim).is_none_or(|usage| usage.rss_kib == 0)).await?;
    let node_ended_seconds = gone_at.elapsed().as_secs_f64();
    hub.wait_until(Duration::from_secs(plan.pause), |_| false).await?;
    sending.abort();
    let read = meter.read();
    crowd.drain(stage.drain).await?;
    crowd.leave().await;

    let title = format!(
        "{}: {connections} connections of {} users on the first node, {} messages/s to them",
        if end == End::Drain { "drain" } else { "death" },
        listeners.accounts,
        plan.rate,
    );
    let mut report = Report::new(title, &hub.book.borrow(), None, &begin, &read);
    let returns = hub.returns.borrow();
    report.handover = Some(HandoverFigures {
        connections: plan.connections,
        without_server: (&returns.to_caught_up).into(),
        to_served: (&returns.to_served).into(),
        all_served_seconds,
        node_ended_seconds,
    });
    Ok(report)
}

fn signal(process: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).context("no process has this number")?;
    kill_process(pid, signal).with_context(|| format!("process {process}"))
}
