//! `idle`: what a connection costs that does nothing.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    accounts::Accounts,
    book::Book,
    cli,
    hub::Hub,
    meter::{Meter, Reading},
    report::{IdleFigures, Report},
    scenario::{Crowd, Stage},
};

/// Nothing comes, so next to nothing is read at once: the generator holds as many connections as the server.
const READ_BUFFER_BYTES: usize = 1024;
/// For the server to let go of closed connections.
const SETTLE: Duration = Duration::from_secs(2);

/// Does it.
pub(crate) async fn run(idle: cli::Idle, stage: &Stage<'_>) -> anyhow::Result<Report> {
    let account_count = idle.accounts.min(idle.connections);
    let accounts = Rc::new(Accounts::register(&stage.server.urls, account_count).await?);
    let hub = Rc::new(Hub::new(Book::new(idle.connections), accounts, READ_BUFFER_BYTES));
    let meter = Meter::start(&hub, &stage.server.pids, "idle");
    let begin = meter.read();
    let start = Instant::now();
    let crowd = Crowd::connect(&hub, idle.connect_rate, |connection| connection % account_count).await?;
    let connect_seconds = start.elapsed().as_secs_f64();
    let held = meter.read();
    hub.wait_until(Duration::from_secs(idle.hold), |_| false).await?;
    // Whoever fell out meanwhile must be back, or the memory is not that of so many connections.
    crowd.await_service(stage.drain).await?;
    let end = meter.read();
    crowd.leave().await;
    tokio::time::sleep(SETTLE).await;
    let closed = meter.read();

    let each = |pick: fn(&Reading) -> Option<u64>| {
        let grown = pick(&end)? as f64 - pick(&begin)? as f64;
        Some(grown / idle.connections as f64)
    };
    let idle_cpu = held.server.zip(end.server).map(|(from, to)| to.cpu_seconds - from.cpu_seconds);
    let title = format!("idle: {} connections of {account_count} users, held {} s", idle.connections, idle.hold);
    let report = Report::new(title, &hub.book.borrow(), stage.server.startup, &begin, &end);
    let mut report = report.with_max_rss(&meter.samples_since(begin.at));
    report.idle = Some(IdleFigures {
        connections: idle.connections,
        connect_seconds,
        kib_per_connection: each(|reading| reading.server.map(|usage| usage.rss_kib)),
        anon_kib_per_connection: each(|reading| reading.server.map(|usage| usage.anon_kib)),
        rss_closed_kib: closed.server.map(|usage| usage.rss_kib),
        cpu_seconds_per_second: idle_cpu.map(|cpu| cpu / (end.at - held.at).as_secs_f64()),
    });
    Ok(report)
}
