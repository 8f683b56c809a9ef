//! Settings of the database of a cluster.

use std::time::Duration;

use serde::Deserialize;

/// `[database]`: Postgres, where `database_url` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseOptions {
    /// Connections of this node at most: 2 to 1000. Who finds none free waits.
    pub connections: u32,
    /// Seconds that somebody waits for a connection, or for the server to answer at the start: 1 to 300.
    pub acquire_seconds: u64,
    /// Seconds that one statement may take before it is broken off: 1 to 300. A node that is stuck in a transaction for as
    /// long loses it.
    pub statement_seconds: u64,
    /// Whether a node that starts brings the tables up to date. If not, it refuses to start until `parlor migrate apply` did.
    pub migrate_at_start: bool,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { connections: 16, acquire_seconds: 5, statement_seconds: 10, migrate_at_start: true }
    }
}

/// A value that is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("database.{key}: must be from {least} to {most}")]
pub struct Error {
    key: &'static str,
    least: u64,
    most: u64,
}

impl DatabaseOptions {
    /// Whether the store can work with these.
    ///
    /// # Errors
    /// [`Error`] names the key.
    pub fn check(&self) -> Result<(), Error> {
        for (key, value, least, most) in [
            ("connections", u64::from(self.connections), 2, 1000),
            ("acquire_seconds", self.acquire_seconds, 1, 300),
            ("statement_seconds", self.statement_seconds, 1, 300),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Error { key, least, most });
            }
        }
        Ok(())
    }

    /// How long to wait for a connection.
    #[must_use]
    pub fn acquire(&self) -> Duration {
        Duration::from_secs(self.acquire_seconds)
    }

    /// How long one statement may take.
    #[must_use]
    pub fn statement(&self) -> Duration {
        Duration::from_secs(self.statement_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_holds_on_both_sides() {
        let with = |change: fn(&mut DatabaseOptions, u64), value| {
            let mut options = DatabaseOptions::default();
            change(&mut options, value);
            options.check().is_ok()
        };
        assert!(DatabaseOptions::default().check().is_ok());
        let connections = |options: &mut DatabaseOptions, value| options.connections = u32::try_from(value).unwrap();
        for (value, fine) in [(1, false), (2, true), (1000, true), (1001, false)] {
            assert_eq!(with(connections, value), fine, "connections {value}");
        }
        for (value, fine) in [(0, false), (1, true), (300, true), (301, false)] {
            assert_eq!(with(|options, value| options.acquire_seconds = value, value), fine, "acquire_seconds {value}");
            assert_eq!(
                with(|options, value| options.statement_seconds = value, value),
                fine,
                "statement_seconds {value}"
            );
        }
    }
}
