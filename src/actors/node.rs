//! One running process: brings up the bus, the stages and the singletons, watches over them, and takes them down.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::Notify;

use self::accounts::watch_accounts;
use self::handle::Shared;
use self::opening::Opened;
use super::busy::BusyCount;
use super::control::Listener;
use super::presence::{Presence, Registered};
use super::prune::prune;
use super::registry::Registry;
use super::runner::{self, RunnerDeps};
use super::runners::{ByRunners, Runners};
use super::session::SessionDeps;
use crate::accounts::Accounts;
use crate::automation::Automation;
use crate::automation::log::AutomationLog;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::{ScriptRequests, State, TrustedProxies};
use crate::intake::Intake;
use crate::pipeline::bus::{Bus, Topic};
use crate::pipeline::scripted::RunScripts;
use crate::pipeline::stages::{Catalogue, INCOMING, OUTGOING};
use crate::script::Scripts;
use crate::script::pool::Workers;
use crate::script::sources::Sources;
use crate::script::standing::ReplyRate;
use crate::script::stats::Stats;
use crate::store::Store;

mod accounts;
mod handle;
mod leaving;
mod opening;
#[cfg(test)]
mod shedding;
mod stages;
mod startup;

pub use self::handle::{Checks, NodeHandle};
pub use self::opening::Error;
pub use self::startup::Startup;

/// How long the tables may take to be closed: a transaction may wait for another process's.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A node that is up.
pub struct Node {
    handle: NodeHandle,
    store: Store,
    bus: Arc<dyn Bus>,
    deps: Arc<SessionDeps>,
    state: State,
    log: AutomationLog,
    runs: Arc<dyn RunScripts>,
    /// Told to the runners before the workers end.
    closing: Arc<AtomicBool>,
    config: Config,
    _lock: Option<File>,
}

impl Node {
    /// Brings a node up: a node alone on its data folder, one of many when all that it needs can be reached, which `startup`
    /// tells about meanwhile. What was accepted and not finished is taken up again.
    ///
    /// # Errors
    /// [`Error`] says what to do.
    pub async fn start(config: Config, catalogue: &Catalogue, clock: Clock, startup: &Startup) -> Result<Self, Error> {
        let opened = opening::embedded(&config, &clock).await?;
        let store = opened.store.clone();
        let started = Self::start_on(opened, config, catalogue, clock).await;
        match &started {
            Ok(node) => startup.done(node.handle()),
            // Else its files would stay beside the database.
            Err(_) => store.close().await,
        }
        started
    }

    async fn start_on(opened: Opened, config: Config, catalogue: &Catalogue, clock: Clock) -> Result<Self, Error> {
        let Opened { store, bus, keys, lock } = opened;
        let accounts = Accounts::new(store.clone(), clock.clone(), keys, &config.accounts)?;
        let trusted_proxies = TrustedProxies::parse(&config.trusted_proxies)?;
        let draining = Arc::new(AtomicBool::new(false));
        let presence = Presence::new(store.clone()).start();
        let registry = Registry::new(presence.clone(), draining.clone()).start();
        // The registry's address exists before the first session does.
        let _ = presence.send(Registered(registry.clone())).await;

        let topic = |name: &String| Topic::from(format!("{}.{name}", config.topic_prefix).as_str());
        let pipeline: Vec<Topic> = config.pipeline.iter().map(topic).collect();
        let intake = Intake::new(bus.clone(), store.clone(), clock.clone(), config.session.clone(), pipeline);
        let deps = Arc::new(SessionDeps {
            registry: registry.clone(),
            intake,
            store: store.clone(),
            accounts: accounts.clone(),
            clock: clock.clone(),
            options: config.session.clone(),
            draining: draining.clone(),
            busy: BusyCount::default(),
        });
        let automation = Automation::new(store.clone());
        let log = AutomationLog::start(store.clone(), config.scripts.log_entries);
        let scripts = start_scripts(&config, automation).await?;
        let closing = Arc::new(AtomicBool::new(false));
        let runs = Arc::new(ByRunners(
            Runners::new(Arc::new(RunnerDeps {
                sources: runner::memory(),
                proven: runner::proven(),
                unreadable: runner::unreadable(),
                replies: reply_rate(&config),
                closing: closing.clone(),
                scripts: scripts.clone(),
                log: log.clone(),
                store: store.clone(),
                registry: registry.clone(),
                clock: clock.clone(),
            }))
            .start(),
        ));
        let handle = NodeHandle(Arc::new(Shared {
            started_at: clock.now(),
            stages: config.stages.clone(),
            registry,
            store: store.clone(),
            bus: bus.clone(),
            draining,
            stop: Notify::new(),
            failed: Notify::new(),
        }));
        let script_requests = ScriptRequests::new(config.scripts.requests_per_minute, &clock);
        let state =
            State { accounts, store: store.clone(), clock: clock.clone(), scripts, script_requests, trusted_proxies };
        let node = Self { handle, store, bus, deps, state, log, runs, closing, config, _lock: lock };
        node.start_stages(catalogue, &clock);
        let listener = Listener {
            bus: node.bus.clone(),
            store: node.store.clone(),
            automation: node.state.scripts.automation.clone(),
            clock: clock.clone(),
            max_message_bytes: node.config.session.max_message_bytes,
        };
        listener.start(&node.config.topic_prefix);
        actix::spawn(watch_accounts(node.handle.clone(), node.store.last_account_event_id().await?));
        actix::spawn(prune(node.store.clone(), clock));
        Ok(node)
    }

    /// Whether there are others who can take its clients.
    #[must_use]
    pub fn is_one_of_many(&self) -> bool {
        self.config.is_cluster()
    }

    /// The bus, for whoever publishes what no user sends.
    #[must_use]
    pub fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    /// What the HTTP side needs.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// What sessions share.
    #[must_use]
    pub fn session_deps(&self) -> Arc<SessionDeps> {
        self.deps.clone()
    }

    /// What handlers share.
    #[must_use]
    pub fn http_state(&self) -> State {
        self.state.clone()
    }

    /// Makes everything durable and closes the files.
    pub async fn close(self) {
        self.bus.close().await;
        self.closing.store(true, Ordering::Release);
        self.state.scripts.workers.stop().await;
        if tokio::time::timeout(CLOSE_LIMIT, self.log.flush()).await.is_err() {
            tracing::warn!("what automation did last is not in its owners' logs: the tables take no writes");
        }
        if tokio::time::timeout(CLOSE_LIMIT, self.store.close()).await.is_err() {
            tracing::warn!("another process holds the tables; what was accepted is on the bus");
        }
    }
}

/// For long, what a user may send; at once, all answers to as many messages as a user may send at once.
fn reply_rate(config: &Config) -> ReplyRate {
    let per_second = config.session.messages_per_second;
    ReplyRate { per_second, burst: config.session.message_burst.saturating_mul(config.scripts.max_replies) }
}

/// The workers and the sources, where the pipeline has scripts.
async fn start_scripts(config: &Config, automation: Automation) -> Result<Scripts, Error> {
    let sources = Sources::open(config.object_store_url.as_deref(), &config.data)?;
    let wanted = [OUTGOING, INCOMING].iter().any(|name| config.pipeline.iter().any(|stage| stage == name));
    let workers = if wanted {
        Workers::start(&config.scripts, config.scripts.run_limits(config.session.max_message_bytes))
            .await
            .unwrap_or_else(|failure| Workers::none(&failure.detail))
    } else {
        Workers::none("the pipeline has neither `outgoing` nor `incoming`")
    };
    let (options, stats) = (config.scripts.clone(), Stats::default());
    let effect_limits = options.effect_limits(config.session.max_message_bytes);
    Ok(Scripts { sources, workers, automation, stats, options, effect_limits })
}
