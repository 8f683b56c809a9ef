//! Opens what a node stands on: its tables and its bus, in its data folder or on the network.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::accounts::Keys;
use crate::clock::Clock;
use crate::config::Config;
use crate::pipeline::bus::Bus;
use crate::pipeline::embedded::{self, EmbeddedBus};
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
        Ok((keys, bus)) => Ok(Opened { store, bus, keys, lock: Some(lock) }),
        Err(error) => {
            // Else its files would stay beside the database.
            store.close().await;
            Err(error)
        }
    }
}

async fn journal(config: &Config, clock: &Clock) -> Result<Arc<dyn Bus>, Error> {
    let (folder, options, clock) = (config.data.join("bus"), config.bus.clone(), clock.clone());
    let opened = tokio::task::spawn_blocking(move || EmbeddedBus::open(&folder, &options, clock));
    let path = || config.data.display().to_string();
    let opened = opened.await.map_err(|error| Error::Folder { path: path(), source: std::io::Error::other(error) })?;
    Ok(Arc::new(opened?))
}
