//! Settings of Redis, `[redis]`: how long it may take to answer. Nothing waits for it longer.

use std::time::Duration;

use serde::Deserialize;

use super::cluster::Error;

/// `[redis]`: where `redis_url` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisOptions {
    /// Milliseconds that making a connection may take.
    pub connect_ms: u64,
    /// Milliseconds that a command may take; then the connection counts as lost and another is made.
    pub command_ms: u64,
    /// Milliseconds that a message waits for Redis to say on which nodes its readers are, or how much its sender sent
    /// elsewhere; then every node is told, and this node's own count decides.
    pub lookup_ms: u64,
    /// Milliseconds that a session that opens waits until Redis knows of it; then it opens all the same, and the node
    /// asks the store once a second for what its sessions were not told.
    pub announce_ms: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { connect_ms: 1000, command_ms: 1000, lookup_ms: 100, announce_ms: 250 }
    }
}

impl RedisOptions {
    /// Whether one can work with these.
    ///
    /// # Errors
    /// The first key that is out of bounds.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (key, value) in [
            ("redis.connect_ms", self.connect_ms),
            ("redis.command_ms", self.command_ms),
            ("redis.lookup_ms", self.lookup_ms),
            ("redis.announce_ms", self.announce_ms),
        ] {
            if !(1..=60_000).contains(&value) {
                return Err(Error::Value { key, detail: "must be from 1 to 60000".into() });
            }
        }
        if self.lookup_ms > self.command_ms {
            return Err(Error::Value { key: "redis.lookup_ms", detail: "must not be over redis.command_ms".into() });
        }
        Ok(())
    }

    /// How long making a connection may take.
    #[must_use]
    pub fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// How long a command may take.
    #[must_use]
    pub fn command(&self) -> Duration {
        Duration::from_millis(self.command_ms)
    }

    /// How long a message may wait.
    #[must_use]
    pub fn lookup(&self) -> Duration {
        Duration::from_millis(self.lookup_ms)
    }

    /// How long a session may wait.
    #[must_use]
    pub fn announce(&self) -> Duration {
        Duration::from_millis(self.announce_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_holds_on_both_sides() {
        let with = |lookup_ms, command_ms| RedisOptions { lookup_ms, command_ms, ..RedisOptions::default() }.check();
        assert!(RedisOptions::default().check().is_ok());
        assert!(with(0, 10).is_err() && with(1, 10).is_ok() && with(10, 10).is_ok() && with(11, 10).is_err());
        assert!(with(1, 60_000).is_ok() && with(1, 60_001).is_err());
    }
}
