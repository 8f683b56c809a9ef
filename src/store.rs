//! The tables: accounts, conversations, inboxes. The one place that speaks SQL.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row};

use crate::ids::ConversationId;

pub mod account_events;
pub mod auto_reply;
mod automation;
pub mod automation_log;
pub mod control;
pub mod conversations;
pub mod filtered;
pub mod inbox;
mod rows;
pub mod scripts;
pub mod tokens;
pub mod user_changes;
pub mod users;

#[cfg(test)]
pub(crate) mod testing;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The schema's file within the data folder.
pub const FILE_NAME: &str = "parlor.sqlite";
/// Connections that read side by side; the one that writes is apart, so that a long read never holds a write up.
const READERS: u32 = 4;
/// Conversations remembered; about 60 bytes each. One that was forgotten costs an insert that does nothing.
const KNOWN_CONVERSATIONS: usize = 50_000;
/// The page cache of the connection that writes, in KiB (SQLite wants it negative).
const CACHE: &str = "-65536";
/// The page cache of each connection that reads.
const READ_CACHE: &str = "-8192";
/// Pages of the write-ahead log before it is copied into the database: 64 MiB. The ends of inboxes are written again in
/// every transaction; a long log copies each of them once for many transactions (docs/performance.md).
const CHECKPOINT_PAGES: &str = "16384";
/// How long a statement waits for another process (`parlor user add` beside the server) that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How a transaction that writes begins: with the lock, so that what it read still holds when it writes.
pub(crate) const IMMEDIATE: &str = "BEGIN IMMEDIATE";

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database said no.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The tables are not those that this program knows.
    #[error("{0}")]
    Schema(String),
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

/// The tables of one data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) writer: SqlitePool,
    pub(crate) reader: SqlitePool,
    /// Conversations that are in the tables for sure, so that a delivery need not insert them again.
    known_conversations: Arc<Cache<ConversationId, ()>>,
    refusal: Arc<Mutex<Option<String>>>,
}

impl Store {
    /// Opens the database in `folder`, makes it if there is none, and brings its tables up to date.
    ///
    /// # Errors
    /// [`Error::Schema`] when a newer Parlor has written the tables or a migration was changed after release,
    /// [`Error::Sql`] when the file cannot be opened or is not a database.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE_NAME))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A place in an inbox that a client has seen must never be given again, not even after a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(256)
            .row_buffer_size(1024)
            .pragma("cache_size", CACHE)
            // Every statement of many rows keeps what it may have to undo; in memory, not in a file.
            .pragma("temp_store", "memory")
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let path = folder.join(FILE_NAME);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY_TIMEOUT);
        // After a full disk SQLite has rolled back by itself, and sqlx believes for ever that it has still to: such a
        // connection begins no transaction any more.
        let writer = pool(1).before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }));
        let writer = writer.connect_with(options.clone()).await.map_err(|error| refuse(error, &path))?;
        let opened = async {
            MIGRATIONS.run(&writer).await.map_err(|error| explain(error, &path))?;
            let reader =
                pool(READERS).connect_with(options.pragma("query_only", "on").pragma("cache_size", READ_CACHE)).await;
            reader.map_err(|error| refuse(error, &path))
        };
        match opened.await {
            Ok(reader) => Ok(Self {
                writer,
                reader,
                known_conversations: Arc::new(Cache::new(KNOWN_CONVERSATIONS)),
                refusal: Arc::default(),
            }),
            Err(error) => {
                // Else its files would stay beside the database.
                writer.close().await;
                Err(error)
            }
        }
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

    /// The migrations that were applied, in order.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn migrations(&self) -> Result<Vec<(i64, String)>, Error> {
        let rows = sqlx::query("SELECT version, description FROM _sqlx_migrations ORDER BY version")
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.reader).await?;
        Ok(())
    }

    /// Finishes what is being written and closes the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

impl Error {
    /// Whether the tables were closed: this process is about to end.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Sql(sqlx::Error::PoolClosed))
    }

    /// Whether it may go away by itself: another process holds the tables, or the disk takes no writes now.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let Self::Sql(error) = self else { return false };
        matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
            || matches!(
                code(error),
                Some(ffi::SQLITE_BUSY | ffi::SQLITE_FULL | ffi::SQLITE_READONLY | ffi::SQLITE_IOERR)
            )
    }
}

/// SQLite's primary result codes, those that are told apart (sqlite.org/rescode.html).
mod ffi {
    pub(super) const SQLITE_BUSY: i32 = 5;
    pub(super) const SQLITE_READONLY: i32 = 8;
    pub(super) const SQLITE_IOERR: i32 = 10;
    pub(super) const SQLITE_CORRUPT: i32 = 11;
    pub(super) const SQLITE_FULL: i32 = 13;
    pub(super) const SQLITE_CANTOPEN: i32 = 14;
    pub(super) const SQLITE_NOTADB: i32 = 26;
}

fn code(error: &sqlx::Error) -> Option<i32> {
    // The extended code has the primary one in its lowest byte.
    error.as_database_error()?.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Why the database cannot be opened, and what to do.
fn refuse(error: sqlx::Error, path: &Path) -> Error {
    let said = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    let path = path.display();
    Error::Schema(match code(&error) {
        Some(ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) => {
            format!("{path} is damaged ({said}): restore the data folder from a back-up; nothing was changed")
        }
        Some(ffi::SQLITE_FULL) => format!("no space left for {path} ({said}): free some space and start again"),
        Some(ffi::SQLITE_BUSY) => format!("{path} is held by another process ({said}): try again when it is done"),
        Some(ffi::SQLITE_CANTOPEN | ffi::SQLITE_READONLY | ffi::SQLITE_IOERR) => format!(
            "{path} cannot be used ({said}): is the folder writable for this user, and is there room on the disk?"
        ),
        _ => return Error::Sql(error),
    })
}

fn explain(error: sqlx::migrate::MigrateError, path: &Path) -> Error {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::VersionMissing(n) => Error::Schema(format!(
            "the database was written by a newer Parlor (migration {n} is unknown here): run that version, or restore a \
             back-up; nothing was changed"
        )),
        MigrateError::VersionMismatch(n) => Error::Schema(format!(
            "migration {n} is not the one that was applied to this database: the program was built from a changed \
             migration; nothing was changed"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => refuse(error, path),
        other => Error::Schema(format!("cannot bring the tables up to date: {other}")),
    }
}
