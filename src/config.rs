//! The settings: one struct per concern.

pub mod accounts;
pub mod secret;
pub mod session;
