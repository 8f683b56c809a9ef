//! One running process: brings up the bus, the stages and the singletons, watches over them, and takes them down.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{Notify, Semaphore};

use self::accounts::{hint_others, watch_accounts};
use self::balance::keep_balance;
use self::handle::{QueueLimits, Shared, StoreCheck};
use self::opening::Opened;
use super::bridge::Bridge;
use super::busy::BusyCount;
use super::catch_up::keep_catching_up;
use super::control::Listener;
use super::left_behind;
use super::presence::{Bridged, Presence};
use super::prune::prune;
use super::registry::Registry;
use super::runner::{self, RunnerDeps};
use super::runners::{ByRunners, Runners};
use super::session::SessionDeps;
use crate::accounts::Accounts;
use crate::automation::Automation;
use crate::automation::log::AutomationLog;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::config::{Config, GATEWAY};
use crate::http::{ScriptRequests, State, TrustedProxies};
use crate::intake::Intake;
use crate::pipeline::bridge::{BridgeLink, Order};
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
mod balance;
mod handle;
mod leaving;
mod opening;
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
        let opened = if config.is_cluster() {
            opening::cluster(&config, startup, &clock).await?
        } else {
            opening::embedded(&config, &clock).await?
        };
        let store = opened.store.clone();
        let started = Self::start_on(opened, config, catalogue, clock).await;
        match &started {
            Ok(node) => {
                node.take_seat(startup).await;
                startup.done(node.handle());
            }
            // Else its files would stay beside the database.
            Err(_) => store.close().await,
        }
        started
    }

    async fn start_on(opened: Opened, config: Config, catalogue: &Catalogue, clock: Clock) -> Result<Self, Error> {
        let Opened { store, bus, others, keys, lock } = opened;
        let accounts = Accounts::new(store.clone(), clock.clone(), keys, &config.accounts)?;
        let trusted_proxies = TrustedProxies::parse(&config.trusted_proxies)?;
        let (draining, stop, look) =
            (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (registry, bridge) = introduce(&store, others, draining.clone(), stop.clone(), look.clone()).await;

        let topic = |name: &String| Topic::from(format!("{}.{name}", config.topic_prefix).as_str());
        let pipeline: Vec<Topic> = config.pipeline.iter().map(topic).collect();
        let mut intake = Intake::new(bus.clone(), store.clone(), clock.clone(), config.session.clone(), pipeline);
        if let Some(cluster) = bridge.cluster() {
            accounts.count_everywhere(cluster.rates().clone());
            intake = intake.count_everywhere(cluster.rates().clone());
        }
        let deps = Arc::new(SessionDeps {
            registry: registry.clone(),
            bridge: bridge.clone(),
            intake,
            store: store.clone(),
            accounts: accounts.clone(),
            clock: clock.clone(),
            options: config.session.clone(),
            draining: draining.clone(),
            busy: BusyCount::default(),
        });
        let log = AutomationLog::start(store.clone(), config.scripts.log_entries);
        let scripts = start_scripts(&config, Automation::new(store.clone())).await?;
        let closing = Arc::new(AtomicBool::new(false));
        let runner = RunnerDeps {
            sources: runner::memory(),
            proven: runner::proven(),
            unreadable: runner::unreadable(),
            replies: reply_rate(&config),
            closing: closing.clone(),
            scripts: scripts.clone(),
            log: log.clone(),
            store: store.clone(),
            bridge: bridge.clone(),
            clock: clock.clone(),
        };
        let runs = Arc::new(ByRunners(Runners::new(Arc::new(runner)).start()));
        let handle = NodeHandle(Arc::new(Shared {
            started_at: clock.now(),
            stages: config.stages.clone(),
            registry,
            store: store.clone(),
            bus: bus.clone(),
            bridge,
            draining,
            stop,
            failed: Notify::new(),
            window: Arc::new(Semaphore::new(config.in_flight)),
            accounts: accounts.clone(),
            limits: QueueLimits { in_flight: config.in_flight, unfinished_bytes: config.bus.unfinished_bytes },
            store_check: StoreCheck::default(),
        }));
        let script_requests = ScriptRequests::new(config.scripts.requests_per_minute, &clock);
        let state =
            State { accounts, store: store.clone(), clock: clock.clone(), scripts, script_requests, trusted_proxies };
        let node = Self { handle, store, bus, deps, state, log, runs, closing, config, _lock: lock };
        node.start_stages(catalogue, &clock);
        node.start_watches(&clock, look).await?;
        Ok(node)
    }

    /// What looks at the tables, the control topics and the other nodes, for as long as the node lives.
    async fn start_watches(&self, clock: &Clock, look: Arc<Notify>) -> Result<(), Error> {
        let automation = self.state.scripts.automation.clone();
        let listener = Listener {
            bus: self.bus.clone(),
            store: self.store.clone(),
            automation: automation.clone(),
            clock: clock.clone(),
            max_message_bytes: self.config.session.max_message_bytes,
        };
        listener.start(&self.config.topic_prefix);
        let (store, bridge) = (&self.store, &self.deps.bridge);
        actix::spawn(watch_accounts(self.handle(), automation, look, store.last_account_event_id().await?));
        actix::spawn(prune(store.clone(), clock.clone()));
        if let Some(cluster) = bridge.cluster() {
            actix::spawn(hint_others(store.events_written(), bridge.clone()));
            actix::spawn(keep_balance(self.handle(), cluster.clone(), self.config.cluster.clone()));
            let registry = self.deps.registry.clone();
            actix::spawn(keep_catching_up(store.clone(), registry.clone(), cluster.doubt().clone()));
            actix::spawn(left_behind::keep_looking(cluster.clone(), store.clone(), registry));
        }
        Ok(())
    }

    /// Waits until the others can tell this node of messages: it has a slot, and hears what is sent there.
    async fn take_seat(&self, startup: &Startup) {
        let Some(cluster) = self.deps.bridge.cluster() else { return };
        let mut seats = cluster.seats();
        let how = || Some(cluster.slot_check());
        // Fails only when the cluster is stopped.
        let _ = startup.waiting("a slot", how, seats.wait_for(Option::is_some)).await.map(drop);
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
        if let Some(cluster) = self.deps.bridge.cluster() {
            cluster.stop().await;
        }
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

/// The registry, who tells of comings and goings, and the way to all sessions; with `others`, also to those on other nodes.
async fn introduce(
    store: &Store,
    others: Option<(Cluster, Arc<dyn BridgeLink>)>,
    draining: Arc<AtomicBool>,
    stop: Arc<Notify>,
    look: Arc<Notify>,
) -> (Addr<Registry>, Bridge) {
    let presence = Presence::new(store.clone()).start();
    let here = others.as_ref().map(|(cluster, _)| cluster.here().clone()).unwrap_or_default();
    let registry = Registry::new(presence.clone(), here, draining).start();
    let bridge = match others {
        Some((cluster, link)) => {
            cluster.start();
            let on_order = move |order| match order {
                Order::Drain => stop.notify_one(),
                Order::LookAtEvents => look.notify_one(),
            };
            Bridge::start(registry.clone(), cluster, link, Arc::new(on_order))
        }
        None => Bridge::alone(registry.clone()),
    };
    if let Some(cluster) = bridge.cluster() {
        actix::spawn(left_behind::keep_telling(cluster.clone(), bridge.clone(), presence.clone()));
    }
    // The way to others is known before the first session is.
    let _ = presence.send(Bridged(bridge.clone())).await;
    (registry, bridge)
}

/// For long, what a user may send; at once, all answers to as many messages as a user may send at once.
fn reply_rate(config: &Config) -> ReplyRate {
    let per_second = config.session.messages_per_second;
    ReplyRate { per_second, burst: config.session.message_burst.saturating_mul(config.scripts.max_replies) }
}

/// The workers and the sources, where the pipeline has scripts.
async fn start_scripts(config: &Config, automation: Automation) -> Result<Scripts, Error> {
    let sources = Sources::open(config.object_store_url.as_deref(), &config.data)?;
    let has = |list: &[String], name: &str| list.iter().any(|stage| stage == name);
    let wanted = [OUTGOING, INCOMING].iter().any(|name| has(&config.pipeline, name));
    // Who takes uploads compiles them.
    let wanted = wanted && [OUTGOING, INCOMING, GATEWAY].iter().any(|name| has(&config.stages, name));
    let workers = if wanted {
        Workers::start(&config.scripts, config.scripts.run_limits(config.session.max_message_bytes))
            .await
            .unwrap_or_else(|failure| Workers::none(&failure.detail))
    } else {
        Workers::none("this node hosts neither `outgoing` nor `incoming`, nor takes uploads")
    };
    let (options, stats) = (config.scripts.clone(), Stats::default());
    let effect_limits = options.effect_limits(config.session.max_message_bytes);
    Ok(Scripts { sources, workers, automation, stats, options, effect_limits })
}
