//! The reading end of a topic in the embedded bus.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::journal::Command;
use super::shared::Shared;
use crate::pipeline::bus::{Claim, Committer, Consumer, Error, Offset, Record, Topic};

/// The one consumer of a topic; another may follow when it is dropped.
#[derive(Debug)]
pub(super) struct EmbeddedConsumer {
    position: Arc<EmbeddedCommitter>,
    arrived: Arc<Notify>,
}

/// Moves the topic's positions. Works on after its consumer is dropped: what was finished is finished.
#[derive(Debug)]
struct EmbeddedCommitter {
    topic: Topic,
    shared: Arc<Shared>,
    journal: Sender<Command>,
}

impl EmbeddedConsumer {
    /// Subscribes; [`Error::Closed`] when the topic has its consumer already.
    pub(super) fn new(topic: &Topic, shared: Arc<Shared>, journal: Sender<Command>) -> Result<Self, Error> {
        shared.open()?;
        let Some(arrived) = shared.state().subscribe(topic) else {
            return Err(Error::AlreadySubscribed(topic.clone()));
        };
        Ok(Self { position: Arc::new(EmbeddedCommitter { topic: topic.clone(), shared, journal }), arrived })
    }
}

impl Consumer for EmbeddedConsumer {
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Record>, Error>> {
        Box::pin(async move {
            let EmbeddedCommitter { topic, shared, .. } = &*self.position;
            loop {
                shared.open()?;
                let records = shared.state().take(topic, max.max(1));
                if !records.is_empty() {
                    return Ok(records);
                }
                // A wake-up that comes between looking and waiting is kept for us: there is one waiter at most.
                self.arrived.notified().await;
            }
        })
    }

    fn committer(&self) -> Arc<dyn Committer> {
        self.position.clone()
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.position.shared.state().unsubscribe(&self.position.topic);
    }
}

impl Committer for EmbeddedCommitter {
    fn commit(&self, claim: Claim, next: Offset) {
        // The records are dropped, and so give their room back, when the lock is no longer held.
        let (finished, wake) = self.shared.state().commit(&self.topic, claim.partition, next);
        drop(finished);
        if wake {
            // A journal that has ended has written its positions, or failed and lost nothing by missing these.
            let _ = self.journal.send(Command::Positions);
        }
    }
}
