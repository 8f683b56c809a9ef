//! Settings.
pub mod session;
