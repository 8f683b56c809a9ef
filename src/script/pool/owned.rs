//! Workers that each serve one owner and are then thrown away: for an engine whose states cannot be kept apart within a
//! process. One is always started ahead, so that an owner who comes does not wait for it.
//!
//! | a place is | when |
//! |---|---|
//! | absent | nobody needs it |
//! | starting | somebody waits for it, or there is no spare |
//! | ill | its worker could not be started; it is tried again |
//! | ready, without an owner | the spare |
//! | ready, with an owner | until that has not asked for a while, made its number of runs, hit a limit, or somebody else needs the place |

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::BackOff;
use super::seat::Seat;
use super::work::{Answer, Order, Work};
use super::{Common, Lane, unavailable};
use crate::ids::UserId;
use crate::script::protocol::Confinement;

/// Runs that may wait for a place; one more is refused.
const WAITING: usize = 256;
/// How long one waits for a place.
const PATIENCE: Duration = Duration::from_secs(60);
/// An owner who has asked for nothing for so long gives the place up, when there is no spare.
const RESTED: Duration = Duration::from_secs(1);
/// How often something is asked that a worker left undone because it ended. One that ends by itself has done something,
/// so that more than one time is rare.
const TRIES: u32 = 5;
/// How often idle ones are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How they are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    /// Places.
    pub(super) places: usize,
    /// Runs of one worker.
    pub(super) runs: u32,
    /// One whose owner asks for nothing for so long is ended.
    pub(super) idle: Duration,
}

/// What is at a place.
#[derive(Debug)]
enum Place {
    Absent,
    Starting,
    Ill(String),
    Ready(Ready),
}

#[derive(Debug)]
struct Ready {
    orders: mpsc::Sender<Order>,
    /// Tells workers apart that are at this place one after the other.
    life: u64,
    owner: Option<UserId>,
    /// Orders that it has.
    busy: u32,
    runs: u32,
    used: Instant,
}

/// The places and who looks after them.
#[derive(Debug)]
pub(super) struct Owned {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    keeping: Keeping,
    places: Mutex<Vec<Place>>,
    /// Rings when something changed.
    changed: Notify,
    waiting: AtomicUsize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that an order has.
struct Taken {
    at: usize,
    life: u64,
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut places = self.shared.lock();
        if let Some(Place::Ready(ready)) = places.get_mut(self.at).filter(|place| place.life() == Some(self.life)) {
            ready.busy -= 1;
            ready.used = Instant::now();
            if ready.busy == 0 && ready.runs >= self.shared.keeping.runs {
                places[self.at] = Place::Absent;
            }
        }
        provide(&mut places, 0);
        drop(places);
        self.shared.changed.notify_waiters();
    }
}

impl Place {
    fn life(&self) -> Option<u64> {
        match self {
            Self::Ready(ready) => Some(ready.life),
            Self::Absent | Self::Starting | Self::Ill(_) => None,
        }
    }

    /// Since when its owner has asked for nothing.
    fn rests_since(&self) -> Option<Instant> {
        match self {
            Self::Ready(ready) if ready.owner.is_some() && ready.busy == 0 => Some(ready.used),
            _ => None,
        }
    }
}

/// Sees to it that there is a spare, or one place for each who waits: absent ones are started, then those that have rested
/// longest. Says whether anything changed.
fn provide(places: &mut [Place], waiting: usize) -> bool {
    let is_coming = |place: &Place| match place {
        Place::Starting | Place::Ill(_) => true,
        Place::Ready(ready) => ready.owner.is_none(),
        Place::Absent => false,
    };
    let coming = places.iter().filter(|place| is_coming(place)).count();
    let mut changed = false;
    for n in coming..waiting.max(1) {
        let absent = places.iter().position(|place| matches!(place, Place::Absent));
        let rested = || {
            let rests = places.iter().enumerate().filter_map(|(at, place)| Some((place.rests_since()?, at)));
            let (since, at) = rests.min()?;
            // For the spare alone nobody is sent away at once.
            (n < waiting || since.elapsed() >= RESTED).then_some(at)
        };
        match absent.or_else(rested) {
            Some(at) => places[at] = Place::Starting,
            None => return changed,
        }
        changed = true;
    }
    changed
}

/// Why none can be started, if that is so.
fn illness(places: &[Place]) -> Option<&str> {
    places.iter().find_map(|place| match place {
        Place::Ill(words) => Some(words.as_str()),
        _ => None,
    })
}

/// The place of an owner, or one that is free.
fn take(places: &mut [Place], owner: UserId, most: u32) -> Option<(usize, u64, mpsc::Sender<Order>)> {
    let takes = |ready: &Ready| ready.runs < most && !ready.orders.is_closed();
    let of = |wanted: Option<UserId>| move |place: &Place| matches!(place, Place::Ready(ready) if ready.owner == wanted && takes(ready));
    let at = places.iter().position(of(Some(owner))).or_else(|| places.iter().position(of(None)))?;
    let Some(Place::Ready(ready)) = places.get_mut(at) else { return None };
    ready.owner = Some(owner);
    ready.busy += 1;
    ready.runs += 1;
    Some((at, ready.life, ready.orders.clone()))
}

impl Owned {
    /// Starts the spare. What came of that, and how it is confined, is told to `first`.
    pub(super) fn start(
        common: &Arc<Common>,
        keeping: Keeping,
        stop: &watch::Receiver<bool>,
        first: oneshot::Sender<Result<Confinement, String>>,
    ) -> Self {
        let places = (0..keeping.places).map(|at| if at == 0 { Place::Starting } else { Place::Absent }).collect();
        let shared = Arc::new(Shared {
            keeping,
            places: Mutex::new(places),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
        });
        let mut first = Some(first);
        let seat = |at: usize| {
            let orders = mpsc::channel(1).1;
            let first = first.take();
            let seat =
                Seat { common: common.clone(), lane: Lane::Own, orders, stop: stop.clone(), first, process: None };
            tokio::spawn(until_stop(seat, shared.clone(), at))
        };
        let mut tasks: Vec<JoinHandle<()>> = (0..keeping.places).map(seat).collect();
        tasks.push(tokio::spawn(sweep(shared.clone(), stop.clone())));
        Self { shared, stop: stop.clone(), tasks: Mutex::new(tasks) }
    }

    /// Has it done by the owner's worker; by another when that ended before it began, or when somebody from outside
    /// killed it.
    pub(super) async fn ask(&self, owner: UserId, mut work: Work) -> Answer {
        let mut stop = self.stop.clone();
        let answer = async {
            for time in 0..TRIES {
                match self.ask_once(owner, work, time > 0).await {
                    Answer::Suspect(again) => work = again,
                    answer => return answer,
                }
            }
            Answer::Failed(unavailable(format!("{TRIES} workers ended before they could do it")))
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Answer::Failed(unavailable("the workers have been stopped")),
            answer = answer => answer,
        }
    }

    async fn ask_once(&self, owner: UserId, work: Work, once_more: bool) -> Answer {
        let since = Instant::now();
        let taken = match self.place(owner).await {
            Ok(taken) => taken,
            Err(words) => return Answer::Failed(unavailable(words)),
        };
        let (answer, answered) = oneshot::channel();
        let order = Order { work, answer, since, once_more };
        if let Err(unsent) = taken.orders.send(order).await {
            return Answer::Suspect(unsent.0.work);
        }
        answered.await.unwrap_or_else(|_| Answer::Failed(unavailable("the worker was stopped")))
    }

    async fn place(&self, owner: UserId) -> Result<Taken, String> {
        let waiting = Waiting::new(&self.shared)?;
        let found = timeout(PATIENCE, async {
            loop {
                // Before looking, so that no change is missed.
                let changed = self.shared.changed.notified();
                if let Some(found) = self.look(owner, waiting.number())? {
                    return Ok(found);
                }
                changed.await;
            }
        });
        found.await.unwrap_or_else(|_| Err(format!("no worker was free within {} s", PATIENCE.as_secs())))
    }

    /// A place, if there is one; else one is got ready.
    fn look(&self, owner: UserId, waiting: usize) -> Result<Option<Taken>, String> {
        let mut places = self.shared.lock();
        let found = take(&mut places, owner, self.shared.keeping.runs);
        // Nobody waits for what cannot be started.
        if let (None, Some(words)) = (&found, illness(&places)) {
            return Err(words.to_owned());
        }
        // Whoever looks waits for changes too: one that is none would wake it for ever.
        if provide(&mut places, if found.is_some() { 0 } else { waiting }) {
            self.shared.changed.notify_waiters();
        }
        drop(places);
        Ok(found.map(|(at, life, orders)| Taken { at, life, orders, shared: self.shared.clone() }))
    }

    /// Why none can be started, if that is so.
    pub(super) fn illness(&self) -> Option<String> {
        illness(&self.shared.lock()).map(str::to_owned)
    }

    /// Waits until nothing is left of them, when they have been told to stop.
    pub(super) async fn ended(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a place for workers failed");
            }
        }
    }
}

/// One who waits for a place.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Result<Self, String> {
        let before = shared.waiting.fetch_add(1, Ordering::Relaxed);
        let this = Self(shared);
        if before < WAITING { Ok(this) } else { Err(format!("{WAITING} runs wait for a worker already")) }
    }

    fn number(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn until_stop(mut seat: Seat, shared: Arc<Shared>, at: usize) {
    let mut stop = seat.stop.clone();
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = keep(&mut seat, &shared, at) => {}
    }
    seat.end(Duration::ZERO).await;
}

/// Keeps at a place what is wanted there.
async fn keep(seat: &mut Seat, shared: &Shared, at: usize) {
    let mut backoff = BackOff::new(seat.common.setup.longest_wait);
    let (mut ill, mut life) = (String::new(), 0);
    loop {
        wanted(shared, at).await;
        if let Err(words) = seat.start_at_once().await {
            let words = format!("no interpreter can be started: {words}");
            if words != ill {
                tracing::warn!(lane = seat.lane.name(), "more are tried: {words}");
                ill = words;
            }
            set(shared, at, Place::Ill(ill.clone()));
            sleep(backoff.died(Duration::ZERO, false)).await;
            continue;
        }
        ill.clear();
        life += 1;
        let (orders, received) = mpsc::channel(1);
        seat.orders = received;
        let (owner, busy, runs, used) = (None, 0, 0, Instant::now());
        set(shared, at, Place::Ready(Ready { orders, life, owner, busy, runs, used }));
        let next = seat.serve(None, &mut backoff).await;
        seat.close();
        // One that was told to go has not gone yet.
        seat.end(Duration::ZERO).await;
        left(shared, at, life);
        if let Some(next) = next {
            sleep(next.wait).await;
        }
    }
}

/// Waits until a worker is wanted at this place.
async fn wanted(shared: &Shared, at: usize) {
    loop {
        let changed = shared.changed.notified();
        if matches!(shared.lock().get(at), Some(Place::Starting | Place::Ill(_))) {
            return;
        }
        changed.await;
    }
}

fn set(shared: &Shared, at: usize, place: Place) {
    if let Some(slot) = shared.lock().get_mut(at) {
        *slot = place;
    }
    shared.changed.notify_waiters();
}

/// The worker of that life has gone by itself; or it was told to, and the place says already what comes next.
fn left(shared: &Shared, at: usize, life: u64) {
    let mut places = shared.lock();
    if let Some(slot) = places.get_mut(at).filter(|place| place.life() == Some(life)) {
        *slot = Place::Absent;
    }
    provide(&mut places, shared.waiting.load(Ordering::Relaxed));
    drop(places);
    shared.changed.notify_waiters();
}

/// Ends those whose owners ask for nothing any more.
async fn sweep(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    while tokio::time::timeout(SWEEP, stop.wait_for(|stop| *stop)).await.is_err() {
        let mut places = shared.lock();
        let idle = |place: &Place| place.rests_since().is_some_and(|since| since.elapsed() >= shared.keeping.idle);
        places.iter_mut().filter(|place| idle(place)).for_each(|place| *place = Place::Absent);
        provide(&mut places, 0);
        drop(places);
        shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(owner: Option<i64>, busy: u32, rested: Duration) -> Place {
        let used = Instant::now().checked_sub(rested).unwrap();
        let (orders, received) = mpsc::channel(1);
        // It is there as long as the test.
        Box::leak(Box::new(received));
        Place::Ready(Ready { orders, life: 1, owner: owner.map(UserId), busy, runs: 0, used })
    }

    fn shown(places: &[Place]) -> String {
        let one = |place: &Place| match place {
            Place::Absent => '-',
            Place::Starting => 's',
            Place::Ill(_) => 'i',
            Place::Ready(Ready { owner: None, .. }) => 'f',
            Place::Ready(Ready { busy: 0, .. }) => 'r',
            Place::Ready(_) => 'b',
        };
        places.iter().map(one).collect()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn an_owner_keeps_a_place_and_another_gets_another() {
        let mut places = vec![ready(None, 0, LONG), ready(None, 0, LONG), Place::Absent];
        let at = |places: &mut Vec<Place>, owner| take(places, UserId(owner), 10).map(|(at, ..)| at);
        assert_eq!([at(&mut places, 1), at(&mut places, 2)], [Some(0), Some(1)]);
        assert_eq!([at(&mut places, 2), at(&mut places, 1)], [Some(1), Some(0)]);
        assert_eq!(at(&mut places, 3), None, "never one that is somebody else's");
        assert_eq!(shown(&places), "bb-");
    }

    #[test]
    fn a_worker_takes_its_number_of_runs_and_no_more() {
        let mut places = vec![ready(Some(1), 0, LONG)];
        assert!(take(&mut places, UserId(1), 2).is_some() && take(&mut places, UserId(1), 2).is_some());
        assert!(take(&mut places, UserId(1), 2).is_none());
    }

    #[test]
    fn a_worker_that_has_ended_is_not_asked_although_nobody_has_seen_it_yet() {
        let mut places = vec![ready(Some(1), 0, LONG), ready(None, 0, LONG)];
        if let Place::Ready(ready) = &mut places[0] {
            ready.orders = mpsc::channel(1).0;
        }
        assert_eq!(take(&mut places, UserId(1), 2).map(|(at, ..)| at), Some(1));
    }

    #[test]
    fn there_is_a_spare_if_anybody_can_do_without_a_place() {
        let provided = |mut places: Vec<Place>, waiting: usize| {
            provide(&mut places, waiting);
            shown(&places)
        };
        let short = Duration::from_millis(1);
        assert_eq!(provided(vec![ready(None, 0, LONG), Place::Absent], 0), "f-");
        assert_eq!(provided(vec![ready(Some(1), 1, LONG), Place::Absent], 0), "bs");
        assert_eq!(provided(vec![ready(Some(1), 0, LONG), ready(Some(2), 0, LONG * 2)], 0), "rs", "the longest rested");
        assert_eq!(provided(vec![ready(Some(1), 0, short), ready(Some(2), 1, LONG)], 0), "rb", "not at once");
        assert_eq!(provided(vec![ready(Some(1), 0, short), ready(Some(2), 1, LONG)], 1), "sb", "unless somebody waits");
        assert_eq!(provided(vec![ready(Some(1), 1, LONG)], 1), "b", "nobody is interrupted");
        assert_eq!(provided(vec![Place::Starting, Place::Absent, Place::Absent], 2), "ss-", "one for each who waits");
        assert_eq!(provided(vec![Place::Ill(String::new()), Place::Absent], 0), "i-", "one that is ill is tried again");
    }
}
