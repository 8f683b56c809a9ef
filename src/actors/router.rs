//! The last stage: writes many messages in one transaction, then has the bridge tell the sessions, here and elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use metrics::Histogram;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::bridge::{Bridge, Bridged};
use super::feeder::Job;
use super::outbox::monotonic;
use super::registry::Events;
use super::stage::Hops;
use crate::clock::Clock;
use crate::envelope::Envelope;
use crate::ids::{MessageUid, Seq, UserId};
use crate::pipeline::bus;
use crate::pipeline::router::place;
use crate::pipeline::stages::ROUTER;
use crate::pipeline::tracker::{Round, Ticket};
use crate::protocol::frames::{MessageView, SealedMessage, addressed, at};
use crate::store::Store;
use crate::store::inbox::{Placed, Placement};

/// Messages, places and bytes of bodies in one transaction; one message is always taken.
const BATCH_MESSAGES: usize = 2048;
const BATCH_PLACES: usize = 16_384;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Time before a transaction that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// A message's record, and what stages made of the message: to be published when it is written.
struct Duty {
    message_uid: MessageUid,
    ticket: Ticket,
    made: Vec<Envelope>,
    /// When it came here.
    since: Instant,
}

/// The actor. One a node.
pub struct Router {
    store: Store,
    time: Histogram,
    hops: Arc<Hops>,
    bridge: Bridge,
    clock: Clock,
    jobs: Option<mpsc::Receiver<Job>>,
    waiting: std::collections::VecDeque<(Placement, Duty)>,
    writing: bool,
    /// A transaction ended in a panic: nothing of that round overtakes its messages. All of them come again.
    broken: Option<Round>,
    /// Transactions of a single message still to come, after one ended in a panic.
    careful: usize,
}

impl Router {
    /// Writes what comes in by `jobs`.
    #[must_use]
    pub fn new(store: Store, bridge: Bridge, clock: Clock, hops: Arc<Hops>, jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            store,
            time: crate::metrics::stage(ROUTER.to_owned()),
            hops,
            bridge,
            clock,
            jobs: Some(jobs),
            waiting: std::collections::VecDeque::new(),
            writing: false,
            broken: None,
            careful: 0,
        }
    }

    /// What waits goes into the next transaction; meanwhile more gathers: group commit without a timer.
    fn write(&mut self, context: &mut Context<Self>) {
        if self.writing || self.waiting.is_empty() {
            return;
        }
        self.writing = true;
        let (mut places, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut duties = Vec::new();
        while let Some((placement, _)) = self.waiting.front() {
            places += placement.owners.len() + placement.filtered.len() + placement.answered.len();
            bytes += placement.message_body.len();
            let most = if self.careful > 0 { 1 } else { BATCH_MESSAGES };
            let full = batch.len() >= most || places > BATCH_PLACES || bytes > BATCH_BYTES;
            if full && !batch.is_empty() {
                break;
            }
            let Some((placement, duty)) = self.waiting.pop_front() else { break };
            batch.push(placement);
            duties.push(duty);
        }
        // A crash is blamed on a message only when it was alone: what is put aside must not take others with it.
        if let [duty] = duties.as_mut_slice() {
            duty.ticket.begin_work();
        }
        self.careful = self.careful.saturating_sub(1);
        let round = duties.iter().map(|duty| duty.ticket.round()).max();
        let (hops, time) = (self.hops.clone(), self.time.clone());
        let work = deliver(self.store.clone(), self.bridge.clone(), self.clock.clone(), batch);
        // A task of its own: cancelled with nobody, and a panic drops the tickets, so the records are done again.
        let task = actix::spawn(async move {
            let bridged = work.await;
            let now = monotonic();
            for duty in &duties {
                let took = now.saturating_duration_since(duty.since).as_secs_f64();
                time.record(took);
                tracing::debug!(
                    target: "parlor::message", step = "stage", message_uid = %duty.message_uid, stage = ROUTER,
                    place = %duty.ticket.place(), took_ms = took * 1e3, "a message is written and told"
                );
            }
            // Each is put in line now, in order, also when there is something to wait for.
            let left = duties.into_iter().map(|duty| settle(&hops, duty));
            if bridged.at_once() {
                return left.for_each(Left::finish);
            }
            let left: Vec<Left> = left.collect();
            actix::spawn(async move {
                // Else dropped unfinished: after the start the other nodes are told again.
                if bridged.safe().await {
                    left.into_iter().for_each(Left::finish);
                }
            });
        });
        context.spawn(task.into_actor(self).map(move |ended, actor, context| {
            if let Err(error) = ended {
                tracing::error!(%error, "a transaction ended in a panic; its messages are done again");
                actor.waiting.clear();
                actor.broken = actor.broken.max(round);
                actor.careful = BATCH_MESSAGES;
            }
            actor.writing = false;
            actor.write(context);
        }));
    }
}

/// What is left when a message is written and told: its record is to be finished when what was made of it is safe.
struct Left {
    ticket: Ticket,
    made: Option<LocalBoxFuture<'static, Result<(), bus::Error>>>,
}

/// Puts what was made of a message in line, in the order of what it answers.
fn settle(hops: &Hops, duty: Duty) -> Left {
    let made = (!duty.made.is_empty()).then(|| hops.settle(duty.made).boxed_local());
    Left { ticket: duty.ticket, made }
}

impl Left {
    /// Finishes the record; only to wait for the bus takes a task of its own.
    fn finish(self) {
        let Some(made) = self.made else { return self.ticket.finish() };
        actix::spawn(async move {
            match made.await {
                Ok(()) => self.ticket.finish(),
                // Dropped unfinished: after a restart the same is made again.
                Err(error) => tracing::warn!(%error, "what was made of a message cannot be published"),
            }
        });
    }
}

/// Writes a batch, however long it takes, and tells the sessions.
async fn deliver(store: Store, bridge: Bridge, clock: Clock, batch: Vec<Placement>) -> Bridged {
    let started = monotonic();
    let placed = loop {
        match store.deliver(&batch).await {
            Ok(placed) => break placed,
            // The time to stop is up: what is unfinished comes again at the next start.
            Err(error) if error.is_closed() => std::future::pending().await,
            Err(error) => {
                crate::metrics::route_failed();
                tracing::error!(%error, messages = batch.len(), "messages cannot be written; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    crate::metrics::route(monotonic().saturating_duration_since(started).as_secs_f64());
    let (events, before) = sort(&batch, &placed);
    crate::metrics::placed((batch.len() - before.len()) as u64);
    crate::metrics::repeated(before.len() as u64);
    let now = clock.now();
    for placement in &batch {
        let delay = (now - placement.sent_at).to_std().unwrap_or_default();
        crate::metrics::delay(delay.as_secs_f64());
    }
    let heads = if before.is_empty() { Vec::new() } else { heads(&store, &before).await };
    bridge.deliver(events, heads).await
}

/// New messages by inbox, in order of place, and the batch's messages that were there before.
fn sort<'a>(batch: &'a [Placement], placed: &[Placed]) -> (Events, Vec<&'a Placement>) {
    let mut events: HashMap<UserId, Vec<(Seq, SealedMessage)>> = HashMap::new();
    let mut before = Vec::new();
    let mut deliveries = 0;
    for (placement, placed) in batch.iter().zip(placed) {
        let Placed::New(places) = placed else {
            before.push(placement);
            continue;
        };
        tracing::debug!(
            target: "parlor::message", message_uid = %placement.message_uid, stage = ROUTER, places = places.len(),
            "a message is written into inboxes"
        );
        let sealed = seal(placement);
        deliveries += places.len() as u64;
        for (owner, seq) in places {
            events.entry(*owner).or_default().push((*seq, sealed.clone()));
        }
    }
    crate::metrics::deliveries(deliveries);
    (events.into_iter().map(|(user, events)| (user, events.into())).collect(), before)
}

fn seal(placement: &Placement) -> SealedMessage {
    SealedMessage::new(&MessageView {
        seq: Seq(0),
        message_uid: placement.message_uid,
        conversation_id: placement.conversation_id,
        sender_id: placement.sender_id,
        recipient_ids: addressed(&placement.participants, placement.sender_id),
        message_body: placement.message_body.clone(),
        from_auto_reply: placement.from_auto_reply,
        sent_at: at(placement.sent_at),
    })
}

/// Where the inboxes end that may have got a message which nobody told their sessions of. If the store does not say, they
/// are told with the next message.
async fn heads(store: &Store, before: &[&Placement]) -> Vec<(UserId, Seq)> {
    let mut owners: Vec<UserId> = before.iter().flat_map(|placement| &placement.owners).copied().collect();
    owners.sort_unstable();
    owners.dedup();
    store.heads(&owners).await.unwrap_or_default()
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(jobs) = self.jobs.take() {
            context.add_stream(ReceiverStream::new(jobs));
        }
    }
}

impl StreamHandler<Job> for Router {
    fn handle(&mut self, job: Job, context: &mut Self::Context) {
        if self.broken.is_some_and(|broken| job.ticket.round() <= broken) {
            return;
        }
        let placement = place(job.envelope, self.clock.now());
        let duty = Duty { message_uid: placement.message_uid, ticket: job.ticket, made: job.made, since: monotonic() };
        self.waiting.push_back((placement, duty));
        self.write(context);
    }
}
