//! The settings: one struct per concern.

pub mod bus;
