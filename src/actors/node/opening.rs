//! Opens what a node stands on: its tables and its bus, in its data folder or on the network.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rdkafka::error::KafkaError;

use super::startup::Startup;
use crate::accounts::Keys;
use crate::clock::Clock;
use crate::cluster::membership::Wish;
use crate::cluster::nodes::NodeRecord;
use crate::cluster::{self, Cluster, Setup, ordinal};
use crate::config::Config;
use crate::config::cluster::SlotSetting;
use crate::ids::Slot;
use crate::pipeline::bridge::BridgeLink;
use crate::pipeline::bus::Bus;
use crate::pipeline::control::Control;
use crate::pipeline::embedded::{self, EmbeddedBus};
use crate::pipeline::kafka::{KafkaBus, TopicsError};
use crate::protocol::frames::at;
use crate::script::sources;
use crate::store::{self, Store};

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
    /// The settings of the bus of a cluster cannot be used.
    #[error("settings: kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The topics of a cluster are not as they should be.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// The node cannot be one of a cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A setting of a cluster is missing.
    #[error("settings: database_url, kafka_brokers and jwt_keys must all be set in a cluster")]
    Incomplete,
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

/// What a node stands on.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) bus: Arc<dyn Bus>,
    /// The other nodes, and the way to them; none for a node alone.
    pub(super) others: Option<(Cluster, Arc<dyn BridgeLink>)>,
    pub(super) keys: Keys,
    /// Held while the node lives; a cluster has no folder that could be used twice.
    pub(super) lock: Option<File>,
}

/// Opens the data folder, and takes up what was accepted and not finished.
pub(super) async fn embedded(config: &Config, clock: &Clock) -> Result<Opened, Error> {
    let folder = &config.data;
    let lock = lock(folder)?;
    let store = Store::open(folder).await?;
    let opened = async {
        let keys = match &config.jwt_keys {
            Some(setting) => Keys::parse(setting)?,
            None => Keys::load_or_create(folder)?,
        };
        Ok((keys, journal(config, clock).await?))
    };
    match opened.await {
        Ok((keys, bus)) => Ok(Opened { store, bus, others: None, keys, lock: Some(lock) }),
        Err(error) => {
            // Else its files would stay beside the database.
            store.close().await;
            Err(error)
        }
    }
}

async fn journal(config: &Config, clock: &Clock) -> Result<Arc<dyn Bus>, Error> {
    let (folder, options, clock) = (config.data.join(embedded::FOLDER_NAME), config.bus.clone(), clock.clone());
    let opened = tokio::task::spawn_blocking(move || EmbeddedBus::open(&folder, &options, clock));
    let path = || config.data.display().to_string();
    let opened = opened.await.map_err(|error| Error::Folder { path: path(), source: std::io::Error::other(error) })?;
    Ok(Arc::new(opened?))
}

/// Reaches what the nodes of a cluster share, in whatever order it comes up.
pub(super) async fn cluster(config: &Config, startup: &Startup, clock: &Clock) -> Result<Opened, Error> {
    let (Some(url), Some(brokers), Some(keys)) = (&config.database_url, &config.kafka_brokers, &config.jwt_keys) else {
        return Err(Error::Incomplete);
    };
    let keys = Keys::parse(keys)?;
    // First what can be wrong in the settings alone.
    let others = Cluster::new(setup(config, clock)?)?;
    let bus = Arc::new(KafkaBus::open(brokers, &config.topic_prefix, &config.kafka, &config.bus)?);
    let connect = || Store::connect(url, &config.database);
    let store = startup.keep_trying("Postgres", connect, store::Error::is_passing).await?;
    let controls = [Control::AutoReply, Control::Scripts].map(|control| control.topic().to_owned());
    let topics: Vec<String> = config.pipeline.iter().cloned().chain(controls).collect();
    let prepared = bus.prepare(&topics, config.cluster.slots);
    let prepared = startup.waiting("Kafka", || bus.health().err().map(|why| why.to_string()), prepared).await;
    if let Err(error) = prepared {
        store.close().await;
        return Err(error.into());
    }
    Ok(Opened { store, bus: bus.clone(), others: Some((others, bus)), keys, lock: None })
}

/// What this node says about itself to the others, and which slot it wants.
fn setup(config: &Config, clock: &Clock) -> Result<Setup, Error> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let fixed = |slot: u32, ours| Wish::This { slot: Slot(u16::try_from(slot).unwrap_or(u16::MAX)), ours };
    let wish = match &config.slot {
        None => Wish::Any,
        Some(SlotSetting::Number(slot)) => fixed(*slot, false),
        Some(SlotSetting::Named(_)) => {
            let slot = ordinal(&host).map(u32::from).filter(|slot| *slot < config.cluster.slots);
            fixed(slot.ok_or_else(|| cluster::Error::HostName(host.clone()))?, true)
        }
    };
    let record = NodeRecord {
        host,
        address: config.listen.to_string(),
        internal_address: config.internal_listen.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: at(clock.now()),
        stages: config.stages.clone(),
        ..NodeRecord::default()
    };
    Ok(Setup {
        redis_url: config.redis_url.clone(),
        redis: config.redis.clone(),
        cluster: config.cluster.clone(),
        prefix: config.topic_prefix.clone(),
        wish,
        record,
    })
}
