//! Migrations: numbered changes of the tables, each applied once and in order, never changed once released.
//!
//! Two versions of the program may work side by side (a rolling update): a migration adds, and only a later release takes
//! away. Which programs the tables are still good for stands in the table `compatibility`.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::BoxFuture;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{PgConnection, SqliteConnection};

use super::{Error, postgres, sqlite};
use crate::config::database::DatabaseOptions;
use crate::config::secret::Secret;
use crate::store::Store;

/// Where sqlx notes what was applied.
const TABLE: &str = "_sqlx_migrations";
/// Which programs can work with the tables: those that know this migration or a later one.
const OLDEST: &str = "SELECT oldest FROM compatibility";

/// In a debug build, a folder of further migrations: so a test has a program that is a release ahead of this one.
const NEXT: &str = "PARLOR_TEST_MIGRATIONS";

/// How a migration stands to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was applied.
    Applied,
    /// It is still to be applied.
    Pending,
    /// Another one of this number was applied: this program was built from a changed migration.
    Changed,
    /// It was applied by another version of Parlor, and is unknown to this one.
    Unknown,
}

/// A migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub version: i64,
    /// What it is called; empty for an unknown one.
    pub name: String,
    /// What it does; empty for an unknown one.
    pub sql: String,
    /// How it stands to the database.
    pub state: State,
}

/// Where tables are.
#[derive(Clone, Copy, Debug)]
pub enum Tables<'a> {
    /// In a file of this data folder.
    Folder(&'a Path),
    /// In a Postgres database.
    Database(&'a Secret),
}

impl Tables<'_> {
    /// What was applied there and what was not, in order. Nothing is changed.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read.
    pub async fn steps(self) -> Result<Vec<Step>, Error> {
        match self {
            Self::Folder(folder) => sqlite::steps(folder).await,
            Self::Database(url) => postgres::steps(url).await,
        }
    }

    /// Opens them, and brings them up to date.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::connect`].
    pub async fn open(self) -> Result<Store, Error> {
        match self {
            Self::Folder(folder) => Store::open(folder).await,
            Self::Database(url) => {
                // A command does one thing after the other.
                Store::connect(url, &DatabaseOptions { connections: 2, ..DatabaseOptions::default() }).await
            }
        }
    }
}

/// Why tables could not be brought up to date.
#[derive(Debug)]
pub(super) enum Failure {
    /// They must not be.
    Refused(String),
    /// They could not be read.
    Read(sqlx::Error),
    /// A migration failed; nothing of it is there.
    Apply(sqlx::Error),
}

/// A connection whose tables can be brought up to date.
pub(super) trait Migratable: Migrate {
    /// The value of [`OLDEST`].
    fn oldest(&mut self) -> BoxFuture<'_, Result<i64, sqlx::Error>>;
    /// Whether a table that was asked for does not exist.
    fn lacks_table(error: &sqlx::Error) -> bool;
}

impl Migratable for SqliteConnection {
    fn oldest(&mut self) -> BoxFuture<'_, Result<i64, sqlx::Error>> {
        Box::pin(sqlx::query_scalar(OLDEST).fetch_one(self))
    }

    fn lacks_table(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| error.message().starts_with("no such table"))
    }
}

impl Migratable for PgConnection {
    fn oldest(&mut self) -> BoxFuture<'_, Result<i64, sqlx::Error>> {
        Box::pin(sqlx::query_scalar(OLDEST).fetch_one(self))
    }

    fn lacks_table(error: &sqlx::Error) -> bool {
        // undefined_table
        error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42P01")
    }
}

/// What this program knows: its own, and what a test adds by [`NEXT`]. A release build looks for no such folder.
pub(super) async fn known(own: &Migrator) -> Result<Migrator, Failure> {
    let mut all: Vec<_> = own.iter().cloned().collect();
    if cfg!(debug_assertions)
        && let Some(folder) = std::env::var_os(NEXT)
    {
        let next = Migrator::new(Path::new(&folder)).await;
        let next = next.map_err(|error| Failure::Refused(format!("{NEXT}: {error}")))?;
        all.extend(next.iter().cloned());
    }
    Ok(Migrator::with_migrations(all))
}

/// How all migrations stand when none was applied.
pub(super) fn all_pending(known: &Migrator) -> Vec<Step> {
    known.iter().map(|migration| step(migration, State::Pending)).collect()
}

fn step(migration: &sqlx::migrate::Migration, state: State) -> Step {
    let (name, sql) = (migration.description.to_string(), migration.sql.as_str().to_owned());
    Step { version: migration.version, name, sql, state }
}

/// How many are still to be applied.
pub(super) fn pending(steps: &[Step]) -> usize {
    steps.iter().filter(|step| step.state == State::Pending).count()
}

/// What was applied there and what was not, in order.
pub(super) async fn steps<C: Migratable>(connection: &mut C, known: &Migrator) -> Result<Vec<Step>, Failure> {
    let applied = match connection.list_applied_migrations(TABLE).await {
        Ok(applied) => applied,
        Err(error) => match sql(error) {
            Ok(error) if C::lacks_table(&error) => Vec::new(),
            Ok(error) => return Err(Failure::Read(error)),
            Err(words) => return Err(Failure::Refused(words)),
        },
    };
    let unknown = |version| Step { version, name: String::new(), sql: String::new(), state: State::Unknown };
    let mut steps: BTreeMap<i64, Step> = applied.iter().map(|done| (done.version, unknown(done.version))).collect();
    for migration in known.iter() {
        let state = match applied.iter().find(|done| done.version == migration.version) {
            None => State::Pending,
            Some(done) if done.checksum == migration.checksum => State::Applied,
            Some(_) => State::Changed,
        };
        steps.insert(migration.version, step(migration, state));
    }
    Ok(steps.into_values().collect())
}

/// Applies what is pending, if `apply`; refuses tables that are not for this program.
pub(super) async fn bring_up<C: Migratable>(connection: &mut C, known: &Migrator, apply: bool) -> Result<(), Failure> {
    let steps = steps(connection, known).await?;
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or_default();
    for step in &steps {
        match step.state {
            State::Applied => {}
            State::Changed => return Err(Failure::Refused(changed(step.version))),
            State::Unknown => {
                // One that adds leaves the tables good for programs that do not know it.
                let oldest = if step.version > newest { connection.oldest().await.ok() } else { None };
                if oldest.is_none_or(|oldest| oldest > newest) {
                    return Err(Failure::Refused(newer(step.version)));
                }
                tracing::info!(migration = step.version, "a newer Parlor has added to the tables; they still fit");
            }
            State::Pending if apply => {}
            State::Pending => {
                return Err(Failure::Refused(format!(
                    "the tables lack migration {} ({}): run `parlor migrate apply`; nothing was changed",
                    step.version, step.name
                )));
            }
        }
    }
    if pending(&steps) == 0 {
        return Ok(());
    }
    let mut migrator = Migrator::with_migrations(known.iter().cloned().collect());
    // Judged above.
    migrator.set_ignore_missing(true);
    migrator.run_direct(None, connection, false).await.map_err(|error| match sql(error) {
        Ok(error) => Failure::Apply(error),
        Err(words) => Failure::Refused(words),
    })
}

fn changed(version: i64) -> String {
    format!(
        "migration {version} is not the one that was applied to this database: the program was built from a changed \
         migration; nothing was changed"
    )
}

fn newer(version: i64) -> String {
    format!(
        "the database was written by a newer Parlor (migration {version} is unknown here): run that version, or restore a \
         back-up; nothing was changed"
    )
}

/// What the database said, or in words what else is wrong.
fn sql(error: MigrateError) -> Result<sqlx::Error, String> {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => Ok(error),
        MigrateError::VersionMismatch(version) => Err(changed(version)),
        other => Err(format!("cannot bring the tables up to date: {other}")),
    }
}
