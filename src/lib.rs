//! Parlor: a chat server whose users program their own messages. The modules, nothing else.

pub mod accounts;
pub mod chat;
pub mod clock;
pub mod config;
pub mod ids;
pub mod pipeline;
pub mod store;
