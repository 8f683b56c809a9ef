//! What the nodes of a cluster stand on: Postgres, Redis and Kafka of its own, each to be killed, frozen and started anew.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::kafka::Kafka;
use crate::app::postgres::Postgres;
use crate::app::redis::Redis;

/// A broker that takes longer to listen has failed. It takes its time on a busy machine.
const START: Duration = Duration::from_secs(120);

/// All of it, for one test that may do it harm.
pub(crate) struct Backing {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) redis: Redis,
    pub(crate) kafka: Arc<Kafka>,
}

impl Backing {
    /// Waits until a broker listens.
    pub(crate) async fn broker_listens(&self, number: usize) {
        let (begun, port) = (Instant::now(), self.kafka.broker(number).port());
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < START, "broker {number} does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Does what blocks on a thread where it may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
