//! Statements for either database: written once, with `$1`, `$2` … for their values, and read back by position.
//!
//! `sqlx::Any` would do this too, but has neither uuids nor booleans of both databases.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::query::Query as Prepared;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Database, Postgres, Row as _, SqlSafeStr as _, SqlStr, Sqlite, ValueRef as _};
use uuid::Uuid;

use super::Error;
use super::connection::{Connection, On, within};
use super::rows::time;
use crate::ids::{ConversationId, FamilyId, MessageUid, Seq, UserId};

/// Stands in a statement for the list that [`Query::among`] gives.
const LIST: &str = "IN (@)";

/// A statement with its values.
#[must_use = "a statement does nothing until it is run"]
pub(super) struct Query<'q> {
    sql: SqlStr,
    values: Vec<Value<'q>>,
    among: Option<&'q [UserId]>,
    lock: Option<&'static str>,
}

/// What is bound.
pub(super) enum Value<'q> {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<&'q str>),
    Body(Option<&'q str>),
    Bytes(Option<&'q [u8]>),
    Uuid(Option<Uuid>),
}

/// What can be bound.
pub(super) trait Bind<'q>: Sized {
    /// Null has a type too.
    fn value(of: Option<Self>) -> Value<'q>;
}

/// Text of users, U+0000 included: no text of Postgres may have that, so it is kept there as bytes.
#[derive(Clone, Copy)]
pub(super) struct Body<'q>(pub(super) &'q str);

/// A statement without its values yet.
pub(super) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query::new(sql.into_sql_str())
}

impl<'q> Query<'q> {
    /// A statement that was put together; without values in its text.
    pub(super) fn new(sql: SqlStr) -> Self {
        Self { sql, values: Vec::new(), among: None, lock: None }
    }

    /// Binds the next value.
    pub(super) fn bind<T: Bind<'q>>(mut self, value: T) -> Self {
        self.values.push(T::value(Some(value)));
        self
    }

    /// Gives the list that `IN (@)` stands for, behind all other values; these may stand in the statement but once each,
    /// and in order.
    pub(super) fn among(mut self, ids: &'q [UserId]) -> Self {
        self.among = Some(ids);
        self
    }

    /// Postgres: nobody changes these rows until the transaction ends. SQLite: nobody can.
    pub(super) fn for_update(mut self) -> Self {
        self.lock = Some(" FOR UPDATE");
        self
    }

    /// Postgres: nobody changes these rows until the transaction ends, but others may do the same. SQLite: nobody can.
    pub(super) fn for_share(mut self) -> Self {
        self.lock = Some(" FOR SHARE");
        self
    }

    /// Every row that it returns.
    pub(super) async fn all(self, on: impl Into<On<'_>>) -> Result<Vec<Record>, Error> {
        let mut held = on.into().hold().await?;
        match held.connection() {
            Connection::Sqlite(connection) => {
                let rows = self.for_sqlite().fetch_all(connection).await?;
                Ok(rows.into_iter().map(Record::Sqlite).collect())
            }
            Connection::Postgres(lease) => {
                let limit = lease.limit;
                let rows = within(limit, self.for_postgres().fetch_all(lease.connection()?)).await?;
                Ok(rows.into_iter().map(Record::Postgres).collect())
            }
        }
    }

    /// The first row that it returns, if any.
    pub(super) async fn first(self, on: impl Into<On<'_>>) -> Result<Option<Record>, Error> {
        let mut held = on.into().hold().await?;
        match held.connection() {
            Connection::Sqlite(connection) => {
                Ok(self.for_sqlite().fetch_optional(connection).await?.map(Record::Sqlite))
            }
            Connection::Postgres(lease) => {
                let limit = lease.limit;
                let row = within(limit, self.for_postgres().fetch_optional(lease.connection()?)).await?;
                Ok(row.map(Record::Postgres))
            }
        }
    }

    /// The one row that it returns in any case.
    pub(super) async fn one(self, on: impl Into<On<'_>>) -> Result<Record, Error> {
        self.first(on).await?.ok_or(Error::Sql(sqlx::Error::RowNotFound))
    }

    /// How many rows it changed.
    pub(super) async fn run(self, on: impl Into<On<'_>>) -> Result<u64, Error> {
        let mut held = on.into().hold().await?;
        match held.connection() {
            Connection::Sqlite(connection) => Ok(self.for_sqlite().execute(connection).await?.rows_affected()),
            Connection::Postgres(lease) => {
                let limit = lease.limit;
                Ok(within(limit, self.for_postgres().execute(lease.connection()?)).await?.rows_affected())
            }
        }
    }

    /// As SQLite takes it.
    pub(super) fn for_sqlite(self) -> Prepared<'q, Sqlite, <Sqlite as Database>::Arguments> {
        let sql = match self.among {
            None => self.sql,
            // Nameless, all of them: for a named one SQLite searches the list of names at every bind.
            Some(ids) => {
                let mut text = self.sql.as_str().to_owned();
                for n in (1..=self.values.len()).rev() {
                    text = text.replace(&format!("${n}"), "?");
                }
                let list = vec!["?"; ids.len()].join(", ");
                AssertSqlSafe(text.replace(LIST, &format!("IN ({list})"))).into_sql_str()
            }
        };
        let mut query = sqlx::query(sql);
        for value in self.values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Bool(value) => query.bind(value),
                Value::Text(value) | Value::Body(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
                Value::Uuid(value) => query.bind(value),
            };
        }
        self.among.into_iter().flatten().fold(query, |query, id| query.bind(id.0))
    }

    /// As Postgres takes it: a list is one value there, however long it is.
    fn for_postgres(self) -> Prepared<'q, Postgres, <Postgres as Database>::Arguments> {
        let sql = match (self.among, self.lock) {
            (None, None) => self.sql,
            (among, lock) => {
                let mut text = self.sql.as_str().to_owned();
                if among.is_some() {
                    text = text.replace(LIST, &format!("= ANY(${})", self.values.len() + 1));
                }
                text.push_str(lock.unwrap_or_default());
                AssertSqlSafe(text).into_sql_str()
            }
        };
        let mut query = sqlx::query(sql);
        for value in self.values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Bool(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Body(value) => query.bind(value.map(str::as_bytes)),
                Value::Bytes(value) => query.bind(value),
                Value::Uuid(value) => query.bind(value),
            };
        }
        match self.among {
            Some(ids) => query.bind(ids.iter().map(|id| id.0).collect::<Vec<i64>>()),
            None => query,
        }
    }
}

macro_rules! bind {
    ($($kind:ty => $variant:ident($value:ident => $bound:expr);)*) => {
        $(impl<'q> Bind<'q> for $kind {
            fn value(of: Option<Self>) -> Value<'q> {
                Value::$variant(of.map(|$value| $bound))
            }
        })*
    };
}

bind! {
    i64 => Int(value => value);
    u32 => Int(value => i64::from(value));
    UserId => Int(value => value.0);
    Seq => Int(value => value.0);
    // In milliseconds since 1970.
    DateTime<Utc> => Int(value => value.timestamp_millis());
    bool => Bool(value => value);
    &'q str => Text(value => value);
    Body<'q> => Body(value => value.0);
    &'q [u8] => Bytes(value => value);
    Uuid => Uuid(value => value);
    MessageUid => Uuid(value => value.0);
    ConversationId => Uuid(value => value.0);
    FamilyId => Uuid(value => value.0);
}

impl<'q, T: Bind<'q>> Bind<'q> for Option<T> {
    fn value(of: Option<Self>) -> Value<'q> {
        T::value(of.flatten())
    }
}

/// A row of either database.
pub(super) enum Record {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of Postgres.
    Postgres(PgRow),
}

impl Record {
    /// What stands at this position, from 0.
    pub(super) fn get<'r, T: Column<'r>>(&'r self, at: usize) -> Result<T, sqlx::Error> {
        T::read(self, at)
    }
}

/// What can be read.
pub(super) trait Column<'r>: Sized {
    /// Reads it from there.
    fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error>;
}

macro_rules! column {
    ($($kind:ty),*) => {
        $(impl<'r> Column<'r> for $kind {
            fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
                match record {
                    Record::Sqlite(row) => row.try_get(at),
                    Record::Postgres(row) => row.try_get(at),
                }
            }
        })*
    };
    ($($kind:ident of $inner:ty),*) => {
        $(impl<'r> Column<'r> for $kind {
            fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
                <$inner>::read(record, at).map($kind)
            }
        })*
    };
}

column!(i64, bool, Uuid, String, &'r str, &'r [u8]);
column!(UserId of i64, Seq of i64, MessageUid of Uuid, ConversationId of Uuid, FamilyId of Uuid);

impl<'r> Column<'r> for DateTime<Utc> {
    fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
        i64::read(record, at).map(time)
    }
}

impl<'r> Column<'r> for u32 {
    fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
        u32::try_from(i64::read(record, at)?).map_err(|error| unreadable(at, error))
    }
}

impl<'r> Column<'r> for Body<'r> {
    fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
        match record {
            Record::Sqlite(row) => row.try_get(at).map(Body),
            Record::Postgres(row) => {
                std::str::from_utf8(row.try_get(at)?).map(Body).map_err(|error| unreadable(at, error))
            }
        }
    }
}

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn read(record: &'r Record, at: usize) -> Result<Self, sqlx::Error> {
        let null = match record {
            Record::Sqlite(row) => row.try_get_raw(at)?.is_null(),
            Record::Postgres(row) => row.try_get_raw(at)?.is_null(),
        };
        if null { Ok(None) } else { T::read(record, at).map(Some) }
    }
}

fn unreadable(at: usize, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: at.to_string(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use sqlx::Execute as _;

    use super::*;

    #[test]
    fn a_list_is_so_many_values_to_sqlite_and_one_to_postgres() {
        let ids = [UserId(1), UserId(2)];
        let both = || query("SELECT a FROM t WHERE b = $1 AND c IN (@)").bind(1_i64).among(&ids);
        assert_eq!(both().for_sqlite().sql().as_str(), "SELECT a FROM t WHERE b = ? AND c IN (?, ?)");
        assert_eq!(both().for_postgres().sql().as_str(), "SELECT a FROM t WHERE b = $1 AND c = ANY($2)");
    }

    #[test]
    fn only_postgres_is_told_to_lock_rows() {
        let both = || query("SELECT a FROM t").for_update();
        assert_eq!(both().for_sqlite().sql().as_str(), "SELECT a FROM t");
        assert_eq!(both().for_postgres().sql().as_str(), "SELECT a FROM t FOR UPDATE");
    }
}
