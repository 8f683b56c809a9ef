//! What all scenarios do alike: connect everybody, watch, let what is under way arrive, say goodbye.

pub(crate) mod chat;
pub(crate) mod handover;
pub(crate) mod idle;
pub(crate) mod storm;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    accounts::Accounts,
    book::Book,
    connection::Connection,
    hub::{Hub, Order},
    pace::{FineTimer, Pacer},
    server::Server,
    wire::{LineId, refresh_token_frame},
};

/// How long all connections together may take to be served, beyond the time that pacing takes.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// After the last message has arrived: time for repeats to show.
const LINGER: Duration = Duration::from_millis(500);
/// An open loop does not wake more often than this, however high its rate.
const FINEST_STEP: Duration = Duration::from_micros(50);
/// How long goodbyes may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// What a scenario is given.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The server under test.
    pub(crate) server: &'a Server,
    /// How long to wait for stragglers.
    pub(crate) drain: Duration,
}

/// Senders, one connection each, who come first; then listening connections, spread over their accounts as devices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listeners {
    /// How many send.
    pub(crate) senders: usize,
    /// How many users listen.
    pub(crate) accounts: usize,
    /// Over how many connections.
    pub(crate) connections: usize,
}

impl Listeners {
    /// Whose a connection is.
    pub(crate) fn account_of(&self, connection: usize) -> usize {
        match connection.checked_sub(self.senders) {
            Some(listener) => self.senders + listener % self.accounts,
            None => connection,
        }
    }

    /// The listening connections.
    pub(crate) fn range(&self) -> Range<usize> {
        self.senders..self.senders + self.connections
    }

    /// Each sender has a line to each listening account, whose devices all get it.
    pub(crate) fn open_lines(&self, book: &mut Book, bytes: usize, accounts: &Accounts) -> Vec<(LineId, usize)> {
        let mut lines = Vec::new();
        for listener in 0..self.accounts {
            let devices = (listener..self.connections).step_by(self.accounts);
            let devices: Vec<usize> = devices.map(|device| self.senders + device).collect();
            let user = accounts.user_id(self.senders + listener);
            for sender in 0..self.senders {
                lines.push((book.open_line(sender, bytes, &[user], &devices), sender));
            }
        }
        lines
    }
}

/// The tasks of a run's connections; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Crowd {
    hub: Rc<Hub>,
    connections: tokio::task::JoinSet<()>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Crowd {
    /// Opens every connection of the hub at `rate` a second and waits until all are served. `account_of` says whose a
    /// connection is.
    pub(crate) async fn connect(hub: &Rc<Hub>, rate: u64, account_of: impl Fn(usize) -> usize) -> anyhow::Result<Self> {
        let count = hub.mailboxes.len();
        let accounts: Vec<usize> = (0..count).map(account_of).collect();
        let keeper = tokio::task::spawn_local(keep_tokens(Rc::clone(hub), accounts.clone()));
        let mut crowd = Self { hub: Rc::clone(hub), connections: tokio::task::JoinSet::new(), keeper };
        let (mut pacer, start) = (Pacer::new(rate), Instant::now());
        for (index, account) in accounts.into_iter().enumerate() {
            let wait = pacer.next_due().saturating_sub(start.elapsed());
            hub.wait_until(wait, |_| false).await?;
            pacer.take_due(pacer.next_due());
            crowd.connections.spawn_local(Connection::new(Rc::clone(hub), index, account).run());
        }
        crowd.await_service(CONNECT_LIMIT).await?;
        Ok(crowd)
    }

    /// Waits until every connection is served.
    pub(crate) async fn await_service(&self, limit: Duration) -> anyhow::Result<()> {
        let count = self.hub.mailboxes.len();
        if !self.hub.wait_until(limit, |hub| hub.in_service.get() == count).await? {
            bail!("only {} of {count} connections are served after {limit:?}", self.hub.in_service.get());
        }
        Ok(())
    }

    /// Lets everything arrive that is under way, for `limit` at most.
    pub(crate) async fn drain(&self, limit: Duration) -> anyhow::Result<()> {
        self.hub.stop_sending();
        self.hub.wait_until(limit, |hub| hub.book.borrow().is_settled()).await?;
        self.hub.wait_until(LINGER, |_| false).await?;
        Ok(())
    }

    /// Closes every connection.
    pub(crate) async fn leave(mut self) {
        for connection in 0..self.hub.mailboxes.len() {
            self.hub.order(connection, Order::Leave);
        }
        let all = async { while self.connections.join_next().await.is_some() {} };
        // Whoever does not leave in time is dropped with this.
        let _ = tokio::time::timeout(LEAVE_LIMIT, all).await;
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Renews tokens and tells the live connections of each account.
async fn keep_tokens(hub: Rc<Hub>, accounts: Vec<usize>) {
    let tell = |account: usize, token: &str| {
        let own = accounts.iter().enumerate().filter(|(_, owner)| **owner == account);
        own.for_each(|(connection, _)| hub.order(connection, Order::Frame(refresh_token_frame(token))));
    };
    if let Err(error) = hub.accounts.keep_fresh(tell).await {
        hub.fail(error.context("tokens cannot be renewed"));
    }
}

/// Sends `rate` messages a second on the lines in turn, until it is dropped.
async fn send_at_rate(hub: Rc<Hub>, rate: u64, lines: Vec<(LineId, usize)>) {
    let mut timer = match FineTimer::new() {
        Ok(timer) => timer,
        Err(error) => return hub.fail(error.into()),
    };
    let (mut pacer, start) = (Pacer::new(rate), Instant::now());
    loop {
        let wake = (start + pacer.next_due()).max(Instant::now() + FINEST_STEP);
        if let Err(error) = timer.sleep_until(wake).await {
            return hub.fail(error.into());
        }
        let elapsed = start.elapsed();
        while let Some((place, due)) = pacer.take_due(elapsed) {
            let turn = usize::try_from(place).unwrap_or_default().checked_rem(lines.len()).unwrap_or_default();
            if let Some((line, sender)) = lines.get(turn) {
                hub.order(*sender, Order::Send(*line, Some(start + due)));
            }
        }
    }
}
