//! The settings: one struct per concern, read once, refused before anything is opened if they cannot be.
//!
//! `parlor.toml`, then the environment (`PARLOR_LISTEN`, `PARLOR_SESSION__MAX_MESSAGE_BYTES`), then flags; the later
//! wins. Every key is documented where it is declared. `PARLOR_…_FILE` reads a value from a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::Deserialize;

use self::accounts::AccountsOptions;
use self::bus::BusOptions;
use self::cluster::{ClusterOptions, SlotSetting};
use self::database::DatabaseOptions;
use self::kafka::KafkaOptions;
use self::redis::RedisOptions;
use self::scripts::ScriptsOptions;
use self::secret::Secret;
use self::session::SessionOptions;
use self::telemetry::TelemetryOptions;
use crate::pipeline::stages::{AUTO_REPLY, Catalogue, INCOMING, OUTGOING, ROUTER};

pub mod accounts;
pub mod bus;
pub mod cluster;
pub mod database;
pub mod jolie;
pub mod kafka;
pub mod redis;
pub mod scripts;
pub mod secret;
pub mod session;
pub mod telemetry;

/// The stage that is no stage of the pipeline: sockets and HTTP.
pub const GATEWAY: &str = "gateway";
/// `PARLOR_` variables that are no settings: of the terminal client, and the name of the settings file itself.
const OTHER_VARIABLES: [&str; 4] = ["config", "password", "log", "url"];
/// The keys at the top of the file, as the struct below has them; a test compares.
const KEYS: [&str; 27] = [
    "data",
    "listen",
    "internal_listen",
    "workers",
    "stages",
    "pipeline",
    "topic_prefix",
    "in_flight",
    "trusted_proxies",
    "log_format",
    "reconnect_spread_seconds",
    "drain_limit_seconds",
    "jwt_keys",
    "accounts",
    "session",
    "bus",
    "scripts",
    "object_store_url",
    "database_url",
    "kafka_brokers",
    "redis_url",
    "slot",
    "database",
    "kafka",
    "redis",
    "cluster",
    "telemetry",
];
const LARGEST_MESSAGE: usize = 10 * 1024 * 1024;

/// All settings. Those at the top are the process's own: where it listens, what it hosts, how it stops.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The folder that holds everything: accounts, inboxes, the bus, this node's own keys.
    pub data: PathBuf,
    /// Address and port of sockets and HTTP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address and port of `/healthz`, `/readyz` and `/metrics`: for the operator's machines only.
    pub internal_listen: SocketAddr,
    /// Threads that serve sockets; 0: one for each processor.
    pub workers: usize,
    /// Stages that this node hosts.
    pub stages: Vec<String>,
    /// Stages that a message passes, in this order. The last must be `router`.
    pub pipeline: Vec<String>,
    /// What the names of all topics begin with.
    pub topic_prefix: String,
    /// Records in work at once on this node. More wait on the bus.
    pub in_flight: usize,
    /// Addresses or networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// How log lines look: `text` or `json`.
    pub log_format: LogFormat,
    /// Seconds over which clients are told to come back when the node stops.
    pub reconnect_spread_seconds: u64,
    /// Seconds that stopping may take; then the node exits with what is unfinished still on the bus.
    pub drain_limit_seconds: u64,
    /// `id:base64secret,id:base64secret`; the first signs, all verify. Without it the node makes its own and keeps
    /// them in the data folder.
    pub jwt_keys: Option<Secret>,
    /// `[accounts]`.
    pub accounts: AccountsOptions,
    /// `[session]`.
    pub session: SessionOptions,
    /// `[bus]`.
    pub bus: BusOptions,
    /// `[scripts]`.
    pub scripts: ScriptsOptions,
    /// Where the sources of scripts lie: `gs://BUCKET/PREFIX`, `s3://BUCKET/PREFIX`. Without it: the folder `scripts` in the
    /// data folder.
    pub object_store_url: Option<String>,
    /// `postgres://USER:PASSWORD@HOST/DATABASE`: the tables of a cluster. Without it they are a file in the data folder.
    pub database_url: Option<Secret>,
    /// `HOST:PORT,HOST:PORT`: the bus of a cluster. Without it the bus is a journal in the data folder.
    pub kafka_brokers: Option<String>,
    /// `redis://:PASSWORD@HOST:PORT/DB`, or `rediss://…` with TLS: who is where in a cluster. Without it every node hears of
    /// every message, and `slot` must say which node this is.
    pub redis_url: Option<Secret>,
    /// This node's number in the cluster, from 0; `"hostname"` takes the number at the end of the host's name. Without it the
    /// node takes a free one in Redis.
    pub slot: Option<SlotSetting>,
    /// `[database]`.
    pub database: DatabaseOptions,
    /// `[kafka]`.
    pub kafka: KafkaOptions,
    /// `[redis]`.
    pub redis: RedisOptions,
    /// `[cluster]`.
    pub cluster: ClusterOptions,
    /// `[telemetry]`.
    pub telemetry: TelemetryOptions,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("parlor-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            internal_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            workers: 0,
            stages: [GATEWAY, OUTGOING, INCOMING, AUTO_REPLY, ROUTER].map(str::to_owned).into(),
            pipeline: [OUTGOING, INCOMING, AUTO_REPLY, ROUTER].map(str::to_owned).into(),
            topic_prefix: "parlor".to_owned(),
            in_flight: 4096,
            trusted_proxies: Vec::new(),
            log_format: LogFormat::Text,
            reconnect_spread_seconds: 2,
            drain_limit_seconds: 20,
            jwt_keys: None,
            accounts: AccountsOptions::default(),
            session: SessionOptions::default(),
            bus: BusOptions::default(),
            scripts: ScriptsOptions::default(),
            object_store_url: None,
            database_url: None,
            kafka_brokers: None,
            redis_url: None,
            slot: None,
            database: DatabaseOptions::default(),
            kafka: KafkaOptions::default(),
            redis: RedisOptions::default(),
            cluster: ClusterOptions::default(),
            telemetry: TelemetryOptions::default(),
        }
    }
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key is unknown, or its value is of the wrong kind.
    #[error("settings: {}", explain(.0))]
    Read(Box<figment::Error>),
    /// A file that was named cannot be read.
    #[error("settings: cannot read {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A value of the bus is out of bounds.
    #[error("settings: {0}")]
    Bus(#[from] bus::Error),
    /// A value of the database is out of bounds.
    #[error("settings: {0}")]
    Database(#[from] database::Error),
    /// A value of the cluster is out of bounds, or one is missing.
    #[error("settings: {0}")]
    Cluster(#[from] cluster::Error),
    /// A value of Kafka is out of bounds.
    #[error("settings: {0}")]
    Kafka(#[from] kafka::Error),
    /// A value of the scripts is out of bounds.
    #[error("settings: {0}")]
    Scripts(#[from] scripts::Error),
    /// A value is out of bounds.
    #[error("settings: {key}: {detail}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it must be.
        detail: String,
    },
}

impl Config {
    /// Reads `file` (which must exist if named), the environment, and `flags`; the later wins.
    ///
    /// # Errors
    /// [`Error`] names the key and what is allowed.
    pub fn load(file: Option<&Path>, flags: serde_json::Value) -> Result<Self, Error> {
        let mut figment = Figment::new();
        if let Some(path) = file {
            // Figment takes a file that is not there for an empty one.
            std::fs::File::open(path).map_err(|source| Error::File { path: path.into(), source })?;
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(secrets_from_files()?).merge(environment()).merge(Serialized::defaults(flags));
        let config: Self = figment.extract().map_err(|error| Error::Read(Box::new(error)))?;
        config.check(&Catalogue::standard())?;
        Ok(config)
    }

    /// Whether the server can work with these, and with the stages of `catalogue`.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn check(&self, catalogue: &Catalogue) -> Result<(), Error> {
        let refuse = |key, detail: String| Err(Error::Value { key, detail });
        let session = &self.session;
        if self.pipeline.last().map(String::as_str) != Some(ROUTER) {
            return refuse("pipeline", "must end with \"router\", which writes the inboxes".into());
        }
        for (n, name) in self.pipeline.iter().enumerate() {
            if self.pipeline[..n].contains(name) {
                return refuse("pipeline", format!("names {name:?} twice"));
            }
            // A single node has nobody else who could host it; in a cluster others may, in any language.
            if !self.is_cluster() && !self.stages.contains(name) {
                return refuse(
                    "stages",
                    format!("must host {name:?}, which is in the pipeline: there is no other node"),
                );
            }
        }
        for name in self.stages.iter().filter(|name| *name != GATEWAY) {
            if catalogue.get(name).is_none() {
                let known: Vec<&str> = catalogue.names().chain([GATEWAY]).collect();
                return refuse("stages", format!("{name:?} is no stage; known are {}", known.join(", ")));
            }
        }
        if !(1..=LARGEST_MESSAGE).contains(&session.max_message_bytes) {
            return refuse("session.max_message_bytes", format!("must be from 1 to {LARGEST_MESSAGE}"));
        }
        if !(1..=10_000).contains(&session.max_recipients) {
            return refuse("session.max_recipients", "must be from 1 to 10000".into());
        }
        for (key, value) in [
            ("session.in_flight", session.in_flight),
            ("session.sessions_per_user", session.sessions_per_user),
            ("session.other_frames_burst", session.other_frames_burst as usize),
            ("session.message_burst", session.message_burst as usize),
            ("session.messages_per_second", session.messages_per_second as usize),
            ("in_flight", self.in_flight),
        ] {
            if value == 0 {
                return refuse(key, "must be at least 1".into());
            }
        }
        let record = session.max_record_bytes();
        if self.bus.max_record_bytes < record {
            let detail = format!("must be at least {record}, for session.max_message_bytes and session.max_recipients");
            return refuse("bus.max_record_bytes", detail);
        }
        if self.is_cluster() {
            self.kafka.check(self.bus.max_record_bytes)?;
        }
        if let Err(detail) = self.telemetry.traces() {
            return refuse("telemetry.otlp_endpoint", detail);
        }
        self.scripts.check()?;
        self.database.check()?;
        cluster::check(self)?;
        Ok(self.bus.check()?)
    }

    /// Whether this node is one of many: on Kafka and Postgres, and not on a data folder of its own.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.kafka_brokers.is_some()
    }

    /// How long stopping may take.
    #[must_use]
    pub fn drain_limit(&self) -> Duration {
        Duration::from_secs(self.drain_limit_seconds)
    }

    /// Over which time clients come back.
    #[must_use]
    pub fn reconnect_spread(&self) -> Duration {
        Duration::from_secs(self.reconnect_spread_seconds)
    }
}

/// In one line: where it stands, which key, what is wrong.
fn explain(error: &figment::Error) -> String {
    let from = error.metadata.as_ref().map(|from| match &from.source {
        Some(source) => format!("{source}: "),
        None => format!("{}: ", from.name),
    });
    let key = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path.join(".")) };
    // A syntax error of TOML shows the line itself, in several of ours.
    let kind = error.kind.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{key}{kind}", from.unwrap_or_default())
}

fn environment() -> Env {
    // Sorted out before the names are split: afterwards a section is parted from its key by a point.
    let settings = Env::prefixed("PARLOR_").filter(|key| {
        let key = key.as_str().to_ascii_lowercase();
        !key.ends_with("_file") && is_setting(&key)
    });
    settings.split("__")
}

/// Whether a variable's name, without `PARLOR_`, begins with a key. Others may be anybody's: Kubernetes sets
/// `PARLOR_PORT` and its like for every Service named `parlor`. A wrong key behind a right section is refused as in
/// the file.
fn is_setting(name: &str) -> bool {
    let top = name.split_once("__").map_or(name, |(section, _)| section);
    KEYS.contains(&top)
}

/// Variables that begin with `PARLOR_` and are neither settings nor the terminal client's: to be told, in case one is
/// a mistyped setting.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = names.filter(|name| {
        let Some(key) = name.strip_prefix("PARLOR_").map(str::to_ascii_lowercase) else { return false };
        let key = key.strip_suffix("_file").unwrap_or(&key);
        !is_setting(key) && !OTHER_VARIABLES.contains(&key)
    });
    unknown.collect()
}

/// `PARLOR_JWT_KEYS_FILE=/run/secrets/keys`: the value is what the file holds.
fn secrets_from_files() -> Result<Figment, Error> {
    let mut figment = Figment::new();
    for (name, path) in std::env::vars() {
        let Some(key) = name.strip_prefix("PARLOR_").and_then(|name| name.strip_suffix("_FILE")) else { continue };
        if !is_setting(&key.to_ascii_lowercase()) {
            continue;
        }
        let path = PathBuf::from(path);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
        let key = key.to_ascii_lowercase().replace("__", ".");
        figment = figment.merge((key, text.trim_end_matches(['\r', '\n'])));
    }
    Ok(figment)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(flags: serde_json::Value) -> String {
        Config::load(None, flags).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_work_and_a_bad_setting_is_named() {
        let config = Config::load(None, json!({})).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert!(refused(json!({"listne": 1})).contains("listne"));
        assert!(refused(json!({"session": {"max_messages": 1}})).contains("max_messages"));
        assert!(refused(json!({"listen": "here"})).contains("listen"));
        assert!(refused(json!({"pipeline": []})).contains("pipeline"));
        assert!(refused(json!({"pipeline": ["router", "router"]})).contains("twice"));
        assert!(refused(json!({"stages": ["gateway"]})).contains("stages"));
        assert!(
            refused(json!({"stages": ["gateway", "outgoing", "incoming", "auto-reply", "router", "tea"]}))
                .contains("tea")
        );
    }

    #[test]
    fn every_key_is_also_a_variable_and_foreign_variables_are_left_alone() {
        let refusal = refused(json!({"nothing": 1}));
        for key in KEYS {
            assert!(refusal.contains(&format!("`{key}`")), "{key} is no key: {refusal}");
        }
        assert_eq!(refusal.matches("`, `").count() + 1, KEYS.len(), "a key is missing in KEYS: {refusal}");
        for (name, fine) in [("listen", true), ("session__in_flight", true), ("port", false), ("service_host", false)] {
            assert_eq!(is_setting(name), fine, "{name}");
        }
    }

    #[test]
    fn the_bus_must_carry_the_largest_message_to_the_most_recipients() {
        let with = |bytes: usize| json!({"session": {"max_message_bytes": 1000, "max_recipients": 10_000}, "bus": {"max_record_bytes": bytes}});
        let least = 1000 * 6 + 10_000 * (63 + 96) + 8 * 1024;
        assert!(refused(with(least - 1)).contains(&least.to_string()));
        assert!(Config::load(None, with(least)).is_ok());
    }

    #[test]
    fn the_largest_message_is_ten_mebibytes() {
        let with = |bytes: usize| {
            json!({"session": {"max_message_bytes": bytes},
                "bus": {"max_record_bytes": 128 << 20, "unfinished_bytes": 256 << 20}})
        };
        for (bytes, fine) in [(0, false), (1, true), (LARGEST_MESSAGE, true), (LARGEST_MESSAGE + 1, false)] {
            assert_eq!(Config::load(None, with(bytes)).is_ok(), fine, "{bytes}");
        }
    }
}
