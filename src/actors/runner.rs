//! Runs one user's scripts: one message after the other, within that user's limits, whatever the script does.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use super::bridge::Bridge;
use super::outbox::monotonic;
use super::runners::{Asleep, Runners};
use super::tell::{Told, tell};
use crate::automation::ActiveScript;
use crate::automation::log::{AutomationLog, Details, LogEntry, SWITCHED_OFF};
use crate::clock::Clock;
use crate::ids::UserId;
use crate::pipeline::bridge::FrameKind;
use crate::pipeline::scripted::Wish;
use crate::protocol::frames::ServerFrame;
use crate::script::Scripts;
use crate::script::call::{Direction, Failure, FailureKind, Ran, SourceHash};
use crate::script::effects::{Effects, Verdict};
use crate::script::pool::Job;
use crate::script::standing::{ReplyRate, Sent, Standing, SwitchOff};
use crate::store::Store;

/// The first runs of a script since the node started, all of which are logged; later ones only when there is something
/// to say.
const LOGGED_RUNS: u64 = 20;
/// Versions that have proved themselves; about 60 bytes each. One that was forgotten has to do so again.
const PROVEN: usize = 200_000;
/// Bytes of sources that are kept in memory.
const SOURCES_BYTES: u64 = 64 * 1024 * 1024;
/// Time before a source that could not be read is tried again.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// Of how many that is remembered.
const UNREADABLE: usize = 10_000;
/// Time before an owner is told again of failures that are none of the script's.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Time before a script that could not be switched off in the tables is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often that is tried; the next failing run begins anew.
const ATTEMPTS: u32 = 20;

/// A run that somebody waits for; sent by the directory of runners. When `scripts.waiting` of them wait, another comes
/// to `overloaded` at once.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Run {
    /// What.
    pub wish: Arc<Wish>,
    /// Who waits. When this is dropped unanswered, the runner has gone to sleep: ask again.
    pub answer: oneshot::Sender<Effects>,
}

/// How a user's two scripts have behaved.
pub type Record = HashMap<Direction, Standing>;

/// The run that a worker has.
struct Current {
    wish: Arc<Wish>,
    /// Who waits; `None`: it took too long, and its message has gone on.
    answer: Option<oneshot::Sender<Effects>>,
    overdue: SpawnHandle,
}

/// The cost of a source in the memory.
#[derive(Clone, Debug)]
pub struct Bytes;

impl Weighter<SourceHash, Arc<str>> for Bytes {
    fn weight(&self, _: &SourceHash, source: &Arc<str>) -> u64 {
        source.len() as u64 + 100
    }
}

/// An empty memory of sources.
#[must_use]
pub fn memory() -> Cache<SourceHash, Arc<str>, Bytes> {
    Cache::with_weighter(10_000, SOURCES_BYTES, Bytes)
}

/// An empty memory of versions that have proved themselves.
#[must_use]
pub fn proven() -> Cache<(UserId, Direction), u32> {
    Cache::new(PROVEN)
}

/// An empty memory of sources that cannot be read.
#[must_use]
pub fn unreadable() -> Cache<SourceHash, Instant> {
    Cache::new(UNREADABLE)
}

/// What all runners of a node share.
pub struct RunnerDeps {
    /// Workers, sources, settings, figures.
    pub scripts: Scripts,
    /// Sources lately used.
    pub sources: Cache<SourceHash, Arc<str>, Bytes>,
    /// Versions that have proved themselves: a runner that wakes need not have them do so again.
    pub proven: Cache<(UserId, Direction), u32>,
    /// Sources that could not be read, and when.
    pub unreadable: Cache<SourceHash, Instant>,
    /// How much an owner's scripts may send.
    pub replies: ReplyRate,
    /// The workers are about to end: what they do not run is done again after a restart.
    pub closing: Arc<AtomicBool>,
    /// What happened, for the owner.
    pub log: AutomationLog,
    /// Where scripts are switched off.
    pub store: Store,
    /// The way to the owner's sessions.
    pub bridge: Bridge,
    /// The time of day.
    pub clock: Clock,
}

/// The actor. One for each user whose script had something to do lately.
pub struct Runner {
    owner: UserId,
    deps: Arc<RunnerDeps>,
    directory: Addr<Runners>,
    waiting: VecDeque<Run>,
    current: Option<Current>,
    record: Record,
    /// Switched off by the server: these wait for nothing any more.
    off: HashMap<Direction, u32>,
    last_used: Instant,
    sent: Sent,
    /// When its owner was last told of a failure that is none of the script's.
    told: Option<Instant>,
}

impl Runner {
    /// A runner for `owner`, of whose scripts `record` is known. It tells `directory` when it goes to sleep.
    #[must_use]
    pub fn new(owner: UserId, deps: Arc<RunnerDeps>, directory: Addr<Runners>, record: Record) -> Self {
        let (waiting, off, sent) = (VecDeque::new(), HashMap::new(), Sent::default());
        let (current, last_used, told) = (None, monotonic(), None);
        Self { owner, deps, directory, waiting, current, record, off, last_used, sent, told }
    }

    fn next(&mut self, context: &mut Context<Self>) {
        while self.current.is_none() {
            let Some(run) = self.waiting.pop_front() else { return };
            let began = monotonic();
            let waited = began.saturating_duration_since(run.wish.since);
            crate::metrics::script_wait(waited.as_secs_f64());
            match self.refuse(&run.wish, waited, began) {
                Some(effects) => self.go_on(run, effects, context),
                None => self.run(run, waited, began, context),
            }
        }
    }

    /// What comes of a run that must not be made (any more).
    fn refuse(&mut self, wish: &Wish, waited: Duration, now: Instant) -> Option<Effects> {
        let deps = self.deps.clone();
        let options = &deps.scripts.options;
        if self.off.get(&wish.direction) == Some(&wish.script.version) {
            return Some(Effects { verdict: Verdict::Forward, replies: Vec::new(), unanswered: Vec::new() });
        }
        if waited >= options.wait_limit() {
            return Some(self.overdue());
        }
        let conduct = options.conduct(wish.script.language);
        if self.standing(wish.direction).is_held(now, &conduct) {
            let seconds = options.budget_seconds;
            return Some(overloaded(format!(
                "the script has used up its processor time of {seconds} s: this message goes on without it"
            )));
        }
        None
    }

    fn overdue(&self) -> Effects {
        let most = self.deps.scripts.options.wait_ms;
        overloaded(format!("the message has waited for the script for {most} ms: it goes on without it"))
    }

    fn run(&mut self, run: Run, waited: Duration, began: Instant, context: &mut Context<Self>) {
        let Run { wish, answer } = run;
        let lane = self.standing(wish.direction).lane(wish.script.version, began);
        let rest = self.deps.scripts.options.wait_limit().saturating_sub(waited);
        let overdue = context.run_later(rest, |actor, context| actor.pass_by(context));
        self.current = Some(Current { wish: wish.clone(), answer: Some(answer), overdue });
        let deps = self.deps.clone();
        let work = async move {
            let source = match source(&deps, wish.script.hash).await {
                Ok(source) => source,
                Err(failure) => return Ran::not(failure),
            };
            let job = Job {
                owner: wish.owner,
                language: wish.script.language,
                hash: wish.script.hash,
                source,
                direction: wish.direction,
                input: wish.input.clone(),
                seed: wish.message_uid.made(wish.owner, 0).0.as_u64_pair().0,
                lane,
            };
            deps.scripts.workers.run(job).await
        };
        context.spawn(work.into_actor(self).map(|ran, actor, context| {
            if let Some(current) = actor.current.take() {
                context.cancel_future(current.overdue);
                actor.finish(current, ran, context);
            }
            actor.next(context);
        }));
    }

    /// A worker has the run for too long: its message goes on, and so do those that wait behind it. What the run comes
    /// to is still held against the script.
    fn pass_by(&mut self, context: &mut Context<Self>) {
        let Some(current) = &mut self.current else { return };
        let (wish, answer) = (current.wish.clone(), current.answer.take());
        let first = answer.map(|answer| Run { wish, answer });
        for run in first.into_iter().chain(std::mem::take(&mut self.waiting)).collect::<Vec<_>>() {
            let effects = self.overdue();
            self.go_on(run, effects, context);
        }
    }

    /// A message goes on without a run.
    fn go_on(&mut self, run: Run, effects: Effects, context: &mut Context<Self>) {
        let Verdict::Failed(failure) = effects.verdict else {
            // Whoever waits no longer is none the worse.
            let _ = run.answer.send(effects);
            return;
        };
        let (wish, answer, overdue) = (run.wish, Some(run.answer), SpawnHandle::default());
        self.finish(Current { wish, answer, overdue }, Ran::not(failure), context);
    }

    fn finish(&mut self, current: Current, mut ran: Ran, context: &mut Context<Self>) {
        let Current { wish, answer, .. } = current;
        if self.deps.closing.load(Ordering::Acquire) && unavailable(&ran) {
            // Unanswered, the record is not finished: it is done again, with its script, after a restart.
            return std::mem::forget(answer);
        }
        let prints = std::mem::take(&mut ran.prints);
        let mut effects = match std::mem::replace(&mut ran.outcome, Err(Failure::new(FailureKind::Error, "taken"))) {
            Ok(wanted) => Effects::of(&wish.input, wanted, &self.deps.scripts.effect_limits),
            Err(failure) => Effects::failed(failure),
        };
        if answer.is_none() {
            effects.replies.clear();
        }
        let too_many = self.sends_too_much(&wish, &mut effects);
        let now = monotonic();
        self.last_used = now;
        count(&wish, &effects);
        let deps = self.deps.clone();
        let standing = self.standing(wish.direction);
        let conduct = deps.scripts.options.conduct(wish.script.language);
        let off = standing.note(&ran, &effects.verdict, now, &conduct);
        match standing.proven() {
            Some(version) => deps.proven.insert((self.owner, wish.direction), version),
            None => _ = deps.proven.remove(&(self.owner, wish.direction)),
        }
        let before = self.deps.scripts.stats.note(self.owner, wish.direction, &ran, &effects);
        let failed = matches!(effects.verdict, Verdict::Failed(_));
        let worth_telling = failed
            || effects.verdict == Verdict::Drop
            || !effects.replies.is_empty()
            || !effects.unanswered.is_empty()
            || !prints.lines.is_empty();
        // Nothing comes of one that is too late, so nothing is said of it but why.
        if failed || answer.is_some() && (before < LOGGED_RUNS || worth_telling) {
            let mut details = details(&effects, &ran, prints.lines, prints.cut);
            if too_many {
                details.reason = Some("rate_limited".to_owned());
                details.detail =
                    Some("its replies were not sent: for long it may send no more than you may yourself".to_owned());
            }
            self.log(&wish, effects.verdict.name(), details);
        }
        if let Verdict::Failed(failure) = &effects.verdict
            && self.may_tell(failure.kind, now)
        {
            self.tell_owner(&wish, failure.kind.name(), &failure.detail, failure.line);
        }
        if let Some(off) = off {
            self.switch_off(&wish, off, context);
        }
        if let Some(answer) = answer {
            // The stage is gone only when the node is; the record is then done again.
            let _ = answer.send(effects);
        }
    }

    /// How a script has behaved, as far as that is known.
    fn standing(&mut self, direction: Direction) -> &mut Standing {
        let proven = self.deps.proven.get(&(self.owner, direction));
        self.record.entry(direction).or_insert_with(|| proven.map_or_else(Standing::default, Standing::proven_before))
    }

    /// Takes the replies away when the owner's scripts have sent as much as their owner may.
    fn sends_too_much(&mut self, wish: &Wish, effects: &mut Effects) -> bool {
        // By the time of the message: what is done again after a crash comes to the same, however fast it comes.
        let fine = self.sent.take(effects.replies.len(), wish.input.sent_at, self.deps.replies);
        if !fine {
            crate::metrics::script_replies_refused(effects.replies.len() as u64);
            effects.unanswered = std::mem::take(&mut effects.replies);
        }
        !fine
    }

    /// What is not the script's fault happens to every message: its owner is told now and then, and the log has it.
    fn may_tell(&mut self, kind: FailureKind, now: Instant) -> bool {
        if kind.is_the_scripts() {
            return true;
        }
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_AGAIN);
        if due {
            self.told = Some(now);
        }
        due
    }

    fn log(&self, wish: &Wish, verdict: &'static str, details: Details) {
        self.deps.log.note(LogEntry {
            user_id: self.owner,
            source: wish.direction.into(),
            at: self.deps.clock.now(),
            version: Some(wish.script.version),
            message_uid: Some(wish.message_uid),
            verdict,
            details,
        });
    }

    fn tell_owner(&self, wish: &Wish, reason: &str, detail: &str, line: Option<u32>) {
        let frame = ServerFrame::ScriptFailed {
            direction: wish.direction,
            version: wish.script.version,
            message_uid: wish.message_uid,
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            line,
        };
        self.deps.bridge.try_tell(vec![self.owner], &frame, FrameKind::ScriptFailed);
    }

    /// From now on, for what waits here already; in the tables, for everybody, as soon as they can be written.
    fn switch_off(&mut self, wish: &Wish, off: SwitchOff, context: &mut Context<Self>) {
        let ActiveScript { version, .. } = wish.script;
        self.off.insert(wish.direction, version);
        let conduct = self.deps.scripts.options.conduct(wish.script.language);
        self.record.entry(wish.direction).or_default().switched_off(&conduct);
        crate::metrics::script_switched_off(off.code);
        tracing::warn!(user_id = %self.owner, direction = %wish.direction, version, reason = off.code, "a script is switched off");
        let details =
            Details { reason: Some(off.code.to_owned()), detail: Some(off.detail.clone()), ..Details::default() };
        self.log(wish, SWITCHED_OFF, details);
        self.tell_owner(wish, SWITCHED_OFF, &off.detail, None);
        let (owner, direction, deps) = (self.owner, wish.direction, self.deps.clone());
        let reason = format!("{}: {}", off.code, off.detail);
        let work = async move {
            for _ in 0..ATTEMPTS {
                match deps.store.switch_script_off(owner, direction, version, &reason, deps.clock.now()).await {
                    Ok(_) => return deps.scripts.automation.changed(owner),
                    Err(error) => tracing::warn!(%error, user_id = %owner, "a script cannot be switched off yet"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        // A task of its own: it must not end with the runner.
        let task = actix::spawn(work);
        context.spawn(task.into_actor(self).map(move |_, actor, _| {
            // If somebody activates it again, it is run again.
            actor.off.remove(&direction);
        }));
    }

    /// Looks again when it could next have been idle for long enough.
    fn sleep_when_idle(&self, context: &mut Context<Self>) {
        let idle = Duration::from_secs(self.deps.scripts.options.idle_seconds);
        let rest = (self.last_used + idle).saturating_duration_since(monotonic());
        context.run_later(rest.max(Duration::from_millis(10)), move |actor, context| {
            let idle_now = actor.current.is_none() && actor.waiting.is_empty() && actor.off.is_empty();
            if !idle_now || monotonic().saturating_duration_since(actor.last_used) < idle {
                return actor.sleep_when_idle(context);
            }
            let record = std::mem::take(&mut actor.record);
            let asleep = Asleep { owner: actor.owner, runner: context.address(), record };
            match tell(&actor.directory, "runners", asleep) {
                Told::Yes | Told::Gone => context.stop(),
                // What is held against the script is forgotten, nothing else: it was taken with the message.
                Told::Full => actor.sleep_when_idle(context),
            }
        });
    }
}

fn overloaded(detail: String) -> Effects {
    Effects::failed(Failure::new(FailureKind::Overloaded, detail))
}

fn unavailable(ran: &Ran) -> bool {
    ran.outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Unavailable)
}

async fn source(deps: &RunnerDeps, hash: SourceHash) -> Result<Arc<str>, Failure> {
    if let Some(source) = deps.sources.get(&hash) {
        return Ok(source);
    }
    let unreadable = || Failure::new(FailureKind::Unavailable, "the script's source cannot be read now");
    // A store that does not answer is not waited for by every message.
    if deps.unreadable.get(&hash).is_some_and(|at| monotonic().saturating_duration_since(at) < READ_AGAIN) {
        return Err(unreadable());
    }
    match deps.scripts.sources.get(hash).await {
        Ok(source) => {
            deps.sources.insert(hash, source.clone());
            Ok(source)
        }
        Err(error) => {
            tracing::error!(%error, "the source of a script cannot be read; its message goes on without it");
            deps.unreadable.insert(hash, monotonic());
            Err(unreadable())
        }
    }
}

fn count(wish: &Wish, effects: &Effects) {
    crate::metrics::script_run(wish.direction.name(), effects.verdict.name());
    crate::metrics::script_replies(effects.replies.len() as u64);
    if let Verdict::Failed(failure) = &effects.verdict {
        crate::metrics::script_failed(wish.direction.name(), failure.kind.name());
    }
}

fn details(effects: &Effects, ran: &Ran, prints: Vec<String>, prints_cut: bool) -> Details {
    let failure = match &effects.verdict {
        Verdict::Failed(failure) => Some(failure),
        Verdict::Forward | Verdict::Drop | Verdict::Edited(_) => None,
    };
    Details {
        reason: failure.map(|failure| failure.kind.name().to_owned()),
        detail: failure.map(|failure| failure.detail.clone()),
        line: failure.and_then(|failure| failure.line),
        prints,
        prints_cut,
        replies: effects.replies.clone(),
        unanswered: effects.unanswered.clone(),
        cpu_micros: Some(ran.cpu_micros),
        wall_micros: Some(ran.wall_micros),
        heap_bytes: Some(ran.heap_bytes),
    }
}

impl Actor for Runner {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // What waits is bounded in the handler, where it can be answered.
        context.set_mailbox_capacity(self.deps.scripts.options.waiting);
        self.sleep_when_idle(context);
    }
}

impl Handler<Run> for Runner {
    type Result = ();

    fn handle(&mut self, run: Run, context: &mut Self::Context) {
        let most = self.deps.scripts.options.waiting;
        if self.off.get(&run.wish.direction) != Some(&run.wish.script.version) && self.waiting.len() >= most {
            let effects =
                overloaded(format!("{most} messages wait for this script already: this one goes on without it"));
            return self.go_on(run, effects, context);
        }
        self.waiting.push_back(run);
        if self.current.as_ref().is_some_and(|current| current.answer.is_none()) {
            return self.pass_by(context);
        }
        self.next(context);
    }
}
