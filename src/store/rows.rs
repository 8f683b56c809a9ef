//! Rows into statements and back: multi-row VALUES in few shapes, times and ids as the tables hold them.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::connection::Dialect;

/// Shapes of 1, 2, 4 … 512 rows: few enough that every one stays a prepared statement.
const SHAPES: usize = 10;

/// A statement with many rows of values. Any number of rows is written in a few statements whose sizes are powers of
/// two, so that the database parses each shape once.
pub(super) struct Values {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    sqlite: [OnceLock<Arc<str>>; SHAPES],
    postgres: [OnceLock<Arc<str>>; SHAPES],
}

impl Values {
    /// `head VALUES (…), (…) tail`, with `columns` values a row.
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        let sqlite = [const { OnceLock::new() }; SHAPES];
        let postgres = [const { OnceLock::new() }; SHAPES];
        Self { head, columns, tail, sqlite, postgres }
    }

    /// The statements for these rows, each with its share of them, in order.
    pub(super) fn of<'a, T>(&'a self, dialect: Dialect, mut rows: &'a [T]) -> impl Iterator<Item = (SqlStr, &'a [T])> {
        std::iter::from_fn(move || {
            let shape = rows.len().checked_ilog2()?.min(SHAPES as u32 - 1) as usize;
            let (now, later) = rows.split_at(1 << shape);
            rows = later;
            Some((AssertSqlSafe(self.sql(dialect, shape)).into_sql_str(), now))
        })
    }

    fn sql(&self, dialect: Dialect, shape: usize) -> Arc<str> {
        let shapes = match dialect {
            Dialect::Sqlite => &self.sqlite,
            Dialect::Postgres => &self.postgres,
        };
        shapes[shape].get_or_init(|| self.text(dialect, 1 << shape).into()).clone()
    }

    /// Only numbers are put into the text; values are always bound.
    fn text(&self, dialect: Dialect, rows: usize) -> String {
        let mut sql = format!("{} VALUES ", self.head);
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns {
                sql.push_str(if column == 0 { "" } else { ", " });
                match dialect {
                    // Nameless: for a named parameter (`$1`) SQLite searches the list of names at every bind, and a list
                    // of thousands then costs more than the insert.
                    Dialect::Sqlite => sql.push('?'),
                    Dialect::Postgres => sql.push_str(&format!("${}", row * self.columns + column + 1)),
                }
            }
            sql.push(')');
        }
        sql.push(' ');
        sql.push_str(self.tail);
        sql
    }
}

/// A stored time, in milliseconds since 1970.
pub(super) fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_covered_once_in_order() {
        let values = Values::new("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");
        let of_two = |dialect| values.text(dialect, 2);
        assert_eq!(of_two(Dialect::Sqlite), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING");
        assert_eq!(of_two(Dialect::Postgres), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING");
        for n in [0, 1, 2, 3, 511, 512, 513, 1500] {
            let rows: Vec<usize> = (0..n).collect();
            let seen: Vec<usize> = values.of(Dialect::Sqlite, &rows).flat_map(|(_, rows)| rows.to_vec()).collect();
            assert_eq!(seen, rows);
        }
    }
}
