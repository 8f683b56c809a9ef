//! The tables: accounts, conversations, inboxes. The one place that speaks SQL, to SQLite or to Postgres.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::Notify;

use self::connection::{Dialect, On, Pool, Tx};
use self::sql::query;
use crate::config::database::DatabaseOptions;
use crate::config::secret::Secret;
use crate::ids::ConversationId;

pub mod account_events;
pub mod auto_reply;
mod automation;
pub mod automation_log;
mod connection;
pub mod control;
pub mod conversations;
pub mod filtered;
pub mod inbox;
pub mod migrations;
mod postgres;
pub mod reads;
mod rows;
pub mod scripts;
pub mod snapshot;
mod sql;
mod sqlite;
pub mod tokens;
pub mod user_changes;
pub mod users;

#[cfg(test)]
pub(crate) mod testing;

pub use self::sqlite::FILE_NAME;

/// Conversations remembered; about 60 bytes each. One that was forgotten costs an insert that does nothing.
const KNOWN_CONVERSATIONS: usize = 50_000;

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The tables are not those that this program knows, or cannot be opened as it was told to.
    #[error("{0}")]
    Schema(String),
    /// The database server does not answer, or takes nobody now. Nothing is known to be wrong with the tables.
    #[error("{0}")]
    Unreachable(String),
    /// A row holds what it cannot hold.
    #[error("the database holds a {what} that cannot be read: {detail}")]
    Corrupt {
        /// Which column or row.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// Makes a data folder that only this user can look into, unless it is there.
///
/// # Errors
/// What the system says.
pub fn make_folder(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The tables: of one data folder, or of a cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    /// Conversations that are in the tables for sure, so that a delivery need not insert them again.
    known_conversations: Arc<Cache<ConversationId, ()>>,
    refusal: Arc<Mutex<Option<String>>>,
    /// Events about accounts may have been written.
    told: Arc<Notify>,
}

impl Store {
    /// Opens the database in `folder`, makes it if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`Error::Schema`] when a newer Parlor has written the tables or a migration was changed after release,
    /// [`Error::Sql`] when the file cannot be opened or is not a database.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self::over(sqlite::open(folder).await?))
    }

    /// Connects to the Postgres database at `url`, whose tables nodes share, and brings them up to date if `options` say
    /// so. A server that goes away later and comes back is found again.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the server does not answer; [`Error::Schema`] when it refuses, or has tables that this
    /// program does not know.
    pub async fn connect(url: &Secret, options: &DatabaseOptions) -> Result<Self, Error> {
        Ok(Self::over(Pool::Postgres(postgres::connect(url, options).await?)))
    }

    fn over(pool: Pool) -> Self {
        let known_conversations = Arc::new(Cache::new(KNOWN_CONVERSATIONS));
        Self { pool, known_conversations, refusal: Arc::default(), told: Arc::default() }
    }

    fn dialect(&self) -> Dialect {
        self.pool.dialect()
    }

    /// For a statement that only reads.
    fn reader(&self) -> On<'_> {
        match &self.pool {
            Pool::Sqlite { reader, .. } => On::Sqlite(reader),
            Pool::Postgres(pool) => On::Postgres(pool),
        }
    }

    /// For a single statement that writes.
    fn writer(&self) -> On<'_> {
        match &self.pool {
            Pool::Sqlite { writer, .. } => On::Sqlite(writer),
            Pool::Postgres(pool) => On::Postgres(pool),
        }
    }

    async fn begin(&self) -> Result<Tx, Error> {
        self.pool.begin().await
    }

    /// Why the last delivery could not be written, if it could not: what is accepted waits on the bus then.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_delivery(&self, failed: Option<&Error>) {
        let said = failed.map(|error| format!("messages wait on the bus and cannot be written: {error}"));
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn ping(&self) -> Result<(), Error> {
        query("SELECT 1").run(self.reader()).await?;
        Ok(())
    }

    /// Finishes what is being written and closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Error {
    /// Whether the tables were closed: this process is about to end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::PoolClosed))
    }

    /// Whether it may go away by itself: another process holds the tables, the disk takes no writes now, or the server is
    /// away.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Sql(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_)) => true,
            Self::Sql(error) => sqlite::is_passing(error) || postgres::is_passing(error),
            Self::Schema(_) | Self::Corrupt { .. } => false,
        }
    }
}
