//! Settings of Redis, which says who is where.

use serde::Deserialize;

/// `[redis]`: where `redis_url` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisOptions {
    /// Milliseconds that a command may take; then it goes on without Redis.
    pub timeout_ms: u64,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { timeout_ms: 100 }
    }
}
