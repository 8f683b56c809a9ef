//! Runs a stage that decides about one envelope at a time: in order for one sender, side by side for different ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::feeder::Job;
use crate::envelope::Envelope;
use crate::ids::UserId;
use crate::intake::key;
use crate::pipeline::bus::{self, Bus, Record, Topic};
use crate::pipeline::stages::Stage;
use crate::pipeline::tracker::Round;

/// Time before a publish that failed is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Where an envelope goes next: in memory to a stage that lives here, over the bus to any other.
pub struct Hops {
    /// The bus.
    pub bus: Arc<dyn Bus>,
    /// The stages of this node. Each has room for all records in flight: a hop never waits.
    pub here: HashMap<Topic, mpsc::Sender<Job>>,
    /// Topics that other nodes host; none when this node is alone.
    pub elsewhere: HashSet<Topic>,
}

impl Hops {
    /// Passes an envelope on, and finishes its record when the next topic lives elsewhere and has it safely.
    ///
    /// # Errors
    /// [`bus::Error::Closed`]: the record is done again after a restart.
    pub async fn pass(&self, mut job: Job) -> Result<(), bus::Error> {
        let next = job.envelope.advance().cloned();
        if let Some(stage) = next.as_ref().and_then(|next| self.here.get(next)) {
            job.ticket.end_work();
            return stage.send(job).await.map_err(|_| bus::Error::Closed("the stage is gone".into()));
        }
        let Some(next) = next.filter(|next| self.elsewhere.contains(next)) else {
            // It would stand there for ever, and count against the bound.
            let reason = "its next destination is no topic that any node hosts, and it has not passed the router";
            return self.put_aside(job, reason).await;
        };
        self.publish(&next, &job.envelope).await?;
        job.ticket.finish();
        Ok(())
    }

    async fn put_aside(&self, job: Job, reason: &str) -> Result<(), bus::Error> {
        let record = Record {
            place: job.ticket.place().clone(),
            key: key(job.envelope.sender_id),
            payload: job.envelope.to_bytes().into(),
        };
        crate::metrics::dead_letter("no_destination");
        tracing::warn!(place = %record.place, message_uid = %job.envelope.message_uid, reason, "a record is put aside");
        self.bus.dead_letter(&record, reason).await?;
        job.ticket.finish();
        Ok(())
    }

    /// Publishes until the bus has it.
    ///
    /// # Errors
    /// [`bus::Error::Closed`], [`bus::Error::TooLarge`].
    pub async fn publish(&self, topic: &Topic, envelope: &Envelope) -> Result<(), bus::Error> {
        loop {
            let room = self.bus.room_inside();
            match self.bus.publish(room, topic, key(envelope.sender_id), envelope.to_bytes().into()).await {
                Ok(_) => return Ok(()),
                Err(error @ (bus::Error::Closed(_) | bus::Error::TooLarge { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%topic, %error, "a message cannot be passed on; it is tried again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The messages of one sender that are at this stage; one is being worked on.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    running: bool,
    /// The stage crashed over this sender's message: nothing of that round overtakes it. All of them come again.
    broken: Option<Round>,
}

/// The actor. One for each hosted stage of this kind.
pub struct StageActor {
    stage: Arc<dyn Stage>,
    hops: Arc<Hops>,
    jobs: Option<mpsc::Receiver<Job>>,
    lanes: HashMap<UserId, Lane>,
}

impl StageActor {
    /// Runs `stage` over what comes in by `jobs`.
    #[must_use]
    pub fn new(stage: Arc<dyn Stage>, hops: Arc<Hops>, jobs: mpsc::Receiver<Job>) -> Self {
        Self { stage, hops, jobs: Some(jobs), lanes: HashMap::new() }
    }

    fn begin(&mut self, job: Job, context: &mut Context<Self>) {
        let (stage, hops, sender) = (self.stage.clone(), self.hops.clone(), job.envelope.sender_id);
        let round = job.ticket.round();
        self.lanes.entry(sender).or_default().running = true;
        // A task of its own: a panic ends it and not the actor, and drops the ticket, so the record is done again.
        let task = actix::spawn(run(stage, hops, job));
        context.spawn(task.into_actor(self).map(move |ended, actor, context| {
            let broken = (!matches!(ended, Ok(Ok(())))).then_some(round);
            if let Ok(Err(error)) = &ended {
                tracing::warn!(%error, "a stage could not pass a message on");
            }
            actor.ended(sender, broken, context);
        }));
    }

    fn ended(&mut self, sender: UserId, broken: Option<Round>, context: &mut Context<Self>) {
        let Some(lane) = self.lanes.get_mut(&sender) else { return };
        lane.running = false;
        if broken.is_some() {
            // Abandoned with the one before them, they come again behind it.
            lane.broken = broken;
            lane.waiting.clear();
            return;
        }
        match lane.waiting.pop_front() {
            Some(job) => self.begin(job, context),
            None => {
                self.lanes.remove(&sender);
            }
        }
    }
}

async fn run(stage: Arc<dyn Stage>, hops: Arc<Hops>, mut job: Job) -> Result<(), bus::Error> {
    job.ticket.begin_work();
    let outcome = stage.apply(job.envelope).await;
    for made in outcome.made {
        let Some(first) = made.event_destinations.first().cloned() else { continue };
        hops.publish(&first, &made).await?;
    }
    match outcome.pass {
        Some(envelope) => hops.pass(Job { envelope, ticket: job.ticket }).await,
        None => {
            job.ticket.finish();
            Ok(())
        }
    }
}

impl Actor for StageActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(jobs) = self.jobs.take() {
            context.add_stream(ReceiverStream::new(jobs));
        }
    }
}

impl StreamHandler<Job> for StageActor {
    fn handle(&mut self, job: Job, context: &mut Self::Context) {
        let sender = job.envelope.sender_id;
        match self.lanes.get_mut(&sender) {
            Some(lane) if lane.broken.is_some_and(|broken| job.ticket.round() <= broken) => drop(job),
            Some(lane) if lane.running => lane.waiting.push_back(job),
            _ => self.begin(job, context),
        }
    }
}
