//! Settings of the bus of a cluster.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::secret::Secret;

/// More partitions than this cost the brokers more than nodes gain.
const MOST_PARTITIONS: u32 = 10_000;
/// A group that misses a member sooner takes partitions from nodes that are only slow.
const SHORTEST_SESSION: u64 = 1_000;
/// The library wants to hold at least one of the largest records, and counts in 32 bits.
const LARGEST_FETCH: usize = 1 << 30;

/// `[kafka]`: where `kafka_brokers` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaOptions {
    /// Partitions of each stage's topic, when it is made here: as many nodes can share its work.
    pub partitions: u32,
    /// Copies of each topic.
    pub replication: u16,
    /// Copies that must have a record before it counts as kept.
    pub min_in_sync: u16,
    /// Hours that a record is kept, finished or not.
    pub retention_hours: u64,
    /// Milliseconds for which records are gathered before they are sent.
    pub linger_millis: u64,
    /// Milliseconds after which a record that the brokers did not take is given up. It may still have been written.
    pub delivery_timeout_millis: u64,
    /// Milliseconds without a sign of life after which a node's partitions go to others.
    pub session_timeout_millis: u64,
    /// Milliseconds between two times that positions are told to the brokers.
    pub commit_interval_millis: u64,
    /// Milliseconds that a partition which another node is to have waits for what is in work.
    pub handover_millis: u64,
    /// Bytes that are fetched ahead, for each topic.
    pub fetch_bytes: usize,
    /// How brokers are spoken to: `plaintext`, `tls`, `sasl_plaintext` or `sasl_tls`.
    pub security: Security,
    /// How the user is proved: `plain`, `scram_sha_256` or `scram_sha_512`.
    pub sasl_mechanism: SaslMechanism,
    /// The user, where `security` has SASL.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file with the certificates that brokers are checked against. Without it the system's.
    pub ca_path: Option<PathBuf>,
    /// A file with this node's certificate, where brokers ask for one.
    pub certificate_path: Option<PathBuf>,
    /// The file with its key.
    pub key_path: Option<PathBuf>,
    /// The key's password.
    pub key_password: Option<Secret>,
}

/// How brokers are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// In the clear, and to anybody.
    #[default]
    Plaintext,
    /// Encrypted; a node is known by its certificate, if at all.
    Tls,
    /// In the clear, with a user and a password.
    SaslPlaintext,
    /// Encrypted, with a user and a password.
    SaslTls,
}

impl Security {
    /// Kafka's name for it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslTls => "sasl_ssl",
        }
    }

    /// Whether there is a user.
    #[must_use]
    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslTls)
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SaslTls)
    }
}

/// How a user is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// By the password itself.
    Plain,
    /// By a proof of it.
    #[serde(rename = "scram_sha_256")]
    ScramSha256,
    /// The same, with the longer hash.
    #[default]
    #[serde(rename = "scram_sha_512")]
    ScramSha512,
}

impl SaslMechanism {
    /// Kafka's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            partitions: 12,
            replication: 3,
            min_in_sync: 2,
            retention_hours: 168,
            linger_millis: 5,
            delivery_timeout_millis: 15_000,
            session_timeout_millis: 6_000,
            commit_interval_millis: 100,
            handover_millis: 5_000,
            fetch_bytes: 16 << 20,
            security: Security::Plaintext,
            sasl_mechanism: SaslMechanism::ScramSha512,
            username: None,
            password: None,
            ca_path: None,
            certificate_path: None,
            key_path: None,
            key_password: None,
        }
    }
}

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kafka.{key}: {detail}")]
pub struct Error {
    /// Which key.
    pub key: &'static str,
    /// What it must be.
    pub detail: String,
}

impl KafkaOptions {
    /// How long a record is kept.
    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_hours.saturating_mul(3600))
    }

    /// After which time a record that the brokers did not take is given up.
    #[must_use]
    pub fn delivery_timeout(&self) -> Duration {
        Duration::from_millis(self.delivery_timeout_millis)
    }

    /// How often positions are told.
    #[must_use]
    pub fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_millis)
    }

    /// How long a partition waits for what is in work.
    #[must_use]
    pub fn handover(&self) -> Duration {
        Duration::from_millis(self.handover_millis)
    }

    /// Whether the bus can work with these, and with records of so many bytes.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn check(&self, max_record_bytes: usize) -> Result<(), Error> {
        let refuse = |key, detail: &str| Err(Error { key, detail: detail.to_owned() });
        if !(1..=MOST_PARTITIONS).contains(&self.partitions) {
            return refuse("partitions", &format!("must be from 1 to {MOST_PARTITIONS}"));
        }
        if self.replication == 0 {
            return refuse("replication", "must be at least 1");
        }
        if self.min_in_sync == 0 || self.min_in_sync > self.replication {
            return refuse("min_in_sync", "must be from 1 to kafka.replication");
        }
        if self.retention_hours == 0 {
            return refuse("retention_hours", "must be at least 1");
        }
        if self.linger_millis >= self.delivery_timeout_millis {
            return refuse("delivery_timeout_millis", "must be above kafka.linger_millis");
        }
        if self.session_timeout_millis < SHORTEST_SESSION {
            return refuse("session_timeout_millis", &format!("must be at least {SHORTEST_SESSION}"));
        }
        if self.commit_interval_millis == 0 {
            return refuse("commit_interval_millis", "must be at least 1");
        }
        if !(max_record_bytes..=LARGEST_FETCH).contains(&self.fetch_bytes) {
            return refuse("fetch_bytes", &format!("must be from bus.max_record_bytes to {LARGEST_FETCH}"));
        }
        if self.security.has_sasl() && (self.username.is_none() || self.password.is_none()) {
            return refuse("security", "has SASL, so kafka.username and kafka.password must be set");
        }
        let has_tls_files = [&self.ca_path, &self.certificate_path, &self.key_path].iter().any(|path| path.is_some());
        if has_tls_files && !self.security.has_tls() {
            return refuse("security", "must be tls or sasl_tls where certificates are set");
        }
        if self.certificate_path.is_some() != self.key_path.is_some() {
            return refuse("key_path", "must be set together with kafka.certificate_path");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(settings: serde_json::Value) -> String {
        serde_json::from_value::<KafkaOptions>(settings).unwrap().check(1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_work_and_every_bad_key_is_named() {
        assert_eq!(KafkaOptions::default().check(1 << 20), Ok(()));
        for (settings, key) in [
            (json!({"partitions": 0}), "partitions"),
            (json!({"partitions": 10_001}), "partitions"),
            (json!({"replication": 0}), "replication"),
            (json!({"min_in_sync": 0}), "min_in_sync"),
            (json!({"min_in_sync": 4}), "min_in_sync"),
            (json!({"retention_hours": 0}), "retention_hours"),
            (json!({"delivery_timeout_millis": 1}), "delivery_timeout_millis"),
            (json!({"session_timeout_millis": 999}), "session_timeout_millis"),
            (json!({"commit_interval_millis": 0}), "commit_interval_millis"),
            (json!({"fetch_bytes": (1 << 20) - 1}), "fetch_bytes"),
            (json!({"security": "sasl_tls", "username": "parlor"}), "security"),
            (json!({"ca_path": "/ca.pem"}), "security"),
            (json!({"security": "tls", "key_path": "/key.pem"}), "key_path"),
        ] {
            assert!(refused(settings.clone()).starts_with(&format!("kafka.{key}: ")), "{settings}");
        }
        let fine = json!({"security": "sasl_tls", "username": "u", "password": "p", "ca_path": "/ca.pem",
            "sasl_mechanism": "scram_sha_256", "fetch_bytes": 1 << 20, "min_in_sync": 3});
        let fine: KafkaOptions = serde_json::from_value(fine).unwrap();
        assert_eq!((fine.check(1 << 20), fine.sasl_mechanism.name()), (Ok(()), "SCRAM-SHA-256"));
    }
}
