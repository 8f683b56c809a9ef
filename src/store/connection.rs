//! What a statement runs on: a pool or a transaction of either database.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryFutureExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Executor as _, Postgres, Sqlite, Transaction};

use super::Error;
use super::postgres::TRUSTED_IDLE;

/// How a transaction of SQLite begins: with the lock, so that what it read still holds when it writes.
pub(super) const IMMEDIATE: &str = "BEGIN IMMEDIATE";
/// How long a connection to Postgres that was used may take to show that it is sound; else it is given up.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A file in the data folder.
    Sqlite,
    /// A server that many nodes share.
    Postgres,
}

/// The connections of a store. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    /// One connection writes, so that a long read never holds a write up.
    Sqlite {
        /// Just one.
        writer: SqlitePool,
        /// Read side by side.
        reader: SqlitePool,
    },
    /// Any of them does anything.
    Postgres(PostgresPool),
}

/// Connections to Postgres, each answer waited for so long and no longer: a network that swallows packets gives no error.
#[derive(Clone, Debug)]
pub(super) struct PostgresPool {
    /// The connections.
    pub(super) connections: PgPool,
    /// How long one statement may take.
    pub(super) limit: Duration,
    /// The connection of the last delivery, and since when: to take one from the pool and give it back would cost two
    /// more exchanges with the server.
    pub(super) kept: Arc<Mutex<Option<(Lease, Instant)>>>,
}

impl Pool {
    /// Which database it is.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite { .. } => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A transaction that writes. SQLite has no other beside it; on Postgres, rows are to be locked.
    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite { writer, .. } => Ok(Tx::Sqlite(writer.begin_with(IMMEDIATE).await?)),
            Self::Postgres(pool) => Ok(Tx::Postgres(pool.begin().await?)),
        }
    }

    /// Ends all of them when they are done.
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => {
                // Closed first: from then on none is kept, and it waits for all to be given back.
                let closed = pool.connections.close();
                drop(pool.take_kept());
                closed.await;
            }
        }
    }
}

impl PostgresPool {
    /// A connection for some statements.
    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        let connection = Some(self.connections.acquire().await?);
        Ok(Lease { connection, limit: self.limit, in_transaction: false })
    }

    /// The same, for a statement that is a transaction by itself: one that was kept, if it was used just now.
    pub(super) async fn lease_kept(&self) -> Result<Lease, Error> {
        match self.take_kept() {
            Some((lease, since)) if since.elapsed() < TRUSTED_IDLE => Ok(lease),
            _ => self.lease().await,
        }
    }

    /// Keeps a connection that has just answered well. One that has not is dropped, and shows first that it is sound.
    pub(super) fn keep(&self, lease: Lease) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.connections.is_closed() {
            *kept = Some((lease, Instant::now()));
        }
    }

    fn take_kept(&self) -> Option<(Lease, Instant)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The same, in a transaction.
    pub(super) async fn begin(&self) -> Result<Lease, Error> {
        let mut lease = self.lease().await?;
        // Said before it is done: when it is broken off, nobody knows whether it was.
        lease.in_transaction = true;
        within(lease.limit, lease.connection()?.execute("BEGIN")).await?;
        Ok(lease)
    }
}

/// A connection to Postgres, given back when it is dropped; one that does not show in time that it is sound is given up.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Option<PoolConnection<Postgres>>,
    /// How long one statement may take.
    pub(super) limit: Duration,
    in_transaction: bool,
}

impl Lease {
    /// The connection itself.
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        // There is one until it is dropped.
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Makes all of the transaction so. Dropped without, it changes nothing.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        within(self.limit, self.connection()?.execute("COMMIT")).await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // The process ends.
            drop(connection.detach());
            return;
        };
        let in_transaction = self.in_transaction;
        runtime.spawn(async move {
            let released = async {
                if in_transaction {
                    connection.execute("ROLLBACK").await?;
                }
                // Asks the server for a sign of life, without a limit of its own.
                connection.return_to_pool().await;
                Ok::<_, sqlx::Error>(())
            };
            if !matches!(tokio::time::timeout(RELEASE_LIMIT, released).await, Ok(Ok(()))) {
                connection.close_on_drop();
            }
        });
    }
}

/// Waits so long for an answer of the server.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer"));
    tokio::time::timeout(limit, answer).map_err(late).await?
}

/// A transaction. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub(super) enum Tx {
    /// It alone writes.
    Sqlite(Transaction<'static, Sqlite>),
    /// Others write beside it.
    Postgres(Lease),
}

impl Tx {
    /// Makes all of it so.
    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(transaction) => Ok(transaction.commit().await?),
            Self::Postgres(lease) => lease.commit().await,
        }
    }
}

/// Where a statement runs.
pub(super) enum On<'a> {
    /// On a connection of its own.
    Sqlite(&'a SqlitePool),
    /// On a connection of its own.
    Postgres(&'a PostgresPool),
    /// As part of a transaction.
    Tx(&'a mut Tx),
}

impl<'a> From<&'a mut Tx> for On<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

/// A connection for one statement.
pub(super) enum Held<'a> {
    /// Taken from a pool.
    Sqlite(PoolConnection<Sqlite>),
    /// Taken from a pool.
    Postgres(Lease),
    /// A transaction's.
    Tx(&'a mut Tx),
}

/// The same, when it does not matter whose it is.
pub(super) enum Connection<'a> {
    /// To SQLite.
    Sqlite(&'a mut SqliteConnection),
    /// To Postgres.
    Postgres(&'a mut Lease),
}

impl<'a> On<'a> {
    /// Waits for a connection.
    pub(super) async fn hold(self) -> Result<Held<'a>, Error> {
        Ok(match self {
            Self::Sqlite(pool) => Held::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Held::Postgres(pool.lease().await?),
            Self::Tx(tx) => Held::Tx(tx),
        })
    }
}

impl Held<'_> {
    /// The connection.
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(connection) => Connection::Sqlite(connection),
            Self::Postgres(lease) | Self::Tx(Tx::Postgres(lease)) => Connection::Postgres(lease),
            Self::Tx(Tx::Sqlite(transaction)) => Connection::Sqlite(transaction),
        }
    }
}
