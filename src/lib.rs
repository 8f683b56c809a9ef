//! Parlor: a chat server whose users program their own messages. The modules, nothing else.

pub mod accounts;
pub mod actors;
pub mod automation;
pub mod backup;
pub mod chat;
pub mod cli;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod envelope;
pub mod http;
pub mod ids;
pub mod intake;
pub mod metrics;
pub mod pipeline;
pub mod protocol;
pub mod script;
pub mod store;
pub mod telemetry;
pub mod version;
