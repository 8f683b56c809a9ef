//! Hears the control topics: what another service switches on and off is applied in order, one record after the other.

use std::sync::Arc;
use std::time::Duration;

use super::feeder::put_aside;
use crate::automation::Automation;
use crate::clock::Clock;
use crate::pipeline::bus::{self, Bus, Record, Topic};
use crate::pipeline::control::{Control, Error};
use crate::store::Store;
use crate::store::control::Changed;

/// Records taken at once.
const BATCH: usize = 64;
/// Time before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a record changes nothing, and the label under which that is counted.
type Refusal = (&'static str, String);

/// What a control topic changes.
#[derive(Clone)]
pub struct Listener {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The tables.
    pub store: Store,
    /// What is remembered of them.
    pub automation: Automation,
    /// The time.
    pub clock: Clock,
    /// Bytes that a text may have.
    pub max_message_bytes: usize,
}

impl Listener {
    /// Hears both control topics until the bus is closed.
    pub fn start(self, topic_prefix: &str) {
        for control in [Control::AutoReply, Control::Scripts] {
            let topic = Topic::from(format!("{topic_prefix}.{}", control.topic()).as_str());
            actix::spawn(keep_listening(self.clone(), topic, control));
        }
    }

    /// Applies the records of `topic` until the bus is closed.
    ///
    /// # Errors
    /// [`bus::Error::Closed`], and [`bus::Error::AlreadySubscribed`].
    async fn listen(self, topic: Topic, control: Control) -> Result<(), bus::Error> {
        let mut consumer = self.bus.subscribe(&topic)?;
        let committer = consumer.committer();
        loop {
            let records = match consumer.receive(BATCH).await {
                Ok(records) => records,
                Err(bus::Error::Closed(why)) => return Err(bus::Error::Closed(why)),
                Err(error) => {
                    tracing::warn!(%topic, %error, "the bus cannot be read; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            for record in records {
                let claim = record.claim();
                if !committer.holds(claim) {
                    committer.give_back(claim, record.place.offset);
                    continue;
                }
                if let Err((label, reason)) = self.apply(control, &record).await {
                    put_aside(self.bus.as_ref(), &record, label, &reason).await?;
                }
                // To apply one again changes nothing, so a position that is not durable yet is no harm.
                committer.commit(claim, record.place.offset.next());
            }
        }
    }

    async fn apply(&self, control: Control, record: &Record) -> Result<(), Refusal> {
        let (user, change) = control.read(&record.payload, self.max_message_bytes).map_err(|error| {
            let label = if matches!(error, Error::Unreadable(_)) { "unreadable" } else { "impossible" };
            (label, error.to_string())
        })?;
        loop {
            match self.store.control(user, &change, self.clock.now()).await {
                Ok(Changed::Done) => break,
                Ok(Changed::NoUser) => return Err(("impossible", format!("there is no user {user}"))),
                Ok(Changed::NoScript) => return Err(("impossible", format!("user {user} has no such script"))),
                Err(error) => {
                    tracing::warn!(place = %record.place, %error, "automation cannot be changed; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.automation.changed(user);
        tracing::info!(user_id = %user, place = %record.place, "automation changed by a control topic");
        Ok(())
    }
}

async fn keep_listening(listener: Listener, topic: Topic, control: Control) {
    loop {
        match actix::spawn(listener.clone().listen(topic.clone(), control)).await {
            Ok(Ok(()) | Err(bus::Error::Closed(_))) => return,
            Ok(Err(error)) => tracing::error!(%topic, %error, "a control topic is not heard; it is tried again"),
            Err(error) => tracing::error!(%topic, %error, "a listener ended in a panic; it is started again"),
        }
        crate::metrics::actor_restarted("control");
        tokio::time::sleep(PAUSE).await;
    }
}
