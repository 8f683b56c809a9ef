//! How a node takes its leave: its clients go elsewhere, what was accepted is finished or left to others.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Node;
use crate::actors::registry::{End, HandOver, SpreadReconnect};
use crate::protocol::close::Close;

/// Time between two looks whether stopping is done.
const STEP: Duration = Duration::from_millis(20);
/// Time between two portions of sessions that are handed over.
const PORTION: Duration = Duration::from_millis(100);
/// How long the last frames and answers may take.
const FAREWELL: Duration = Duration::from_secs(3);

impl Node {
    /// Takes leave, within `drain_limit_seconds`. What is unfinished then stays on the bus and is taken up at the next start,
    /// or by other nodes.
    pub async fn drain(&self) {
        self.handle.begin_draining();
        let deadline = Instant::now() + self.config.drain_limit();
        if self.config.is_cluster() {
            self.hand_over(deadline).await;
            self.deps.intake.stop();
            self.finish(deadline).await;
        } else {
            self.deps.intake.stop();
            let spread = self.config.reconnect_spread();
            let told = self.handle.registry().send(SpreadReconnect(spread)).await.unwrap_or_default();
            tracing::info!(sessions = told, "stopping: clients are told to come back");
            self.finish(deadline).await;
        }
        self.see_off(deadline).await;
    }

    /// Sends clients to other nodes, a few at a time, and serves the rest meanwhile: whoever is told to go is away only for as
    /// long as it takes to come back.
    async fn hand_over(&self, deadline: Instant) {
        let options = &self.config.cluster;
        tracing::info!(sessions = self.handle.sessions().await, "leaving: clients are sent to other nodes");
        let started = Instant::now();
        let mut gone = 0;
        while self.handle.sessions().await > 0 && Instant::now() < deadline {
            let due = (options.handover_per_second as f64 * started.elapsed().as_secs_f64()) as usize + 1;
            let order = HandOver { most: due.saturating_sub(gone), jitter: options.handover_jitter() };
            gone += self.handle.registry().send(order).await.unwrap_or_default();
            sleep(PORTION).await;
        }
        crate::metrics::handed_over(gone as u64, "drain");
        tracing::info!(gone, "clients were sent to other nodes");
    }

    async fn finish(&self, deadline: Instant) {
        if timeout_at(deadline, self.bus.drain()).await.is_err() {
            tracing::warn!("the time is up; what is unfinished is taken up at the next start, or by other nodes");
        }
    }

    /// Closes what is still open, and lets the last frames be written and requests be answered: a client that reads nothing
    /// is not waited for long.
    async fn see_off(&self, deadline: Instant) {
        let _ = self.handle.registry().send(End::All(Close::Drained)).await;
        while self.handle.sessions().await > 0 && Instant::now() < deadline {
            sleep(STEP).await;
        }
        let deadline = deadline.min(Instant::now() + FAREWELL);
        while self.deps.busy.count() > 0 && Instant::now() < deadline {
            sleep(STEP).await;
        }
    }
}
