//! Settings of the database of a cluster.

use serde::Deserialize;

/// `[database]`: Postgres, where `database_url` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseOptions {
    /// Connections of this node at most.
    pub connections: u32,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { connections: 16 }
    }
}
