//! Settings of a node among others: its slot, and how it hands clients over.

use std::time::Duration;

use serde::Deserialize;

use super::Config;

/// Slots that there may be: each is a partition of the bridge.
const MOST_SLOTS: u32 = 1024;

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterOptions {
    /// Slots, and so nodes, that there may be at most: 1 to 1024. Each is a partition of the bridge. The same on all nodes.
    pub slots: u32,
    /// Clients a second that a node which is told to stop sends to others: at least 1.
    pub handover_per_second: u32,
    /// Milliseconds over which those who are sent away at once come back.
    pub handover_jitter_ms: u64,
    /// Clients a second that a node with more than its share sends to others; 0: none.
    pub shed_per_second: u32,
    /// Milliseconds after which a node that Redis has not heard of has lost its slot: 1000 to 600000. It is heard of three
    /// times in that time.
    pub lease_ms: u64,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { slots: 64, handover_per_second: 500, handover_jitter_ms: 200, shed_per_second: 50, lease_ms: 10_000 }
    }
}

impl ClusterOptions {
    /// Over which time those who are sent away at once come back.
    #[must_use]
    pub fn handover_jitter(&self) -> Duration {
        Duration::from_millis(self.handover_jitter_ms)
    }

    /// How long a slot is held without a word.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// Which slot a node takes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SlotSetting {
    /// This one.
    Number(u32),
    /// `"hostname"`: the number at the end of the host's name, as a StatefulSet gives it.
    Named(String),
}

/// What is wrong with the settings of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One is missing.
    #[error("{missing}: must be set, because {because} is: {why}")]
    Missing {
        /// The key that is missing.
        missing: &'static str,
        /// The key that makes it necessary.
        because: &'static str,
        /// What it is for.
        why: &'static str,
    },
    /// A value is out of bounds.
    #[error("{key}: {detail}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it must be.
        detail: String,
    },
}

/// Whether the settings of a cluster fit together.
///
/// # Errors
/// [`Error`] names the key.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    let missing = |missing, because, why| Err(Error::Missing { missing, because, why });
    if !(1..=MOST_SLOTS).contains(&config.cluster.slots) {
        return Err(Error::Value { key: "cluster.slots", detail: format!("must be from 1 to {MOST_SLOTS}") });
    }
    if config.cluster.handover_per_second == 0 {
        return Err(Error::Value { key: "cluster.handover_per_second", detail: "must be at least 1".into() });
    }
    if !(1000..=600_000).contains(&config.cluster.lease_ms) {
        return Err(Error::Value { key: "cluster.lease_ms", detail: "must be from 1000 to 600000".into() });
    }
    config.redis.check()?;
    match &config.slot {
        Some(SlotSetting::Number(n)) if *n >= config.cluster.slots => {
            let detail = format!("must be below cluster.slots, which is {}", config.cluster.slots);
            return Err(Error::Value { key: "slot", detail });
        }
        Some(SlotSetting::Named(name)) if name != "hostname" => {
            return Err(Error::Value { key: "slot", detail: "must be a number or \"hostname\"".into() });
        }
        _ => {}
    }
    if config.is_cluster() {
        if config.database_url.is_none() {
            return missing("database_url", "kafka_brokers", "a cluster's tables are in Postgres");
        }
        if config.jwt_keys.is_none() {
            return missing("jwt_keys", "kafka_brokers", "all nodes must know each other's access tokens");
        }
        if config.object_store_url.is_none() {
            return missing("object_store_url", "kafka_brokers", "all nodes must read the same sources of scripts");
        }
        if config.redis_url.is_none() && config.slot.is_none() {
            return missing("slot", "kafka_brokers", "without redis_url nobody else can say which slot this node has");
        }
        return Ok(());
    }
    if config.database_url.is_some() {
        return missing("kafka_brokers", "database_url", "a node alone keeps its tables in its data folder");
    }
    if config.redis_url.is_some() {
        return missing("kafka_brokers", "redis_url", "a node alone has nobody to look for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn load(settings: &[(&str, Value)]) -> Result<Config, String> {
        let settings: serde_json::Map<_, _> = settings.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Config::load(None, Value::Object(settings)).map_err(|error| error.to_string())
    }

    fn cluster() -> Vec<(&'static str, Value)> {
        vec![
            ("kafka_brokers", json!("127.0.0.1:9092")),
            ("database_url", json!("postgres://parlor@127.0.0.1/parlor")),
            ("jwt_keys", json!("k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")),
            ("object_store_url", json!("s3://parlor/scripts")),
            ("redis_url", json!("redis://127.0.0.1/0")),
        ]
    }

    #[test]
    fn a_cluster_needs_all_that_its_nodes_share() {
        assert!(load(&cluster()).unwrap().is_cluster());
        for missing in ["database_url", "jwt_keys", "object_store_url"] {
            let rest: Vec<_> = cluster().into_iter().filter(|(key, _)| *key != missing).collect();
            let refusal = load(&rest).unwrap_err();
            assert!(refusal.contains(&format!("{missing}: must be set")), "{refusal}");
        }
        for (alone, needs) in [("database_url", "kafka_brokers"), ("redis_url", "kafka_brokers")] {
            let refusal = load(&[(alone, json!("x://y"))]).unwrap_err();
            assert!(refusal.contains(needs), "{refusal}");
        }
    }

    #[test]
    fn a_slot_is_below_the_number_of_slots_and_must_be_given_without_redis() {
        let with = |slot: Value, slots: u32| {
            let mut settings = cluster();
            settings.push(("slot", slot));
            settings.push(("cluster", json!({ "slots": slots })));
            load(&settings)
        };
        assert_eq!(with(json!(3), 4).unwrap().slot, Some(SlotSetting::Number(3)));
        assert!(with(json!(4), 4).unwrap_err().contains("slot: must be below"));
        assert!(with(json!("hostname"), 4).is_ok());
        assert!(with(json!("hosts"), 4).unwrap_err().contains("hostname"));
        for (slots, fine) in [(0, false), (1, true), (MOST_SLOTS, true), (MOST_SLOTS + 1, false)] {
            assert_eq!(with(json!(0), slots).is_ok(), fine, "{slots}");
        }
        for (rate, fine) in [(0, false), (1, true)] {
            let mut settings = cluster();
            settings.push(("cluster", json!({ "handover_per_second": rate })));
            assert_eq!(load(&settings).is_ok(), fine, "{rate}");
        }
        let mut alone: Vec<_> = cluster().into_iter().filter(|(key, _)| *key != "redis_url").collect();
        assert!(load(&alone).unwrap_err().contains("slot: must be set"));
        alone.push(("slot", json!(0)));
        assert!(load(&alone).is_ok());
    }

    #[test]
    fn in_a_cluster_somebody_else_may_host_a_stage_and_it_may_be_anybodys() {
        let mut settings = cluster();
        settings.push(("stages", json!(["gateway", "router"])));
        settings.push(("pipeline", json!(["outgoing", "shout", "router"])));
        assert!(load(&settings).is_ok());
        settings.push(("stages", json!(["gateway", "shout"])));
        assert!(load(&settings).unwrap_err().contains("shout"), "what this node hosts, it must know");
    }
}
