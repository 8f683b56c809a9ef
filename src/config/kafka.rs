//! Settings of the bus of a cluster.

use serde::Deserialize;

/// `[kafka]`: where `kafka_brokers` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaOptions {
    /// Partitions of each stage's topic, when it is made here: as many nodes can share its work.
    pub partitions: u32,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self { partitions: 12 }
    }
}
