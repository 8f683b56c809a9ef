//! Parlor: a chat server whose users program their own messages. The modules, nothing else.

pub mod accounts;
pub mod cli;
pub mod clock;
pub mod config;
pub mod envelope;
pub mod http;
pub mod ids;
pub mod pipeline;
pub mod protocol;
pub mod store;
