//! Takes a topic's records off the bus, reads them, and brings them to the stage: one loop for each hosted topic.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use crate::envelope::{self, Envelope};
use crate::pipeline::bus::{self, Bus, Record, Topic};
use crate::pipeline::tracker::{Abandoned, Ticket, Tracker};

/// Records taken at once.
const BATCH: usize = 512;
/// A record whose work ended without finishing it this often (its stage panics over it) is put aside.
pub const MAX_ATTEMPTS: u32 = 5;
/// Time before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// An envelope, and the duty to finish the record that it came by. It passes from stage to stage in memory.
pub struct Job {
    /// Stands in the topic of whoever holds it.
    pub envelope: Envelope,
    /// Finished when all that the record led to is safe.
    pub ticket: Ticket,
    /// Messages that stages made of it, to be published when the envelope itself is written: nobody is to read the
    /// answer before the question.
    pub made: Vec<Envelope>,
}

/// Feeds `topic` into `jobs` until the bus or the stage is gone for good. `window` bounds the records in flight on the
/// whole node; `jobs` has at least that capacity, so a hand-over never waits.
///
/// # Errors
/// What ended it: [`bus::Error::Closed`].
pub async fn feed(
    bus: Arc<dyn Bus>,
    topic: Topic,
    window: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
) -> Result<(), bus::Error> {
    let mut consumer = bus.subscribe(&topic)?;
    let tracker = Tracker::new(consumer.committer(), window);
    loop {
        if tracker.has_abandoned() {
            tokio::time::sleep(PAUSE).await;
            for Abandoned { record, crashes } in tracker.abandoned().await {
                crate::metrics::abandoned("stage");
                let crashed = (crashes >= MAX_ATTEMPTS).then(|| format!("its stage crashed over it {crashes} times"));
                let Some(ticket) = tracker.begin_again(record.clone()).await else { continue };
                take(bus.as_ref(), &topic, record, ticket, crashed, &jobs).await?;
            }
        }
        let records = tokio::select! {
            biased;
            () = tracker.wait_abandoned() => continue,
            records = async { consumer.receive(tracker.room(BATCH).await).await } => records,
        };
        match records {
            Ok(records) => {
                for record in records {
                    let Some(ticket) = tracker.begin(record.clone()).await else { continue };
                    take(bus.as_ref(), &topic, record, ticket, None, &jobs).await?;
                }
            }
            Err(bus::Error::Closed(why)) => return Err(bus::Error::Closed(why)),
            Err(error) => {
                tracing::warn!(%topic, %error, "the bus cannot be read; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Brings one record to its stage, or puts it aside.
async fn take(
    bus: &dyn Bus,
    topic: &Topic,
    record: Record,
    ticket: Ticket,
    crashed: Option<String>,
    jobs: &mpsc::Sender<Job>,
) -> Result<(), bus::Error> {
    let (label, reason) = match crashed {
        Some(reason) => ("crashes", reason),
        None => match Envelope::read(&record.payload, topic) {
            Ok(envelope) => {
                let gone = |_| bus::Error::Closed("the stage is gone".into());
                return jobs.send(Job { envelope, ticket, made: Vec::new() }).await.map_err(gone);
            }
            Err(error) => (label(&error), error.to_string()),
        },
    };
    put_aside(bus, &record, label, &reason).await?;
    ticket.finish();
    Ok(())
}

/// Makes a record a dead letter, and counts it under `label`. Returns when that is safe.
///
/// # Errors
/// [`bus::Error::Closed`].
pub(super) async fn put_aside(
    bus: &dyn Bus,
    record: &Record,
    label: &'static str,
    reason: &str,
) -> Result<(), bus::Error> {
    crate::metrics::dead_letter(label);
    tracing::warn!(place = %record.place, reason, "a record is put aside");
    while let Err(error) = bus.dead_letter(record, reason).await {
        if matches!(error, bus::Error::Closed(_)) {
            return Err(error);
        }
        tracing::warn!(place = %record.place, %error, "a record cannot be put aside; it is tried again");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn label(error: &envelope::Error) -> &'static str {
    match error {
        envelope::Error::Unreadable(_) => "unreadable",
        envelope::Error::WrongTopic { .. } => "wrong_topic",
        envelope::Error::TooManyHops(_) => "too_many_hops",
    }
}
