//! The settings of the process as a whole: where it listens, what it hosts, how it stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Settings at the top level of `parlor.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ServerOptions {
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

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            data: PathBuf::from("parlor-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            internal_listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            workers: 0,
            stages: vec!["gateway".to_owned(), "router".to_owned()],
            pipeline: vec!["router".to_owned()],
            topic_prefix: "parlor".to_owned(),
            in_flight: 4096,
            trusted_proxies: Vec::new(),
            log_format: LogFormat::Text,
            reconnect_spread_seconds: 2,
            drain_limit_seconds: 20,
        }
    }
}

impl ServerOptions {
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
