//! The embedded bus: the contract of every bus, and what only a journal of its own can get wrong.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parlor::clock::Clock;
use parlor::config::bus::BusOptions;
use parlor::pipeline::bus::{Bus, Topic};
use parlor::pipeline::embedded::EmbeddedBus;
use tempfile::TempDir;

use crate::bus_contract::Home;

mod contract {
    crate::bus_contract!(super::EmbeddedHome::new());
}

struct EmbeddedHome(TempDir);

impl EmbeddedHome {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

fn small() -> BusOptions {
    BusOptions {
        segment_bytes: 4096,
        journal_bytes: 64 * 1024,
        unfinished_bytes: 10_000,
        max_record_bytes: 3_000,
        position_flush_millis: 5,
        ..BusOptions::default()
    }
}

fn open(folder: &Path, options: &BusOptions) -> EmbeddedBus {
    EmbeddedBus::open(folder, options, Clock::system()).unwrap()
}

impl Home for EmbeddedHome {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bus>> {
        Box::pin(async { Arc::new(open(&self.0.path().join("bus"), &small())) as Arc<dyn Bus> })
    }

    fn topic(&self, name: &str) -> Topic {
        format!("test.{name}").as_str().into()
    }

    fn max_record_bytes(&self) -> usize {
        small().max_record_bytes
    }

    fn unfinished_bytes(&self) -> usize {
        small().unfinished_bytes
    }
}
