//! One place for a worker: keeps a process there, feeds it, watches it, and decides who is to blame for its end.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::BackOff;
use super::flights::Flights;
use super::process::{Process, READ_BYTES};
use super::work::{Answer, Order};
use super::{Common, Lane};
use crate::metrics;
use crate::script::call::{Failure, FailureKind};
use crate::script::protocol::{Confinement, ToWorker};

/// Bytes that may wait to be written before no more orders are taken; one order may go beyond it.
const OUT_BYTES: usize = 256 * 1024;

/// Why a worker was given up.
enum End {
    /// The oldest run was not answered in time.
    Hung,
    /// It ended by itself, or its stream did.
    Ended,
    /// It broke the protocol, in words.
    Broke(String),
    /// Nobody needed it for a while.
    Idle,
    /// All workers end.
    Stopped,
}

impl End {
    /// Its label, unless it was our own wish.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Hung => Some("hung"),
            Self::Ended => Some("ended"),
            Self::Broke(_) => Some("protocol"),
            Self::Idle | Self::Stopped => None,
        }
    }
}

/// The place.
pub(super) struct Seat {
    pub(super) common: Arc<Common>,
    pub(super) lane: Lane,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Becomes true, or is closed, when all ends.
    pub(super) stop: watch::Receiver<bool>,
    /// Told once what came of the first start.
    pub(super) first: Option<oneshot::Sender<Result<Confinement, String>>>,
    /// Who sits there.
    pub(super) process: Option<Process>,
}

impl Seat {
    /// Until all ends.
    pub(super) async fn run(mut self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.keep() => {}
        }
        self.end().await;
    }

    async fn keep(&mut self) {
        let mut backoff = BackOff::new(self.common.setup.longest_wait);
        let mut told = String::new();
        loop {
            // Nobody needs one that is not always there, before there is something for it.
            let mut pending = None;
            if self.lane == Lane::Alone {
                pending = self.orders.recv().await;
                if pending.is_none() {
                    return;
                }
            }
            let Err(words) = self.start().await else {
                told.clear();
                let Some(wait) = self.serve(pending, &mut backoff).await else { return };
                sleep(wait).await;
                continue;
            };
            self.end().await;
            metrics::script_worker_death("start");
            if words != told {
                tracing::warn!(lane = self.lane.name(), "no worker, more are tried: {words}");
                told.clone_from(&words);
            }
            if let Some(order) = pending {
                order.fail(Failure::new(FailureKind::Unavailable, words.as_str()));
            }
            self.refuse(&words, backoff.died(Duration::ZERO, false)).await;
        }
    }

    /// Starts a worker that may run scripts.
    async fn start(&mut self) -> Result<(), String> {
        metrics::script_worker_start(self.lane.name());
        let said = match Process::spawn(&self.common.setup) {
            Ok(process) => {
                self.common.alive(self.lane, 1);
                self.process.insert(process).hello(&self.common.setup, &self.common.bounds).await
            }
            Err(words) => Err(words),
        };
        if let Some(first) = self.first.take() {
            // Whoever wanted to know may have gone.
            let _ = first.send(said.clone());
        }
        let confinement = said.map_err(|words| format!("no script worker can be started: {words}"))?;
        if confinement.is_enough() || self.common.run_unconfined { Ok(()) } else { Err(unconfined(&confinement)) }
    }

    /// Nobody sits there any more, and nothing is left of who did.
    async fn end(&mut self) -> String {
        let Some(process) = &mut self.process else { return String::new() };
        let status = process.end().await;
        self.process = None;
        self.common.alive(self.lane, -1);
        status
    }

    /// While there is no worker, nobody waits for one.
    async fn refuse(&mut self, words: &str, wait: Duration) {
        let mut over = std::pin::pin!(sleep(wait));
        loop {
            tokio::select! {
                biased;
                () = &mut over => return,
                order = self.orders.recv() => match order {
                    Some(order) => order.fail(Failure::new(FailureKind::Unavailable, words)),
                    None => return,
                },
            }
        }
    }

    /// Has the worker do what there is, until one of them ends. `None`: nobody can ask for anything any more;
    /// else how long to wait before the next one.
    async fn serve(&mut self, pending: Option<Order>, backoff: &mut BackOff) -> Option<Duration> {
        let process = self.process.as_mut()?;
        let (pid, started) = (process.pid(), Instant::now());
        tracing::debug!(lane = self.lane.name(), pid, "a worker was started");
        let mut flights = Flights::new(self.lane, self.common.bounds, std::mem::take(&mut process.read));
        let end = drive(&self.common, self.lane, &mut self.orders, &process.socket, &mut flights, pending).await;
        let answered = flights.answered();
        let mut suspects = flights.suspects();
        let in_flight = suspects.len();
        if self.lane != Lane::Alone {
            suspect(std::mem::take(&mut suspects));
        }
        let status = self.end().await;
        let Some(reason) = end.reason() else {
            return matches!(end, End::Idle).then_some(Duration::ZERO);
        };
        metrics::script_worker_death(reason);
        let words = match &end {
            End::Hung => format!("the worker gave no answer for {} ms and was killed", self.common.wall.as_millis()),
            End::Broke(breach) => format!("the worker broke the protocol and was killed: {breach}"),
            End::Ended | End::Idle | End::Stopped => format!("the worker ended{status}"),
        };
        let wait = backoff.died(started.elapsed(), answered);
        tracing::warn!(lane = self.lane.name(), pid, in_flight, retry_ms = wait.as_millis(), "{words}");
        // It was alone: there is no doubt.
        suspects.into_iter().for_each(|order| order.fail(Failure::new(FailureKind::WorkerKilled, words.as_str())));
        Some(wait)
    }
}

/// Moves orders and answers until there is a reason to give the worker up.
async fn drive(
    common: &Common,
    lane: Lane,
    orders: &mut mpsc::Receiver<Order>,
    socket: &UnixStream,
    flights: &mut Flights,
    pending: Option<Order>,
) -> End {
    if let Err(error) = flights.begin(&ToWorker::Begin(common.limits)) {
        return End::Broke(error.to_string());
    }
    pending.into_iter().for_each(|order| flights.ask(order));
    let mut timer = std::pin::pin!(sleep_until(Instant::now()));
    loop {
        while has_room(flights, lane)
            && let Ok(order) = orders.try_recv()
        {
            flights.ask(order);
        }
        if let Err(end) = write(socket, flights) {
            return end;
        }
        let idle = flights.is_empty();
        let limit = if idle { common.setup.idle_limit } else { common.wall };
        let due = flights.deadline(limit);
        ring_at(timer.as_mut(), due);
        let both = Interest::READABLE | Interest::WRITABLE;
        tokio::select! {
            biased;
            ready = socket.ready(if flights.out.is_empty() { Interest::READABLE } else { both }) => {
                if ready.is_err() {
                    return End::Ended;
                }
                if let Err(end) = read(socket, flights) {
                    return end;
                }
            }
            order = orders.recv(), if has_room(flights, lane) => match order {
                Some(order) => flights.ask(order),
                None => return End::Stopped,
            },
            () = timer.as_mut(), if !idle || lane == Lane::Alone => {
                // It may be an older one. And when this process itself stood still, the answer is here already.
                if Instant::now() < due {
                    timer.as_mut().reset(due);
                } else if idle {
                    return End::Idle;
                } else if let Err(end) = read(socket, flights) {
                    return end;
                } else if flights.deadline(limit) <= Instant::now() {
                    return End::Hung;
                }
            }
        }
    }
}

fn has_room(flights: &Flights, lane: Lane) -> bool {
    flights.len() < lane.depth() && flights.out.len() < OUT_BYTES
}

/// A timer that rings too early is set again when it does; one that would ring too late, now.
fn ring_at(mut timer: Pin<&mut tokio::time::Sleep>, due: Instant) {
    if timer.deadline() > due {
        timer.as_mut().reset(due);
    }
}

/// Reads once, and says how many bytes.
fn read(socket: &UnixStream, flights: &mut Flights) -> Result<usize, End> {
    flights.read.reserve(READ_BYTES);
    match socket.try_read_buf(&mut flights.read) {
        Ok(0) => Err(End::Ended),
        Ok(bytes) => flights.hear().map(|()| bytes).map_err(End::Broke),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(End::Ended),
    }
}

fn write(socket: &UnixStream, flights: &mut Flights) -> Result<(), End> {
    while !flights.out.is_empty() {
        match socket.try_write(&flights.out) {
            Ok(bytes) => flights.wrote(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // What it said last may lie there still.
            Err(_) => return Err(read(socket, flights).err().unwrap_or(End::Ended)),
        }
    }
    Ok(())
}

/// All are done again, alone. The oldest is the likeliest to have done it: it goes last, so that it holds up nobody.
fn suspect(mut suspects: VecDeque<Order>) {
    if let Some(oldest) = suspects.pop_front() {
        suspects.push_back(oldest);
    }
    for order in suspects {
        if !order.answer.is_closed() {
            metrics::script_rerun();
            // Gone in between: then nobody wants it done again.
            let _ = order.answer.send(Answer::Suspect(order.work));
        }
    }
}

fn unconfined(confinement: &Confinement) -> String {
    let missing =
        if confinement.missing.is_empty() { "seccomp or rlimits".to_owned() } else { confinement.missing.join("; ") };
    format!(
        "scripts are not run: this kernel does not confine their workers ({missing}); scripts.run_unconfined allows it"
    )
}
