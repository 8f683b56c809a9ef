//! Runs a stage that decides about one envelope at a time: in order for one sender, side by side for different ones.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::FutureExt as _;
use metrics::Histogram;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::feeder::{Job, MAX_ATTEMPTS};
use super::outbox::monotonic;
use crate::envelope::Envelope;
use crate::ids::UserId;
use crate::intake::key;
use crate::pipeline::bus::{self, Bus, Place, Receipt, Record, Topic};
use crate::pipeline::stages::{Outcome, Stage};

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
    /// Passes an envelope on. When the next topic lives elsewhere, its record is finished as soon as that has it safely,
    /// and what stages made of it too.
    ///
    /// # Errors
    /// [`bus::Error::Closed`]: the record is done again after a restart.
    pub async fn pass(&self, mut job: Job) -> Result<(), bus::Error> {
        let next = job.envelope.advance().cloned();
        if let Some(stage) = next.as_ref().and_then(|next| self.here.get(next)) {
            return stage.send(job).await.map_err(|_| bus::Error::Closed("the stage is gone".into()));
        }
        let Some(next) = next.filter(|next| self.elsewhere.contains(next)) else {
            // It would stand there for ever, and count against the bound.
            let reason = "its next destination is no topic that any node hosts, and it has not passed the router";
            return self.put_aside(job, "no_destination", reason).await;
        };
        let begun = monotonic();
        match self.publish(&next, &job.envelope).await {
            Err(error @ bus::Error::TooLarge { .. }) => self.put_aside(job, "too_large", &error.to_string()).await,
            Err(error) => Err(error),
            Ok(place) => {
                tracing::debug!(
                    target: "parlor::message", step = "pass", message_uid = %job.envelope.message_uid, %place,
                    from = %job.ticket.place().topic, took_ms = begun.elapsed().as_secs_f64() * 1e3,
                    "a message is passed on"
                );
                self.settle(job.made).await.map(|()| job.ticket.finish())
            }
        }
    }

    /// Publishes what stages made, in its order, and waits until the bus has all of it.
    ///
    /// # Errors
    /// [`bus::Error::Closed`]: the record that led to it is done again after a restart, and makes the same.
    pub fn settle(&self, made: Vec<Envelope>) -> impl Future<Output = Result<(), bus::Error>> + use<> {
        // All are put in line before anything is waited for: that is what gives them their order.
        let lined_up: Vec<_> = made
            .into_iter()
            .filter_map(|made| {
                let first = made.event_destinations.first()?.clone();
                Some((self.line_up(&first, &made), first, made))
            })
            .collect();
        let bus = self.bus.clone();
        async move {
            for (receipt, topic, made) in lined_up {
                match keep_publishing(bus.as_ref(), receipt, &topic, &made).await {
                    Err(error @ bus::Error::TooLarge { .. }) => {
                        // A bus that is too small for the largest message: `Config::check` refuses it.
                        tracing::error!(%error, cause_uid = ?made.cause_uid, "a made message cannot be sent");
                    }
                    done => {
                        let (place, cause) = (done?, made.cause_uid.as_ref().map(tracing::field::display));
                        tracing::debug!(
                            target: "parlor::message", step = "pass", message_uid = %made.message_uid, %place,
                            cause_uid = cause, "a made message is durable"
                        );
                    }
                }
            }
            Ok(())
        }
    }

    async fn put_aside(&self, job: Job, label: &'static str, reason: &str) -> Result<(), bus::Error> {
        let record = Record {
            place: job.ticket.place().clone(),
            term: job.ticket.claim().term,
            key: key(job.envelope.sender_id),
            payload: job.envelope.to_bytes().into(),
        };
        crate::metrics::dead_letter(label);
        tracing::warn!(place = %record.place, message_uid = %job.envelope.message_uid, reason, "a record is put aside");
        self.bus.dead_letter(&record, reason).await?;
        self.settle(job.made).await?;
        job.ticket.finish();
        Ok(())
    }

    fn line_up(&self, topic: &Topic, envelope: &Envelope) -> Receipt {
        line_up(self.bus.as_ref(), topic, envelope)
    }

    async fn publish(&self, topic: &Topic, envelope: &Envelope) -> Result<Place, bus::Error> {
        keep_publishing(self.bus.as_ref(), self.line_up(topic, envelope), topic, envelope).await
    }
}

fn line_up(bus: &dyn Bus, topic: &Topic, envelope: &Envelope) -> Receipt {
    bus.publish(bus.room_inside(), topic, key(envelope.sender_id), envelope.to_bytes().into())
}

/// Waits until the bus has it, and publishes it again while it does not.
async fn keep_publishing(
    bus: &dyn Bus,
    mut receipt: Receipt,
    topic: &Topic,
    envelope: &Envelope,
) -> Result<Place, bus::Error> {
    loop {
        match receipt.await {
            Ok(place) => return Ok(place),
            Err(error @ (bus::Error::Closed(_) | bus::Error::TooLarge { .. })) => return Err(error),
            Err(error) => {
                tracing::warn!(%topic, %error, "a message cannot be passed on; it is tried again");
                tokio::time::sleep(PAUSE).await;
                receipt = line_up(bus, topic, envelope);
            }
        }
    }
}

/// The messages of one sender that are at this stage; one is being worked on.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<(Job, Instant)>,
}

/// A stage, and what its messages need of this node.
struct Host {
    name: String,
    stage: Arc<dyn Stage>,
    time: Histogram,
    hops: Arc<Hops>,
}

/// The actor. One for each hosted stage of this kind.
pub struct StageActor {
    host: Arc<Host>,
    jobs: Option<mpsc::Receiver<Job>>,
    /// Those of whom a message is being worked on.
    lanes: HashMap<UserId, Lane>,
    /// The bus takes nothing any more: nothing may pass by what it refused. All of it comes again after a restart.
    closed: bool,
}

impl StageActor {
    /// Runs `stage`, which has this name, over what comes in by `jobs`.
    #[must_use]
    pub fn new(name: &str, stage: Arc<dyn Stage>, hops: Arc<Hops>, jobs: mpsc::Receiver<Job>) -> Self {
        let (name, time) = (name.to_owned(), crate::metrics::stage(name.to_owned()));
        let host = Arc::new(Host { name, stage, time, hops });
        Self { host, jobs: Some(jobs), lanes: HashMap::new(), closed: false }
    }

    /// Works on the messages of `sender`, whose lane is there, until one has to wait for something.
    fn work(&mut self, sender: UserId, mut next: Option<(Job, Instant)>, context: &mut Context<Self>) {
        while let Some((job, since)) = next {
            let mut work = run(self.host.clone(), job, since).boxed_local();
            // Most messages find nothing to wait for: they need no task of their own.
            let Some(ended) = (&mut work).now_or_never() else {
                context.spawn(work.into_actor(self).map(move |ended, actor, context| {
                    let next = actor.ended(sender, ended);
                    actor.work(sender, next, context);
                }));
                return;
            };
            next = self.ended(sender, ended);
        }
    }

    /// The next of the sender's messages; when there is none, the lane goes.
    fn ended(&mut self, sender: UserId, ended: Result<(), bus::Error>) -> Option<(Job, Instant)> {
        if let Err(error) = ended {
            tracing::warn!(%error, "a stage could not pass a message on");
            self.closed = true;
            self.lanes.clear();
        }
        let next = self.lanes.get_mut(&sender)?.waiting.pop_front();
        if next.is_none() {
            self.lanes.remove(&sender);
        }
        next
    }
}

/// Brings one message through the stage. A stage that panics over it holds up only its sender; after
/// [`MAX_ATTEMPTS`] the message is put aside.
async fn run(host: Arc<Host>, mut job: Job, since: Instant) -> Result<(), bus::Error> {
    let hops = &host.hops;
    let mut crashes = 0;
    let outcome = loop {
        let attempt = async { host.stage.apply(job.envelope.clone(), since).await };
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(outcome) => break outcome,
            Err(_) => crashes += 1,
        }
        crate::metrics::abandoned("stage");
        if crashes >= MAX_ATTEMPTS {
            return hops.put_aside(job, "crashes", &format!("its stage crashed over it {crashes} times")).await;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let took = monotonic().saturating_duration_since(since);
    host.time.record(took.as_secs_f64());
    let Outcome { pass, made } = outcome;
    tracing::debug!(
        target: "parlor::message", step = "stage", message_uid = %job.envelope.message_uid, stage = host.name,
        place = %job.ticket.place(), took_ms = took.as_secs_f64() * 1e3, passed = pass.is_some(), made = made.len(),
        filtered = pass.as_ref().map(|envelope| envelope.filtered_ids.len()),
        "a stage is done with a message"
    );
    job.made.extend(made);
    match pass {
        Some(envelope) => hops.pass(Job { envelope, ..job }).await,
        None => hops.settle(job.made).await.map(|()| job.ticket.finish()),
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
        if self.closed {
            return;
        }
        let sender = job.envelope.sender_id;
        if let Some(lane) = self.lanes.get_mut(&sender) {
            lane.waiting.push_back((job, monotonic()));
            return;
        }
        self.lanes.insert(sender, Lane::default());
        self.work(sender, Some((job, monotonic())), context);
    }
}
