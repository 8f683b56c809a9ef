//! Finds the runner of a user, makes it when there is none, and remembers what is held against whom while it sleeps.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::runner::{Record, Run, Runner, RunnerDeps};
use super::tell::{Told, tell};
use crate::ids::UserId;
use crate::pipeline::scripted::{RunScripts, Wish};
use crate::script::call::{Failure, FailureKind};
use crate::script::effects::Effects;
use crate::script::standing::Standing;

/// Runs that wait here at most; whoever brings more waits for room.
pub const MAILBOX: usize = 4096;
/// Sleeping users of whom something bad is remembered. When there are more, all of it is forgotten.
const REMEMBERED: usize = 10_000;
/// Time before a run whose runner had gone to sleep is asked for again.
const AGAIN: Duration = Duration::from_millis(1);

/// A runner goes to sleep; sent by itself. When the mailbox is full, it stays awake a while longer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Asleep {
    /// Whose it is.
    pub owner: UserId,
    /// Itself.
    pub runner: Addr<Runner>,
    /// How the scripts have behaved.
    pub record: Record,
}

/// The actor. One a node.
pub struct Runners {
    deps: Arc<RunnerDeps>,
    awake: HashMap<UserId, Addr<Runner>>,
    records: HashMap<UserId, Record>,
}

impl Runners {
    /// A directory with nobody awake.
    #[must_use]
    pub fn new(deps: Arc<RunnerDeps>) -> Self {
        Self { deps, awake: HashMap::new(), records: HashMap::new() }
    }
}

impl Actor for Runners {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Run> for Runners {
    type Result = ();

    fn handle(&mut self, run: Run, context: &mut Self::Context) {
        let owner = run.wish.owner;
        let asleep = self.awake.get(&owner).is_none_or(|runner| !runner.connected());
        if asleep {
            let record = self.records.remove(&owner).unwrap_or_default();
            let runner = Runner::new(owner, self.deps.clone(), context.address(), record).start();
            self.awake.insert(owner, runner);
            crate::metrics::runners(self.awake.len() as f64);
        }
        let Some(runner) = self.awake.get(&owner) else { return };
        // When it has no room, or has just gone to sleep, the run is dropped with its answer: see `run` below.
        if tell(runner, "runner", run) == Told::Gone {
            self.awake.remove(&owner);
        }
    }
}

impl Handler<Asleep> for Runners {
    type Result = ();

    fn handle(&mut self, asleep: Asleep, _: &mut Self::Context) {
        let Asleep { owner, runner, mut record } = asleep;
        if self.awake.get(&owner) != Some(&runner) {
            return;
        }
        self.awake.remove(&owner);
        crate::metrics::runners(self.awake.len() as f64);
        record.retain(|_, standing: &mut Standing| standing.is_bad());
        if !record.is_empty() {
            if self.records.len() >= REMEMBERED {
                self.records.clear();
            }
            self.records.insert(owner, record);
        }
    }
}

/// The way to the directory, as stages know it.
pub struct ByRunners(pub Addr<Runners>);

impl RunScripts for ByRunners {
    fn run(&self, wish: Wish) -> BoxFuture<'static, Effects> {
        let runners = self.0.clone();
        async move {
            let wish = Arc::new(wish);
            loop {
                let (answer, answered) = oneshot::channel();
                let run = Run { wish: wish.clone(), answer };
                if runners.send(run).await.is_err() {
                    return Effects::failed(Failure::new(FailureKind::Unavailable, "this node stops"));
                }
                match answered.await {
                    Ok(effects) => return effects,
                    // Its runner had just gone to sleep, or had no room: the next one wakes, or room comes.
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            }
        }
        .boxed()
    }
}
