//! The workers: started, fed, watched, killed and started anew. What runs in one is decided by whom it belongs to and
//! how it has behaved.

mod backoff;
mod bounds;
mod flights;
mod owned;
mod process;
mod seat;
mod work;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::bounds::Bounds;
use self::owned::{Keeping, Owned};
use self::seat::Seat;
use self::work::{Answer, Order, Work};
use super::call::{Diagnostic, Direction, Failure, FailureKind, Input, Language, Ran, SourceHash};
use super::jolie::home::Home;
use super::protocol::{Confinement, RunLimits};
use crate::config::scripts::ScriptsOptions;
use crate::ids::UserId;
use crate::metrics;

/// Runs that a worker has at once; they share one system call, and the fate of the worker.
const DEPTH: usize = 64;
/// Runs that wait for each worker besides. One more waits with its caller until there is room.
const WAITING: usize = 1024;

/// Interpreter states of a worker of the other lanes, in bytes.
const GUEST_STATES_BYTES: u64 = 256 * 1024 * 1024;

/// With whom a run shares a worker: a script that hangs or crashes one holds up only those in the same lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Scripts that have run well; each owner keeps to one worker of several.
    Shared,
    /// Scripts that have yet to prove themselves, drafts, and sources that are checked.
    Trial,
    /// Scripts that hit a limit lately or brought a worker down: one run at a time.
    Alone,
    /// Scripts in a language whose owners each have a worker of their own, however they behave.
    Own,
}

impl Lane {
    /// The word for it, in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Trial => "trial",
            Self::Alone => "alone",
            Self::Own => "own",
        }
    }

    /// Where processors are short, the server and scripts that behave come before those that have yet to show it, and
    /// these before those that do not. Mildly: a run that gets too little of a processor to be done within the wall limit would be blamed for it.
    fn niceness(self) -> i32 {
        match self {
            Self::Shared => 0,
            Self::Trial => 2,
            Self::Alone => 4,
            // A run takes a hundred times as long as others, and several processes run at once.
            Self::Own => 10,
        }
    }

    fn depth(self) -> usize {
        if matches!(self, Self::Alone | Self::Own) { 1 } else { DEPTH }
    }
}

/// One run to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose script.
    pub owner: UserId,
    /// What it is written in.
    pub language: Language,
    /// Which source.
    pub hash: SourceHash,
    /// The source.
    pub source: Arc<str>,
    /// Which function.
    pub direction: Direction,
    /// The message.
    pub input: Input,
    /// What random numbers begin with.
    pub seed: u64,
    /// With whom it may share a worker, if its language allows that.
    pub lane: Lane,
}

/// What is started as a worker, and how patiently.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program. It is given no environment.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// One that has not said hello and answered a trial check in so long is killed.
    pub hello_limit: Duration,
    /// [`Lane::Alone`]'s worker is ended when it had nothing to do for so long.
    pub idle_limit: Duration,
    /// The longest wait before one that dies young again and again is started anew.
    pub longest_wait: Duration,
    /// What it runs.
    pub language: Language,
}

impl Setup {
    /// This program as a worker.
    #[must_use]
    pub fn of(program: PathBuf) -> Self {
        let arguments = vec!["worker".into()];
        let (hello_limit, idle_limit) = (Duration::from_secs(5), Duration::from_secs(60));
        let (longest_wait, language) = (Duration::from_secs(5), Language::Luau);
        Self { program, arguments, hello_limit, idle_limit, longest_wait, language }
    }

    /// This program as a worker for Jolie, with so many bytes of memory.
    #[must_use]
    pub fn jolie(program: PathBuf, home: &Home, memory: u64) -> Self {
        let arguments = vec![
            "worker".into(),
            "--jolie".into(),
            home.path.clone().into(),
            "--memory".into(),
            memory.to_string().into(),
        ];
        // Java takes its time where processors are short.
        let (hello_limit, longest_wait) = (Duration::from_secs(60), Duration::from_secs(30));
        Self { arguments, hello_limit, longest_wait, language: Language::Jolie, ..Self::of(program) }
    }
}

/// What all seats share.
#[derive(Debug)]
struct Common {
    setup: Setup,
    limits: RunLimits,
    /// How many workers share the first lane.
    shared: usize,
    bounds: Bounds,
    wall: Duration,
    run_unconfined: bool,
    /// Workers that live, by lane.
    alive: [AtomicI32; 4],
}

impl Common {
    /// Scripts that run well are there to stay: their workers share the room for states. In the other lanes a script
    /// is a guest, and a state that is thrown away costs less than a millisecond.
    fn limits_in(&self, lane: Lane) -> RunLimits {
        let all = self.limits.states_bytes;
        let states_bytes = if lane == Lane::Shared { all / self.shared as u64 } else { all.min(GUEST_STATES_BYTES) };
        RunLimits { states_bytes, ..self.limits }
    }

    fn alive(&self, lane: Lane, more: i32) {
        let now = self.alive[lane as usize].fetch_add(more, Ordering::Relaxed) + more;
        metrics::script_workers(now.into(), lane.name());
    }

    /// Whether scripts may run behind so much.
    fn allows(&self, confinement: &Confinement) -> bool {
        match self.setup.language {
            Language::Luau => confinement.is_enough() || self.run_unconfined,
            // A script in Jolie can be refused; a server that cannot confine it does that.
            Language::Jolie => confinement.is_enough_for_java(),
        }
    }
}

/// The workers of this process. Cheap to clone; they end with the last clone, or by [`Workers::stop`].
#[derive(Clone, Debug)]
pub struct Workers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    confinement: Confinement,
    shared: Vec<mpsc::Sender<Order>>,
    trial: mpsc::Sender<Order>,
    alone: mpsc::Sender<Order>,
    /// Why there are none for Jolie, if that is so.
    jolie: Result<Owned, String>,
    stop: watch::Sender<bool>,
    seats: Mutex<Vec<JoinHandle<()>>>,
    /// What is said when nobody takes work.
    closed: String,
}

impl Workers {
    /// Starts the workers that are always there, and learns from the first what the kernel allows. When none can be
    /// started, or they are not confined enough, every run says so until that changes. To be called on a runtime whose
    /// threads live as long as the server: a worker ends with the thread that started it.
    ///
    /// # Errors
    /// In words: it cannot be found out which program this is.
    pub async fn start(options: &ScriptsOptions, limits: RunLimits) -> Result<Self, Failure> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| unavailable(format!("which program this is: {error}")))?;
        let variables = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let home = Home::find(options.jolie.home.as_deref(), &program, variables);
        let jolie = home.map(|home| Setup::jolie(program.clone(), &home, options.jolie.memory_bytes()));
        Ok(Self::start_with(Setup::of(program), jolie, options, limits).await)
    }

    /// The same with another program as the worker, and none for Jolie.
    pub async fn start_as(setup: Setup, options: &ScriptsOptions, limits: RunLimits) -> Self {
        Self::start_with(setup, Err("this server runs no Jolie".to_owned()), options, limits).await
    }

    /// The same with other programs as workers, or in words why there are none for Jolie.
    pub async fn start_with(
        setup: Setup,
        jolie: Result<Setup, String>,
        options: &ScriptsOptions,
        limits: RunLimits,
    ) -> Self {
        let (bounds, wall, alive) = (Bounds::new(limits), options.wall_limit(), Default::default());
        let run_unconfined = options.run_unconfined;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = options.shared_workers(processors).max(1);
        let common = Arc::new(Common { setup, limits, shared, bounds, wall, run_unconfined, alive });
        let (stop, stopped) = watch::channel(false);
        let mut seats = Vec::new();
        let mut seat = |lane: Lane, first: Option<oneshot::Sender<_>>| {
            let (sender, orders) = mpsc::channel(WAITING);
            let seat = Seat { common: common.clone(), lane, orders, stop: stopped.clone(), first, process: None };
            seats.push(tokio::spawn(seat.run()));
            sender
        };
        let (first, started) = oneshot::channel();
        let mut first = Some(first);
        let shared = (0..shared).map(|_| seat(Lane::Shared, first.take())).collect();
        let (trial, alone) = (seat(Lane::Trial, None), seat(Lane::Alone, None));
        let confinement = match started.await.unwrap_or_else(|_| Err("the workers were stopped".to_owned())) {
            Ok(confinement) => confinement,
            Err(words) => Confinement { missing: vec![words], ..Confinement::default() },
        };
        tell(&confinement);
        let jolie = jolie.map(|setup| start_jolie(setup, options, &limits, processors, &stopped));
        if let Err(why) = &jolie {
            tracing::info!("scripts in Jolie cannot be run: {why}");
        }
        let (seats, closed) = (Mutex::new(seats), "the workers have been stopped".to_owned());
        Self(Arc::new(Inner { confinement, shared, trial, alone, jolie, stop, seats, closed }))
    }

    /// No workers: every run and check comes to `Unavailable`, with these words.
    #[must_use]
    pub fn none(why: &str) -> Self {
        // Nobody listens: whoever asks hears why.
        let nobody = || mpsc::channel(1).0;
        let confinement = Confinement { missing: vec![why.to_owned()], ..Confinement::default() };
        let (shared, trial, alone, seats) = (vec![nobody()], nobody(), nobody(), Mutex::default());
        let (stop, closed, jolie) = (watch::channel(true).0, why.to_owned(), Err(why.to_owned()));
        Self(Arc::new(Inner { confinement, shared, trial, alone, jolie, stop, seats, closed }))
    }

    /// What keeps the workers confined; what is missing is said in words.
    #[must_use]
    pub fn confinement(&self) -> &Confinement {
        &self.0.confinement
    }

    /// Why scripts in that language cannot be run, in one sentence, if that is so.
    #[must_use]
    pub fn lacks(&self, language: Language) -> Option<String> {
        match (language, &self.0.jolie) {
            (Language::Luau, _) if self.0.shared.iter().all(mpsc::Sender::is_closed) => Some(self.0.closed.clone()),
            (Language::Luau, _) => None,
            (Language::Jolie, Ok(owned)) => owned.illness(),
            (Language::Jolie, Err(why)) => Some(why.clone()),
        }
    }

    /// Makes a run. Comes to an end whatever the script does, soon after the wall limit at the latest, not counting the
    /// time that it waits for a worker.
    pub async fn run(&self, job: Job) -> Ran {
        let (language, lane, owner) = (job.language, job.lane, job.owner);
        let work = Work::run(job);
        let answer = match language {
            Language::Luau => self.answer(self.queue(lane, owner), work).await,
            Language::Jolie => self.answer_in_jolie(owner, work).await,
        };
        match answer {
            Answer::Ran(ran) => ran,
            Answer::Failed(failure) => Ran::not(failure),
            Answer::Checked(_) | Answer::Suspect(_) => Ran::not(unavailable("a run came to nothing")),
        }
    }

    /// Compiles a source, for `owner`. With an error among what is found it cannot be used.
    ///
    /// # Errors
    /// [`Failure`] when it could not be found out: the source takes too long or too much memory, or there is no worker.
    pub async fn check(
        &self,
        owner: UserId,
        language: Language,
        direction: Direction,
        source: &str,
    ) -> Result<Vec<Diagnostic>, Failure> {
        let work = Work::check(language, direction, source);
        let answer = match language {
            Language::Luau => self.answer(&self.0.trial, work).await,
            Language::Jolie => self.answer_in_jolie(owner, work).await,
        };
        match answer {
            Answer::Checked(found) => found,
            Answer::Failed(failure) => Err(failure),
            Answer::Ran(_) | Answer::Suspect(_) => Err(unavailable("a check came to nothing")),
        }
    }

    /// Ends all workers and waits until nothing is left of them. What they had in hand comes to `Unavailable`.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let seats = std::mem::take(&mut *self.0.seats.lock().unwrap_or_else(PoisonError::into_inner));
        for seat in seats {
            if let Err(error) = seat.await {
                tracing::error!(%error, "a seat for workers failed");
            }
        }
        if let Ok(jolie) = &self.0.jolie {
            jolie.ended().await;
        }
    }

    async fn answer_in_jolie(&self, owner: UserId, work: Work) -> Answer {
        match &self.0.jolie {
            Ok(owned) => owned.ask(owner, work).await,
            Err(why) => Answer::Failed(unavailable(why.as_str())),
        }
    }

    fn queue(&self, lane: Lane, owner: UserId) -> &mpsc::Sender<Order> {
        match lane {
            Lane::Shared => &self.0.shared[place(owner, self.0.shared.len())],
            Lane::Trial => &self.0.trial,
            Lane::Alone | Lane::Own => &self.0.alone,
        }
    }

    async fn answer(&self, queue: &mpsc::Sender<Order>, work: Work) -> Answer {
        match self.ask(queue, work).await {
            // Who ends the next one as well is certain: it is alone there, and comes back as a failure.
            Answer::Suspect(work) => self.ask(&self.0.alone, work).await,
            answer => answer,
        }
    }

    async fn ask(&self, queue: &mpsc::Sender<Order>, work: Work) -> Answer {
        let (answer, answered) = oneshot::channel();
        let order = Order { work, answer, since: Instant::now(), once_more: false };
        // Waits while the queue is full: so whoever asks for too much is slowed down. A refused order is dropped at
        // once: while it lives, its answer may still come.
        let sent = queue.send(order).await.is_ok();
        match if sent { answered.await.ok() } else { None } {
            Some(answer) => answer,
            None => Answer::Failed(unavailable(self.0.closed.as_str())),
        }
    }
}

/// Which of `n` workers an owner keeps to. Ids are given in order; neighbours are spread.
fn place(owner: UserId, n: usize) -> usize {
    let mixed = owner.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    usize::try_from(mixed).unwrap_or_default() % n
}

fn unavailable(detail: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Unavailable, detail)
}

/// Starts the workers of Jolie, beside all others: what comes of it is told when it is known.
fn start_jolie(
    setup: Setup,
    options: &ScriptsOptions,
    limits: &RunLimits,
    processors: usize,
    stop: &watch::Receiver<bool>,
) -> Owned {
    let limits = options.jolie.run_limits(limits);
    let (bounds, wall, alive) = (Bounds::new(limits), options.jolie.wall_limit(), Default::default());
    let common = Arc::new(Common { setup, limits, shared: 1, bounds, wall, run_unconfined: false, alive });
    let keeping = Keeping {
        places: options.jolie.places(processors),
        runs: options.jolie.runs,
        idle: Duration::from_secs(options.jolie.idle_seconds),
    };
    let (first, started) = oneshot::channel::<Result<Confinement, String>>();
    tokio::spawn(async move {
        match started.await {
            Ok(Ok(confinement)) if confinement.is_enough_for_java() => {
                let Confinement { seccomp, landlock, rlimits, nobody, view, missing } = confinement;
                let missing = missing.join("; ");
                tracing::info!(
                    seccomp,
                    landlock,
                    rlimits,
                    nobody,
                    view,
                    missing,
                    "scripts in Jolie can be run, confined"
                );
            }
            Ok(Ok(confinement)) => {
                let missing = confinement.missing.join("; ");
                tracing::warn!(missing, "scripts in Jolie are not run: this kernel does not confine Java");
            }
            Ok(Err(words)) => tracing::warn!("scripts in Jolie cannot be run: {words}"),
            // Stopped before it was known.
            Err(_) => {}
        }
    });
    Owned::start(&common, keeping, stop, first)
}

fn tell(confinement: &Confinement) {
    // `view` is of Java only.
    let Confinement { seccomp, landlock, rlimits, nobody, view: _, missing } = confinement;
    let missing = missing.join("; ");
    if confinement.is_enough() {
        tracing::info!(seccomp, landlock, rlimits, nobody, missing, "script workers are confined");
    } else {
        tracing::warn!(seccomp, landlock, rlimits, nobody, missing, "script workers are not confined");
    }
}
