//! The tables in a file of the data folder.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

use super::Error;
use super::connection::Pool;
use super::migrations::{self, Failure, Step};

pub(super) mod deliver;
#[cfg(test)]
mod tests;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// The schema's file within the data folder.
pub const FILE_NAME: &str = "parlor.sqlite";
/// Connections that read side by side; the one that writes is apart, so that a long read never holds a write up.
const READERS: u32 = 4;
/// The page cache of the connection that writes, in KiB (SQLite wants it negative).
const CACHE: &str = "-65536";
/// The page cache of each connection that reads.
const READ_CACHE: &str = "-8192";
/// Pages of the write-ahead log before it is copied into the database: 64 MiB. The ends of inboxes are written again in
/// every transaction; a long log copies each of them once for many transactions (docs/performance.md).
const CHECKPOINT_PAGES: &str = "16384";
/// How long a statement waits for another process (`parlor user add` beside the server) that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database in `folder`, makes it if there is none, and brings its tables up to date.
pub(super) async fn open(folder: &Path) -> Result<Pool, Error> {
    let path = folder.join(FILE_NAME);
    let options = options(&path);
    let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(BUSY_TIMEOUT);
    // After a full disk SQLite has rolled back by itself, and sqlx believes for ever that it has still to: such a
    // connection begins no transaction any more.
    let writer = pool(1).before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }));
    let writer = writer.connect_with(options.clone()).await.map_err(|error| refuse(error, &path))?;
    let opened = async {
        let mut connection = writer.acquire().await.map_err(|error| refuse(error, &path))?;
        migrate(&mut connection, &path).await?;
        drop(connection);
        let reader =
            pool(READERS).connect_with(options.pragma("query_only", "on").pragma("cache_size", READ_CACHE)).await;
        reader.map_err(|error| refuse(error, &path))
    };
    match opened.await {
        Ok(reader) => Ok(Pool::Sqlite { writer, reader }),
        Err(error) => {
            // Else its files would stay beside the database.
            writer.close().await;
            Err(error)
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
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
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
}

/// SQLite has no lock for this: of two processes at once, one finds done what it is about to do, and looks again.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    let mut pending = usize::MAX;
    loop {
        let Err(failure) = migrations::bring_up(connection, &MIGRATIONS, true).await else { return Ok(()) };
        let steps = migrations::steps(connection, &MIGRATIONS).await.map_err(|failure| explain(failure, path))?;
        let left = migrations::pending(&steps);
        if !matches!(failure, Failure::Apply(_)) || left >= pending {
            return Err(explain(failure, path));
        }
        pending = left;
    }
}

/// What was applied to the database in `folder` and what was not; nothing is changed or made.
pub(super) async fn steps(folder: &Path) -> Result<Vec<Step>, Error> {
    let path = folder.join(FILE_NAME);
    if !path.exists() {
        return Ok(migrations::all_pending(&MIGRATIONS));
    }
    let options = SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(|error| refuse(error, &path))?;
    let steps = migrations::steps(&mut connection, &MIGRATIONS).await.map_err(|failure| explain(failure, &path));
    let _ = connection.close().await; // It only read.
    steps
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
    let error = error.as_database_error()?.try_downcast_ref::<SqliteError>()?;
    // The extended code has the primary one in its lowest byte.
    sqlx::error::DatabaseError::code(error)?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Whether it may go away by itself.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(ffi::SQLITE_BUSY | ffi::SQLITE_FULL | ffi::SQLITE_READONLY | ffi::SQLITE_IOERR))
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

fn explain(failure: Failure, path: &Path) -> Error {
    match failure {
        Failure::Refused(words) => Error::Schema(words),
        Failure::Apply(error) | Failure::Read(error) => refuse(error, path),
    }
}
