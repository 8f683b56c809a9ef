//! Everything that is tested from outside, in one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod app;
mod asyncapi;
mod auto_reply;
mod bus_contract;
mod bus_embedded;
mod bus_kafka;
mod cluster;
mod conformance;
mod control;
mod crash;
mod deploy;
mod docs;
mod examples;
mod filtered;
mod helm;
mod hostile;
mod http;
mod inside;
mod jolie;
mod migrations;
mod naughty;
mod nodes;
mod object_store;
mod pool;
mod redis;
mod scripts;
mod socket;
mod spread;
mod stages;
mod templates;
mod traces;
