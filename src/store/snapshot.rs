//! The tables of a data folder as they are at one moment, in a file of their own, while others write.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Error, FILE_NAME};

/// How long a statement waits for who writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

async fn open(folder: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new().filename(folder.join(FILE_NAME)).busy_timeout(BUSY_TIMEOUT);
    Ok(options.connect().await?)
}

/// Copies the tables in `from` into the folder `to`, durably: all that was committed before this began, and no transaction in part.
///
/// # Errors
/// [`Error::Sql`].
pub async fn take(from: &Path, to: &Path) -> Result<(), Error> {
    let mut connection = open(from).await?;
    let path = to.join(FILE_NAME);
    // One transaction that reads; writers go on beside it.
    let copied = sqlx::query("VACUUM INTO $1").bind(path.to_string_lossy().into_owned()).execute(&mut connection).await;
    let _ = connection.close().await; // It only read.
    copied?;
    std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(|error| Error::Sql(error.into()))
}

/// Whether the tables in a folder that nobody uses are sound, as far as SQLite can tell.
///
/// # Errors
/// [`Error::Schema`] says what is damaged; [`Error::Sql`].
pub async fn check(folder: &Path) -> Result<(), Error> {
    let mut connection = open(folder).await?;
    let found: Result<String, _> = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await;
    let _ = connection.close().await; // It only read.
    match found?.as_str() {
        "ok" => Ok(()),
        detail => Err(Error::Schema(format!("{} is damaged: {detail}", folder.join(FILE_NAME).display()))),
    }
}
