//! One place for a worker: keeps a process there, feeds it, watches it, and decides who is to blame for its end.

use std::collections::VecDeque;
use std::future::Future;
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
use super::process::{Ending, Process, READ_BYTES};
use super::work::{Answer, Order};
use super::{Common, Lane};
use crate::metrics;
use crate::script::call::{Failure, FailureKind};
use crate::script::protocol::Confinement;

/// Bytes that may wait to be written before no more orders are taken; one order may go beyond it.
const OUT_BYTES: usize = 256 * 1024;

/// A worker whose stream has ended is given so long to end too.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// A timer that rings so much too late says that this process stood still.
const STOOD_STILL: Duration = Duration::from_millis(100);

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
        self.end(Duration::ZERO).await;
    }

    async fn keep(&mut self) {
        let mut backoff = BackOff::new(self.common.setup.longest_wait);
        // Why the last one could not be started; empty when it could.
        let mut ill = String::new();
        let mut pending = None;
        loop {
            // Nobody needs one that is not always there, before there is something for it.
            if self.lane == Lane::Alone && pending.is_none() && ill.is_empty() {
                pending = self.orders.recv().await;
                if pending.is_none() {
                    return;
                }
            }
            let Err(words) = self.start(&ill).await else {
                if !std::mem::take(&mut ill).is_empty() {
                    tracing::info!(lane = self.lane.name(), "a worker could be started again");
                }
                let Some(next) = self.serve(pending.take(), &mut backoff).await else { return };
                pending = next.once_more;
                sleep(next.wait).await;
                continue;
            };
            let words = format!("no script worker can be started: {words}{}", self.end(LAST_BREATH).await.words);
            metrics::script_worker_death("start");
            if words != ill {
                tracing::warn!(lane = self.lane.name(), "more are tried: {words}");
                ill = words;
            }
            if let Some(order) = pending.take() {
                order.fail(Failure::new(FailureKind::Unavailable, ill.as_str()));
            }
            refuse(&mut self.orders, &ill, sleep(backoff.died(Duration::ZERO, false))).await;
        }
    }

    /// Starts a worker that may run scripts, and can. While it is doubtful that there will be one, nobody waits for it.
    async fn start(&mut self, ill: &str) -> Result<(), String> {
        let Self { common, lane, orders, first, process, .. } = self;
        metrics::script_worker_start(lane.name());
        let said = match Process::spawn(&common.setup, *lane) {
            Ok(spawned) => {
                common.alive(*lane, 1);
                let greeted = process.insert(spawned).greet(common, *lane);
                if ill.is_empty() { greeted.await } else { refuse(orders, ill, greeted).await }
            }
            Err(words) => Err(words),
        };
        if let Some(first) = first.take() {
            // Whoever wanted to know may have gone.
            let _ = first.send(said.clone());
        }
        said.and_then(
            |confinement| if common.allows(&confinement) { Ok(()) } else { Err(unconfined(*lane, &confinement)) },
        )
    }

    /// The same where nobody can ask for anything before there is one.
    ///
    /// # Errors
    /// In words; nothing of it is left.
    pub(super) async fn start_at_once(&mut self) -> Result<(), String> {
        let started = self.start("").await;
        let Err(words) = started else { return Ok(()) };
        metrics::script_worker_death("start");
        Err(format!("{words}{}", self.end(LAST_BREATH).await.words))
    }

    /// Nobody sits there any more, and nothing is left of who did.
    pub(super) async fn end(&mut self, patience: Duration) -> Ending {
        let Some(process) = &mut self.process else { return Ending::default() };
        let ending = process.end(patience).await;
        self.process = None;
        self.common.alive(self.lane, -1);
        ending
    }

    /// Takes no more orders; those that wait are for another.
    pub(super) fn close(&mut self) {
        self.orders.close();
        elsewhere(std::iter::from_fn(|| self.orders.try_recv().ok()));
    }

    /// Has the worker do what there is, until one of them ends. `None`: nobody can ask for anything any more.
    pub(super) async fn serve(&mut self, pending: Option<Order>, backoff: &mut BackOff) -> Option<Next> {
        let process = self.process.as_mut()?;
        let (pid, started) = (process.pid(), Instant::now());
        tracing::debug!(lane = self.lane.name(), pid, "a worker was started");
        let mut flights = Flights::new(self.lane, self.common.bounds);
        let end = drive(&self.common, self.lane, &mut self.orders, &process.socket, &mut flights, pending).await;
        let answered = flights.answered();
        let mut suspects = flights.suspects();
        let in_flight = suspects.len();
        if !matches!(self.lane, Lane::Alone | Lane::Own) {
            suspect(std::mem::take(&mut suspects));
        }
        // The stream ends before the process does. One that is killed by us in between would not tell what it died of.
        let ending = self.end(if matches!(end, End::Ended) { LAST_BREATH } else { Duration::ZERO }).await;
        let Some(reason) = end.reason() else {
            return matches!(end, End::Idle).then_some(Next { wait: Duration::ZERO, once_more: None });
        };
        if self.lane == Lane::Own && answered && ending.took_leave {
            // It knows that it is not to be used again. What reached it after that it has not begun.
            elsewhere(suspects);
            return Some(Next { wait: Duration::ZERO, once_more: None });
        }
        metrics::script_worker_death(reason);
        let words = match &end {
            End::Hung => format!("the worker gave no answer for {} ms and was killed", self.common.wall.as_millis()),
            End::Broke(breach) => format!("the worker broke the protocol and was killed: {breach}"),
            End::Ended | End::Idle | End::Stopped => format!("the worker ended{}", ending.words),
        };
        // One that died of a run is started anew at once: others wait for it, and each such run is paid for.
        let wait = backoff.died(started.elapsed(), answered || in_flight > 0);
        tracing::warn!(lane = self.lane.name(), pid, in_flight, retry_ms = wait.as_millis(), "{words}");
        let mut next = Next { wait, once_more: None };
        for mut order in suspects {
            // It was alone: there is no doubt, unless somebody else killed it. Twice is no chance.
            if ending.from_outside && matches!(end, End::Ended) && !order.once_more {
                if self.lane == Lane::Own {
                    // The next worker here may be somebody else's.
                    suspect(VecDeque::from([order]));
                    continue;
                }
                order.once_more = true;
                next.once_more = Some(order);
            } else {
                order.fail(Failure::new(FailureKind::WorkerKilled, words.as_str()));
            }
        }
        Some(next)
    }
}

/// What comes after a worker.
pub(super) struct Next {
    /// How long to wait before the next one.
    pub(super) wait: Duration,
    /// The first thing that it is to do.
    pub(super) once_more: Option<Order>,
}

/// Refuses all orders, until it is over.
async fn refuse<T>(orders: &mut mpsc::Receiver<Order>, words: &str, until: impl Future<Output = T>) -> T {
    let mut until = std::pin::pin!(until);
    loop {
        tokio::select! {
            biased;
            over = &mut until => return over,
            Some(order) = orders.recv() => order.fail(Failure::new(FailureKind::Unavailable, words)),
        }
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
                let now = Instant::now();
                // It may be an older one. And when this process itself stood still, the answer is here already, or the
                // worker stood still with it (a paused machine, a terminal that stops both) and has yet to make it.
                if now < due {
                    timer.as_mut().reset(due);
                } else if idle {
                    return End::Idle;
                } else if let Err(end) = read(socket, flights) {
                    return end;
                } else if flights.deadline(limit) <= now && !(now - due > STOOD_STILL && flights.excuse()) {
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

/// These have not been begun: whoever waits for them asks another worker.
fn elsewhere(orders: impl IntoIterator<Item = Order>) {
    for order in orders {
        // Gone in between: then nobody wants it done.
        let _ = order.answer.send(Answer::Suspect(order.work));
    }
}

fn unconfined(lane: Lane, confinement: &Confinement) -> String {
    let missing =
        if confinement.missing.is_empty() { "seccomp or rlimits".to_owned() } else { confinement.missing.join("; ") };
    if lane == Lane::Own {
        return format!("this kernel does not confine Java ({missing})");
    }
    format!(
        "scripts are not run: this kernel does not confine their workers ({missing}); scripts.run_unconfined allows it"
    )
}
