//! One running process: brings up the bus, the stages and the singletons, watches over them, and takes them down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::busy::BusyCount;
use super::control::Listener;
use super::feeder::{self, Job};
use super::presence::{Presence, Registered};
use super::prune::prune;
use super::registry::{Count, End, Registry, SpreadReconnect};
use super::router::Router;
use super::runner::{self, RunnerDeps};
use super::runners::{ByRunners, Runners};
use super::session::SessionDeps;
use super::stage::{Hops, StageActor};
use crate::accounts::{Accounts, Keys};
use crate::automation::Automation;
use crate::automation::log::AutomationLog;
use crate::clock::Clock;
use crate::config::{Config, GATEWAY};
use crate::http::{ScriptRequests, State, TrustedProxies};
use crate::intake::Intake;
use crate::pipeline::auto_reply::AutoReplyStage;
use crate::pipeline::bus::{Bus, Topic};
use crate::pipeline::embedded::{self, EmbeddedBus};
use crate::pipeline::made::MadeRoute;
use crate::pipeline::scripted::{RunScripts, Scripted};
use crate::pipeline::stages::{Catalogue, INCOMING, Kind, OUTGOING};
use crate::protocol::close::Close;
use crate::script::Scripts;
use crate::script::pool::Workers;
use crate::script::sources::{self, Sources};
use crate::script::standing::ReplyRate;
use crate::script::stats::Stats;
use crate::store::account_events::Change;
use crate::store::{self, Store};

/// How often the node looks what other processes did to accounts.
const POLL: Duration = Duration::from_millis(500);
/// Time before a stage that died is started anew.
const RESTART: Duration = Duration::from_millis(500);
/// Time between two looks whether stopping is done.
const STEP: Duration = Duration::from_millis(20);
/// How long the last frames and answers may take.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long the tables may take to be closed: a transaction may wait for another process's.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Account events that are read at once.
const EVENTS: u32 = 1_000;

/// Why a node could not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be used.
    #[error(
        "the data folder {path} cannot be used: {source}; is it writable for this user, and is there room on the disk?"
    )]
    Folder {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder is a file.
    #[error("{0} is a file and not a folder: name another one with --data")]
    NoFolder(String),
    /// Another process has it.
    #[error("the data folder {0} is in use by another Parlor: stop that one, or choose another folder with --data")]
    InUse(String),
    /// The tables cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The bus cannot be used.
    #[error(transparent)]
    Bus(#[from] embedded::Error),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] crate::accounts::keys::Error),
    /// Accounts cannot be had.
    #[error(transparent)]
    Accounts(#[from] crate::accounts::Error),
    /// The sources of scripts cannot be had.
    #[error(transparent)]
    Sources(#[from] sources::Error),
    /// A proxy's address cannot be read.
    #[error("settings: trusted_proxies: {0}")]
    Proxies(#[from] crate::http::client_address::Error),
}

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
    _lock: File,
}

/// What the HTTP side knows of its node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle(Arc<Shared>);

struct Shared {
    started_at: DateTime<Utc>,
    stages: Vec<String>,
    registry: Addr<Registry>,
    store: Store,
    bus: Arc<dyn Bus>,
    draining: Arc<AtomicBool>,
    stop: Notify,
    failed: Notify,
}

impl NodeHandle {
    /// The node's name.
    #[must_use]
    pub fn id(&self) -> &str {
        "0"
    }

    /// When it was started.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    /// What it hosts.
    #[must_use]
    pub fn stages(&self) -> &[String] {
        &self.0.stages
    }

    /// Whether it is about to stop.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Live websockets.
    pub async fn sessions(&self) -> usize {
        self.0.registry.send(Count).await.unwrap_or_default()
    }

    /// Has the node drain and stop.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    /// Resolves when somebody asked the node to stop.
    pub async fn asked_to_stop(&self) {
        self.0.stop.notified().await;
    }

    /// Resolves when the node can only be restarted.
    pub async fn failed(&self) -> Arc<str> {
        tokio::select! {
            reason = self.0.bus.failed() => reason,
            () = self.0.failed.notified() => "the registry is gone".into(),
        }
    }

    /// What stands for and against being ready, `ok` or in words.
    pub async fn checks(&self) -> BTreeMap<&'static str, String> {
        let mut checks = BTreeMap::new();
        let said = |ok: bool, otherwise: &str| if ok { "ok".to_owned() } else { otherwise.to_owned() };
        let store = self.0.store.ping().await.map_err(|error| error.to_string());
        let store = store.and_then(|()| self.0.store.refusal().map_or(Ok(()), Err));
        checks.insert("store", store.map_or_else(|error| error, |()| "ok".to_owned()));
        checks.insert("bus", self.0.bus.health().map_or_else(|why| why.to_string(), |()| "ok".to_owned()));
        checks.insert("draining", said(!self.draining(), "this node is about to stop"));
        checks
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        self.0.bus.measure();
    }
}

impl Node {
    /// Brings a node up on its data folder. What was accepted and not finished is taken up again.
    ///
    /// # Errors
    /// [`Error`] says what to do.
    pub async fn start(config: Config, catalogue: &Catalogue, clock: Clock) -> Result<Self, Error> {
        let folder = &config.data;
        let lock = lock(folder)?;
        let store = match &config.database_url {
            Some(url) => Store::connect(url, &config.database).await?,
            None => Store::open(folder).await?,
        };
        let started = Self::start_with(store.clone(), lock, config, catalogue, clock).await;
        if started.is_err() {
            // Else its files would stay beside the database.
            store.close().await;
        }
        started
    }

    async fn start_with(
        store: Store,
        lock: File,
        config: Config,
        catalogue: &Catalogue,
        clock: Clock,
    ) -> Result<Self, Error> {
        let folder = &config.data;
        // Before anything is remembered of what an event may change.
        let seen = store.last_account_event_id().await?;
        let keys = match &config.jwt_keys {
            Some(setting) => Keys::parse(setting)?,
            None => Keys::load_or_create(folder)?,
        };
        let accounts = Accounts::new(store.clone(), clock.clone(), keys, &config.accounts)?;
        let trusted_proxies = TrustedProxies::parse(&config.trusted_proxies)?;
        let (bus_folder, options, bus_clock) = (folder.join("bus"), config.bus.clone(), clock.clone());
        let opened = tokio::task::spawn_blocking(move || EmbeddedBus::open(&bus_folder, &options, bus_clock));
        let bus = opened.await.map_err(|error| Error::Folder {
            path: folder.display().to_string(),
            source: std::io::Error::other(error),
        })??;
        let bus: Arc<dyn Bus> = Arc::new(bus);

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
        actix::spawn(watch_accounts(node.handle.clone(), node.state.scripts.automation.clone(), seen));
        actix::spawn(prune(node.store.clone(), clock));
        Ok(node)
    }

    /// A channel, an actor and a feeder for each hosted stage. Every channel has room for all records in flight, so
    /// that no hop ever waits and no order of stages can lock up.
    fn start_stages(&self, catalogue: &Catalogue, clock: &Clock) {
        let server = &self.config;
        let window = Arc::new(Semaphore::new(server.in_flight));
        let mut here = HashMap::new();
        let mut ends = Vec::new();
        for name in server.stages.iter().filter(|name| *name != GATEWAY) {
            let Some(kind) = catalogue.get(name) else { continue };
            let topic = Topic::from(format!("{}.{name}", server.topic_prefix).as_str());
            let (sender, jobs) = mpsc::channel(server.in_flight.max(1));
            here.insert(topic.clone(), sender);
            ends.push((topic, kind.clone(), jobs));
        }
        let bus: Arc<dyn Bus> = self.bus.clone();
        let topic = |name: &str| Topic::from(format!("{}.{name}", server.topic_prefix).as_str());
        let pipeline: Vec<Topic> = server.pipeline.iter().map(|name| topic(name)).collect();
        let route = MadeRoute::new(&pipeline, &topic(OUTGOING));
        let hops = Arc::new(Hops { bus: bus.clone(), here, elsewhere: HashSet::new() });
        for (topic, kind, jobs) in ends {
            match kind {
                Kind::Router => {
                    let (store, registry) = (self.store.clone(), self.handle.0.registry.clone());
                    Router::new(store, registry, clock.clone(), hops.clone(), jobs).start();
                }
                Kind::Each(stage) => {
                    StageActor::new(stage, hops.clone(), jobs).start();
                }
                Kind::AutoReply => {
                    let (automation, log) = (self.state.scripts.automation.clone(), self.log.clone());
                    let (store, clock, route) = (self.store.clone(), clock.clone(), route.clone());
                    let max_bytes = server.session.max_message_bytes;
                    let stage = AutoReplyStage::new(automation, log, store, clock, route, max_bytes);
                    StageActor::new(Arc::new(stage), hops.clone(), jobs).start();
                }
                Kind::Scripts(direction) => {
                    let (automation, runs) = (self.state.scripts.automation.clone(), self.runs.clone());
                    let (clock, route) = (clock.clone(), route.clone());
                    let (free, most) = (window.clone(), server.in_flight);
                    let pressed = Box::new(move || free.available_permits() < most / 2);
                    let read_again = Default::default();
                    let stage = Scripted { direction, automation, runs, route, clock, read_again, pressed };
                    StageActor::new(Arc::new(stage), hops.clone(), jobs).start();
                }
            }
            if let Some(sender) = hops.here.get(&topic) {
                actix::spawn(keep_feeding(self.handle.clone(), bus.clone(), topic, window.clone(), sender.clone()));
            }
        }
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

    /// Stops taking messages, tells clients when to come back, finishes what was accepted, closes every socket.
    /// Bounded by `drain_limit_seconds`; what is unfinished then stays on the bus and is taken up at the next start.
    pub async fn drain(&self) {
        self.handle.0.draining.store(true, Ordering::Release);
        self.deps.intake.stop();
        let registry = &self.handle.0.registry;
        let told = registry.send(SpreadReconnect(self.config.reconnect_spread())).await.unwrap_or_default();
        tracing::info!(sessions = told, "stopping: clients are told to come back");
        let deadline = tokio::time::Instant::now() + self.config.drain_limit();
        if tokio::time::timeout_at(deadline, self.bus.drain()).await.is_err() {
            tracing::warn!("the time is up; what is unfinished is taken up at the next start, or by other nodes");
        }
        let _ = registry.send(End::All(Close::Drained)).await;
        while self.handle.sessions().await > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(STEP).await;
        }
        // The last frames are still to be written, and requests to be answered; a client that reads nothing is not
        // waited for long.
        let deadline = deadline.min(tokio::time::Instant::now() + FAREWELL);
        while self.deps.busy.count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(STEP).await;
        }
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

/// One process for each data folder.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.display().to_string();
    let fail = |source| Error::Folder { path: path.clone(), source };
    if folder.is_file() {
        return Err(Error::NoFolder(path));
    }
    store::make_folder(folder).map_err(fail)?;
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock")).map_err(fail)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse(path)),
        Err(error) => Err(fail(error.into())),
    }
}

/// Feeds a stage for as long as the node lives.
async fn keep_feeding(
    node: NodeHandle,
    bus: Arc<dyn Bus>,
    topic: Topic,
    window: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
) {
    loop {
        let feeding = actix::spawn(feeder::feed(bus.clone(), topic.clone(), window.clone(), jobs.clone()));
        match feeding.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if node.draining() => {
                tracing::debug!(%topic, %error, "a stage is fed no more");
                return;
            }
            Ok(Err(error)) => tracing::error!(%topic, %error, "a stage is fed no more; it is tried again"),
            Err(error) => tracing::error!(%topic, %error, "a feeder ended in a panic; it is started again"),
        }
        if jobs.is_closed() {
            // The stage itself is gone, with the receiver: the process must be started anew, and loses nothing by it.
            tracing::error!(%topic, "a stage is gone");
            node.0.failed.notify_one();
            return;
        }
        crate::metrics::actor_restarted("feeder");
        tokio::time::sleep(RESTART).await;
    }
}

/// Closes the sockets of users who were disabled and of logins that ended, and forgets what is remembered of users whose
/// automation is another, whichever process did it.
async fn watch_accounts(node: NodeHandle, automation: Automation, mut seen: i64) {
    loop {
        tokio::time::sleep(POLL).await;
        if !node.0.registry.connected() {
            node.0.failed.notify_one();
            return;
        }
        let events = match node.0.store.account_events_after(seen, EVENTS).await {
            Ok(events) => events,
            // The store is closed at the end of a drain.
            Err(_) if node.draining() => return,
            Err(error) => {
                tracing::warn!(%error, "what happened to accounts cannot be read; it is tried again");
                continue;
            }
        };
        for event in events {
            seen = event.id;
            let end = match event.change {
                Change::Disabled => End::User(event.user_id, Close::Disabled),
                Change::Logout(family) => End::Family(event.user_id, family, Close::Token),
                Change::Automation => {
                    automation.changed(event.user_id);
                    continue;
                }
                Change::Role | Change::Unknown => continue,
            };
            let ended = node.0.registry.send(end).await.unwrap_or_default();
            if ended > 0 {
                tracing::info!(user_id = %event.user_id, ended, "sockets closed: the account changed");
            }
        }
    }
}
