//! Runs one user's scripts: one message after the other, within that user's limits, whatever the script does.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use super::outbox::monotonic;
use super::registry::{Registry, Tell};
use super::runners::{Asleep, Runners};
use super::tell::{Told, tell};
use crate::automation::ActiveScript;
use crate::automation::log::{AutomationLog, Details, LogEntry};
use crate::clock::Clock;
use crate::ids::UserId;
use crate::pipeline::scripted::Wish;
use crate::protocol::frames::ServerFrame;
use crate::script::Scripts;
use crate::script::call::{Direction, Failure, FailureKind, Ran, SourceHash};
use crate::script::effects::{EffectLimits, Effects, Verdict};
use crate::script::pool::Job;
use crate::script::standing::{Standing, SwitchOff};
use crate::store::Store;

/// The first runs of a script since the node started, all of which are logged; later ones only when there is something
/// to say.
const LOGGED_RUNS: u64 = 20;
/// Bytes of sources that are kept in memory.
const SOURCES_BYTES: u64 = 64 * 1024 * 1024;
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
    pub wish: Wish,
    /// When it was wished for.
    pub since: Instant,
    /// Who waits. When this is dropped unanswered, the runner has gone to sleep: ask again.
    pub answer: oneshot::Sender<Effects>,
}

/// How a user's two scripts have behaved.
pub type Record = HashMap<Direction, Standing>;

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

/// What all runners of a node share.
pub struct RunnerDeps {
    /// Workers, sources, settings, figures.
    pub scripts: Scripts,
    /// Sources lately used.
    pub sources: Cache<SourceHash, Arc<str>, Bytes>,
    /// What comes of a run at most.
    pub limits: EffectLimits,
    /// What happened, for the owner.
    pub log: AutomationLog,
    /// Where scripts are switched off.
    pub store: Store,
    /// Where the owner's sessions are.
    pub registry: Addr<Registry>,
    /// The time of day.
    pub clock: Clock,
}

/// The actor. One for each user whose script had something to do lately.
pub struct Runner {
    owner: UserId,
    deps: Arc<RunnerDeps>,
    directory: Addr<Runners>,
    waiting: VecDeque<Run>,
    running: bool,
    record: Record,
    /// Switched off by the server: these wait for nothing any more.
    off: HashMap<Direction, u32>,
    last_used: Instant,
}

impl Runner {
    /// A runner for `owner`, of whose scripts `record` is known. It tells `directory` when it goes to sleep.
    #[must_use]
    pub fn new(owner: UserId, deps: Arc<RunnerDeps>, directory: Addr<Runners>, record: Record) -> Self {
        let (waiting, off) = (VecDeque::new(), HashMap::new());
        Self { owner, deps, directory, waiting, running: false, record, off, last_used: monotonic() }
    }

    fn next(&mut self, context: &mut Context<Self>) {
        while !self.running {
            let Some(run) = self.waiting.pop_front() else { return };
            let (direction, script) = (run.wish.direction, run.wish.script);
            if self.off.get(&direction) == Some(&script.version) {
                let forward = Effects { verdict: Verdict::Forward, replies: Vec::new(), unanswered: Vec::new() };
                // Whoever waits no longer is none the worse.
                let _ = run.answer.send(forward);
                continue;
            }
            self.running = true;
            let began = monotonic();
            crate::metrics::script_wait(began.saturating_duration_since(run.since).as_secs_f64());
            let lane = self.record.entry(direction).or_default().lane(script.version, began);
            let deps = self.deps.clone();
            let work = async move {
                let source = match source(&deps, script.hash).await {
                    Ok(source) => source,
                    Err(failure) => return (run, Ran::not(failure)),
                };
                let seed = run.wish.message_uid.made(run.wish.owner, 0).0.as_u64_pair().0;
                let job = Job {
                    owner: run.wish.owner,
                    language: script.language,
                    hash: script.hash,
                    source,
                    direction,
                    input: run.wish.input.clone(),
                    seed,
                    lane,
                };
                let ran = deps.scripts.workers.run(job).await;
                (run, ran)
            };
            context.spawn(work.into_actor(self).map(|(run, ran), actor, context| {
                actor.running = false;
                actor.finish(run, ran, context);
                actor.next(context);
            }));
        }
    }

    fn finish(&mut self, run: Run, mut ran: Ran, context: &mut Context<Self>) {
        let Run { wish, answer, .. } = run;
        let prints = std::mem::take(&mut ran.prints);
        let effects = match std::mem::replace(&mut ran.outcome, Err(Failure::new(FailureKind::Error, "taken"))) {
            Ok(wanted) => Effects::of(&wish.input, wanted, &self.deps.limits),
            Err(failure) => Effects::failed(failure),
        };
        let now = monotonic();
        self.last_used = now;
        count(&wish, &effects);
        let standing = self.record.entry(wish.direction).or_default();
        let off = standing.note(&ran, &effects.verdict, now, &self.deps.scripts.options);
        let before = self.deps.scripts.stats.note(self.owner, wish.direction, &ran, &effects);
        let worth_telling = !matches!(effects.verdict, Verdict::Forward | Verdict::Edited(_))
            || !effects.replies.is_empty()
            || !effects.unanswered.is_empty()
            || !prints.lines.is_empty();
        if before < LOGGED_RUNS || worth_telling {
            self.log(&wish, effects.verdict.name(), details(&effects, &ran, prints.lines, prints.cut));
        }
        if let Verdict::Failed(failure) = &effects.verdict {
            self.tell_owner(&wish, failure.kind.name(), &failure.detail, failure.line);
        }
        if let Some(off) = off {
            self.switch_off(&wish, off, context);
        }
        // The stage is gone only when the node is; the record is then done again.
        let _ = answer.send(effects);
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
        tell(&self.deps.registry, "registry", Tell { users: vec![self.owner], frame, kind: "scriptFailed" });
    }

    /// From now on, for what waits here already; in the tables, for everybody, as soon as they can be written.
    fn switch_off(&mut self, wish: &Wish, off: SwitchOff, context: &mut Context<Self>) {
        let ActiveScript { version, .. } = wish.script;
        self.off.insert(wish.direction, version);
        crate::metrics::script_switched_off(off.code);
        tracing::warn!(user_id = %self.owner, direction = %wish.direction, version, reason = off.code, "a script is switched off");
        let details =
            Details { reason: Some(off.code.to_owned()), detail: Some(off.detail.clone()), ..Details::default() };
        self.log(wish, "switched_off", details);
        self.tell_owner(wish, "switched_off", &off.detail, None);
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
            actor.record.remove(&direction);
        }));
    }

    /// Looks again when it could next have been idle for long enough.
    fn sleep_when_idle(&self, context: &mut Context<Self>) {
        let idle = Duration::from_secs(self.deps.scripts.options.idle_seconds);
        let rest = (self.last_used + idle).saturating_duration_since(monotonic());
        context.run_later(rest.max(Duration::from_millis(10)), move |actor, context| {
            let idle_now = !actor.running && actor.waiting.is_empty() && actor.off.is_empty();
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

async fn source(deps: &RunnerDeps, hash: SourceHash) -> Result<Arc<str>, Failure> {
    if let Some(source) = deps.sources.get(&hash) {
        return Ok(source);
    }
    match deps.scripts.sources.get(hash).await {
        Ok(source) => {
            deps.sources.insert(hash, source.clone());
            Ok(source)
        }
        Err(error) => {
            tracing::error!(%error, "the source of a script cannot be read; its message goes on without it");
            Err(Failure::new(FailureKind::Unavailable, "the script's source cannot be read now"))
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
        if self.waiting.len() >= self.deps.scripts.options.waiting {
            let most = self.deps.scripts.options.waiting;
            let detail = format!("{most} messages wait for this script already: this one goes on without it");
            return self.finish(run, Ran::not(Failure::new(FailureKind::Overloaded, detail)), context);
        }
        self.waiting.push_back(run);
        self.next(context);
    }
}
