//! `storm`: everybody's connection breaks at once, while others go on writing to them.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    accounts::Accounts,
    book::Book,
    cli,
    hub::{Hub, Order},
    meter::Meter,
    report::{Report, StormFigures},
    scenario::{Crowd, Listeners, Stage, send_at_rate},
};

const CONNECT_RATE: u64 = 500;
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// How long a round may take until everybody is served again.
const ROUND_LIMIT: Duration = Duration::from_secs(120);

/// Does it. Connections and accounts: the senders first, one each; then the listeners, spread over their accounts.
pub(crate) async fn run(storm: cli::Storm, stage: &Stage<'_>) -> anyhow::Result<Report> {
    let listener_accounts = storm.accounts.min(storm.connections);
    let accounts = Rc::new(Accounts::register(&stage.server.urls, storm.senders + listener_accounts).await?);
    let everybody = storm.senders + storm.connections;
    let mut book = Book::new(everybody);
    let listeners = Listeners { senders: storm.senders, accounts: listener_accounts, connections: storm.connections };
    let lines = listeners.open_lines(&mut book, storm.bytes as usize, &accounts);
    let hub = Rc::new(Hub::new(book, accounts, READ_BUFFER_BYTES));
    let crowd = Crowd::connect(&hub, CONNECT_RATE, |connection| listeners.account_of(connection)).await?;

    let meter = Meter::start(&hub, &stage.server.pids, "storm");
    let begin = meter.read();
    hub.book.borrow_mut().measure_from = Some(begin.at);
    let sending = tokio::task::spawn_local(send_at_rate(Rc::clone(&hub), storm.rate, lines));
    let mut round_seconds = Vec::new();
    for _ in 0..storm.rounds {
        hub.wait_until(Duration::from_secs(storm.pause), |_| false).await?;
        round_seconds.push(round(&hub, storm.senders..everybody).await?);
    }
    hub.wait_until(Duration::from_secs(storm.pause), |_| false).await?;
    sending.abort();
    let end = meter.read();
    crowd.drain(stage.drain).await?;
    crowd.leave().await;

    let title = format!(
        "storm: {} connections of {listener_accounts} users, {} rounds, {} messages/s meanwhile",
        storm.connections, storm.rounds, storm.rate
    );
    let report = Report::new(title, &hub.book.borrow(), stage.server.startup, &begin, &end);
    let mut report = report.with_max_rss(&meter.samples_since(begin.at));
    let returns = hub.returns.borrow();
    report.storm = Some(StormFigures {
        connections: storm.connections,
        rounds: storm.rounds,
        to_welcome: (&returns.to_welcome).into(),
        to_caught_up: (&returns.to_caught_up).into(),
        round_seconds,
    });
    Ok(report)
}

/// Breaks all of them and waits until all are served again; gives the seconds that took.
async fn round(hub: &Hub, listeners: std::ops::Range<usize>) -> anyhow::Result<f64> {
    let (now, everybody) = (Instant::now(), hub.mailboxes.len());
    let returned = |hub: &Hub| hub.returns.borrow().to_caught_up.0.len();
    // By returns, not by who is in service: just after the orders everybody still is.
    let expected = returned(hub) + listeners.len() as u64;
    listeners.for_each(|connection| hub.order(connection, Order::Break(now)));
    let is_over = |hub: &Hub| returned(hub) >= expected && hub.in_service.get() == everybody;
    if !hub.wait_until(ROUND_LIMIT, is_over).await? {
        bail!("only {} of {everybody} connections are served {ROUND_LIMIT:?} after a storm", hub.in_service.get());
    }
    Ok(now.elapsed().as_secs_f64())
}
