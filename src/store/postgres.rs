//! The tables in a Postgres database that nodes share.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::Error;
use super::connection::{PostgresPool, within};
use super::migrations::{self, Failure, Step};
use crate::config::database::DatabaseOptions;
use crate::config::secret::Secret;

pub(super) mod deliver;
#[cfg(test)]
mod tests;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// A connection that was idle for longer is asked for a sign of life before it is used.
pub(super) const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long that may take.
const PING_LIMIT: Duration = Duration::from_secs(2);
/// How much longer the node waits than the server works on a statement before it gives the connection up.
const GRACE: Duration = Duration::from_secs(2);
/// How often a migration that gave way to deliveries is tried, and how long after each time: at least a minute in all.
const MIGRATION_TRIES: u32 = 20;
const MIGRATION_PAUSE: Duration = Duration::from_secs(3);

/// Connects, brings the tables up to date or sees that they are, and keeps connections ready.
pub(super) async fn connect(url: &Secret, options: &DatabaseOptions) -> Result<PostgresPool, Error> {
    let server = Server::parse(url)?;
    let mut first = server.connect(options.acquire()).await?;
    let known = migrations::known(&MIGRATIONS).await.map_err(|failure| server.explain(failure))?;
    bring_up(&mut first, &known, options.migrate_at_start).await.map_err(|failure| server.explain(failure))?;
    warn_unless_durable(&mut first).await.map_err(|error| server.refuse(error))?;
    let _ = first.close().await; // It has done its work.
    let pool = PgPoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.acquire())
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > TRUSTED_IDLE {
                    within(PING_LIMIT, connection.ping()).await?;
                }
                Ok(true)
            })
        });
    let connections = pool.connect_lazy_with(server.for_statements(options));
    Ok(PostgresPool { connections, limit: options.statement() + GRACE, kept: Arc::default() })
}

/// Brings the tables up to date if `apply`, beside nodes that work on them. A migration waits for a table no longer than its
/// `lock_timeout`, and now and then waits for a delivery that waits for it: then Postgres breaks one of the two off. Nothing
/// of it is there, and it is tried again.
async fn bring_up(connection: &mut PgConnection, known: &Migrator, apply: bool) -> Result<(), Failure> {
    let mut tries = 1;
    loop {
        match migrations::bring_up(connection, known, apply).await {
            Err(Failure::Apply(error)) if is_in_use(&error) && tries < MIGRATION_TRIES => {
                tracing::warn!(%error, tries, "a migration gave way to nodes that work on the tables; it is tried again");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(MIGRATION_PAUSE).await;
        tries += 1;
    }
}

/// What was applied to the database and what was not; nothing is changed.
pub(super) async fn steps(url: &Secret) -> Result<Vec<Step>, Error> {
    let server = Server::parse(url)?;
    let mut connection = server.connect(DatabaseOptions::default().acquire()).await?;
    let known = migrations::known(&MIGRATIONS).await.map_err(|failure| server.explain(failure))?;
    let steps = migrations::steps(&mut connection, &known).await.map_err(|failure| server.explain(failure));
    let _ = connection.close().await; // It only read.
    steps
}

async fn warn_unless_durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off'";
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let name: String = row.try_get(0)?;
        tracing::warn!(setting = name, "this Postgres forgets at a crash what it has confirmed: messages can be lost");
    }
    Ok(())
}

/// A database and how to speak of it.
struct Server {
    options: PgConnectOptions,
}

impl Server {
    fn parse(url: &Secret) -> Result<Self, Error> {
        let text = url.expose();
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            let words = "database_url: must begin with postgres://, as in postgres://USER:PASSWORD@HOST/DATABASE";
            return Err(Error::Schema(words.to_owned()));
        }
        // The error does not hold the URL, and so not the password.
        let options = PgConnectOptions::from_str(text)
            .map_err(|error| Error::Schema(format!("database_url: cannot be read: {error}")))?;
        Ok(Self { options: options.application_name("parlor") })
    }

    /// As all connections are but the one that migrates, which may take as long as it needs.
    fn for_statements(&self, options: &DatabaseOptions) -> PgConnectOptions {
        let statement = options.statement().as_millis();
        // A node that is paused in a transaction holds inboxes that others want to write to, and so does one that is cut
        // off: the server gives both up.
        self.options.clone().statement_cache_capacity(256).options([
            ("statement_timeout", statement.to_string()),
            ("idle_in_transaction_session_timeout", statement.to_string()),
            ("tcp_user_timeout", statement.to_string()),
            ("tcp_keepalives_idle", "10".to_owned()),
            ("tcp_keepalives_interval", "5".to_owned()),
            ("tcp_keepalives_count", "2".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            // Every statement finds rows by keys or adds arrays of them, whatever their number: planned once, not each
            // time. At 500 messages a second planning was a quarter of what Postgres took.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
        ])
    }

    async fn connect(&self, limit: Duration) -> Result<PgConnection, Error> {
        within(limit, self.options.connect()).await.map_err(|error| self.refuse(error))
    }

    /// Without user and password.
    fn place(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => format!("Postgres at {}", socket.display()),
            None => format!("Postgres at {}:{}", self.options.get_host(), self.options.get_port()),
        }
    }

    fn explain(&self, failure: Failure) -> Error {
        match failure {
            Failure::Refused(words) => Error::Schema(words),
            Failure::Apply(error) | Failure::Read(error) => self.refuse(error),
        }
    }

    /// Why the database cannot be used, and what to do.
    fn refuse(&self, error: sqlx::Error) -> Error {
        let (place, user) = (self.place(), self.options.get_username());
        let database = self.options.get_database().unwrap_or(user);
        let said = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        let words = match state(&error).as_deref() {
            // invalid_password, invalid_authorization_specification
            Some("28P01" | "28000") => format!(
                "{place} does not let the user {user:?} in ({said}): look at the user and the password in database_url, and \
                 at pg_hba.conf"
            ),
            // invalid_catalog_name
            Some("3D000") => {
                format!("{place} has no database {database:?}: make it (CREATE DATABASE …), or name another")
            }
            // insufficient_privilege
            Some("42501") => format!(
                "{place} does not let the user {user:?} work in the database {database:?} ({said}): make the user its owner"
            ),
            Some(_) if is_passing(&error) => return Error::Unreachable(format!("{place} takes nobody now ({said})")),
            Some(_) => format!("{place} refuses ({said})"),
            None => match &error {
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => {
                    return Error::Unreachable(format!(
                        "{place} cannot be reached ({error}): is it running, and is the address in database_url right?"
                    ));
                }
                sqlx::Error::Tls(_) => {
                    format!("{place}: no TLS could be agreed on ({error}): look at sslmode in database_url")
                }
                _ => return Error::Sql(error),
            },
        };
        Error::Schema(words)
    }
}

/// The SQLSTATE of an error of Postgres.
fn state(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    Some(error.code().to_owned())
}

/// Whether it may go away by itself: by its class, as in appendix A of the manual of Postgres.
pub(super) fn is_passing(error: &sqlx::Error) -> bool {
    let Some(state) = state(error) else { return false };
    // connection_exception, transaction_rollback, insufficient_resources, operator_intervention, system_error
    ["08", "40", "53", "57", "58"].iter().any(|class| state.starts_with(class))
        // lock_not_available; read_only_sql_transaction: during a fail-over; idle_in_transaction_session_timeout
        || ["55P03", "25006", "25P03"].contains(&state.as_str())
}

/// Whether a row with the same key is there: nothing was written.
pub(super) fn stands_there(error: &Error) -> bool {
    // unique_violation
    matches!(error, Error::Sql(error) if state(error).as_deref() == Some("23505"))
}

/// Whether the transaction was broken off to let another one go on: it can be done again at once.
pub(super) fn gave_way(error: &Error) -> bool {
    matches!(error, Error::Sql(error) if is_rolled_back(error))
}

fn is_rolled_back(error: &sqlx::Error) -> bool {
    // transaction_rollback: a deadlock, or what could not be serialised
    state(error).is_some_and(|state| state.starts_with("40"))
}

/// Whether others held the tables that a migration changes: for longer than it waits, or in a circle with it.
fn is_in_use(error: &sqlx::Error) -> bool {
    // lock_not_available
    is_rolled_back(error) || state(error).as_deref() == Some("55P03")
}
