//! One live websocket: moves frames between the socket, the protocol (`protocol::session`) and the rest of the node.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::prelude::*;
use bytestring::ByteString;

use super::bridge::Bridge;
use super::busy::BusyCount;
use super::outbox::{Outbox, Overflow, monotonic};
use super::registry::{Arrivals, Ephemeral, Flags, Join, Leave, Registry};
use crate::accounts::Accounts;
use crate::clock::Clock;
use crate::config::session::SessionOptions;
use crate::ids::{FamilyId, Seq};
use crate::intake::Intake;
use crate::protocol::close::Close;
use crate::protocol::frames::{MessageView, ServerFrame, addressed, at};
use crate::protocol::session::{Effect, Now, Pushed, Session, Who};
use crate::store::Store;
use crate::store::inbox::InboxEntry;

mod errands;
mod frame_limit;
mod inbound;
mod sending;
pub use frame_limit::FrameLimit;
pub use inbound::{Gate, Inbound, InboundStream};
use sending::Unconfirmed;

/// Pushes that wait at most. One more is left out, and the session reads from the store what it missed.
pub const MAILBOX: usize = 32;
/// Messages of a replay that are read at once, and bytes of their bodies.
const PAGE_MESSAGES: u32 = 256;
const PAGE_BYTES: usize = 256 * 1024;
/// A replay reads its next page when less than this waits to be written.
const LOW_WATER: usize = 64 * 1024;
/// How long a session that goes to another node waits for its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Messages of the user's inbox; sent by the registry. Left out when the mailbox is full, see [`Flags`].
#[derive(Message)]
#[rtype(result = "()")]
pub struct Push(pub Arrivals);

/// Look at your [`Flags`]; sent by the registry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

/// What every session of a node shares.
pub struct SessionDeps {
    /// Where sessions announce themselves.
    pub registry: Addr<Registry>,
    /// The way to others.
    pub bridge: Bridge,
    /// Takes messages in.
    pub intake: Intake,
    /// Inboxes.
    pub store: Store,
    /// Checks renewed tokens.
    pub accounts: Accounts,
    /// The time of day.
    pub clock: Clock,
    /// Bounds and intervals.
    pub options: SessionOptions,
    /// Whether the node takes nobody in any more.
    pub draining: Arc<AtomicBool>,
    /// Open sockets and requests under way.
    pub busy: BusyCount,
}

/// The actor. Lives on the arbiter of its connection.
pub struct SessionActor {
    deps: Arc<SessionDeps>,
    who: Who,
    family_id: FamilyId,
    after: Option<Seq>,
    outbox: Outbox,
    gate: Rc<Gate>,
    flags: Arc<Flags>,
    stream: Option<InboundStream>,
    phase: Phase,
    /// Messages in line on the bus, in order; the first is being waited for.
    unconfirmed: VecDeque<Unconfirmed>,
    confirming: bool,
    /// A draft waits at the door.
    admitting: bool,
    /// Sent to another node; closes as soon as what was sent has its answer.
    leaving: bool,
    timer: Option<SpawnHandle>,
    stall_timer: bool,
}

/// Where a session stands in its life.
enum Phase {
    /// Known to the registry, about to learn where its inbox ends. What is told meanwhile (who is there) is sent behind
    /// the welcome, [`MAILBOX`] of it at most.
    Joining(Vec<Ephemeral>),
    /// Speaks the protocol.
    Open(Box<Session>),
    /// Said its last frame.
    Closed,
}

impl SessionActor {
    /// A session that has passed the upgrade.
    #[must_use]
    pub fn new(
        deps: Arc<SessionDeps>,
        who: Who,
        family_id: FamilyId,
        after: Option<Seq>,
        outbox: Outbox,
        stream: InboundStream,
    ) -> Self {
        Self {
            deps,
            who,
            family_id,
            after,
            outbox,
            gate: stream.gate(),
            flags: Arc::default(),
            stream: Some(stream),
            phase: Phase::Joining(Vec::new()),
            unconfirmed: VecDeque::new(),
            confirming: false,
            admitting: false,
            leaving: false,
            timer: None,
            stall_timer: false,
        }
    }

    fn now(&self) -> Now {
        Now { mono: monotonic(), wall: self.deps.clock.now() }
    }

    /// Runs the protocol with `f` and does what it asks.
    fn with(&mut self, context: &mut Context<Self>, f: impl FnOnce(&mut Session, Now, &SessionOptions) -> Vec<Effect>) {
        let now = self.now();
        let effects = match &mut self.phase {
            Phase::Open(session) => f(session, now, &self.deps.options),
            Phase::Joining(_) | Phase::Closed => return,
        };
        for effect in effects {
            self.perform(effect, context);
        }
    }

    fn perform(&mut self, effect: Effect, context: &mut Context<Self>) {
        match effect {
            Effect::Send(frame) => self.send(frame.text(), context),
            // A page is asked for when little waits, and is itself bounded.
            Effect::Replay(frame) => drop(self.outbox.text(frame.text(), usize::MAX, monotonic())),
            Effect::Ping => self.outbox.ping(monotonic()),
            Effect::Submit(draft) => self.submit(draft, context),
            Effect::MarkRead(conversation, seq) => self.mark_read(conversation, seq, context),
            Effect::Typing(recipients) => self.typing(recipients, context),
            Effect::CheckToken(token) => self.check_token(token, context),
            Effect::ReadInbox(after) => self.read_inbox(after, context),
            Effect::Close(close) => self.close(close, context),
        }
        self.watch_for_stall(context);
    }

    fn send(&mut self, text: ByteString, context: &mut Context<Self>) {
        let put = self.outbox.text(text, self.deps.options.outgoing_bound(), monotonic());
        self.or_close(put, context);
    }

    /// A client whose queue is over its bound reads too slowly.
    fn or_close(&mut self, put: Result<(), Overflow>, context: &mut Context<Self>) {
        if put.is_err() {
            self.close(Close::SlowReader, context);
        }
    }

    fn close(&mut self, close: Close, context: &mut Context<Self>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        crate::metrics::session_closed(close.label());
        tracing::debug!(session_id = %self.who.session_id, user_id = %self.who.user_id, reason = close.label(), "session closes");
        self.outbox.close(close, close == Close::SlowReader, monotonic());
        context.stop();
    }

    /// What the registry could not put into the mailbox.
    fn look_at_flags(&mut self, context: &mut Context<Self>) {
        if matches!(self.phase, Phase::Open(_))
            && let Some(after_ms) = self.flags.take_reconnect()
        {
            self.send(ServerFrame::Reconnect { after_ms }.text(), context);
        }
        match self.flags.ended() {
            Some(Close::Drained) if matches!(self.phase, Phase::Open(_)) => return self.leave(context),
            Some(close) => return self.close(close, context),
            None => {}
        }
        let head = self.flags.head();
        self.with(context, |session, _, _| {
            session.exists(head);
            session.read_on().into_iter().collect()
        });
    }

    /// Reads no more, and closes when all that was sent has its `accepted`: a client that goes to another node should not
    /// have to wonder. What it wrote meanwhile it sends again there.
    fn leave(&mut self, context: &mut Context<Self>) {
        if !self.leaving {
            self.leaving = true;
            self.set_gate();
            context.run_later(LAST_ANSWERS, |actor, context| actor.close(Close::Drained, context));
        }
        if !self.admitting && !self.confirming {
            self.close(Close::Drained, context);
        }
    }

    /// One timer, always set for what comes next.
    fn schedule(&mut self, context: &mut Context<Self>) {
        let Phase::Open(session) = &self.phase else { return };
        let next = session.next_tick(self.now(), &self.deps.options);
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(next, |actor, context| {
            actor.timer = None;
            if actor.gate.is_shut() {
                let now = actor.now();
                if let Phase::Open(session) = &mut actor.phase {
                    session.held_back(now);
                }
            }
            actor.look_at_flags(context);
            actor.with(context, Session::tick);
            actor.schedule(context);
        }));
    }

    /// While something waits to be written, looks whether the client takes any of it.
    fn watch_for_stall(&mut self, context: &mut Context<Self>) {
        if self.stall_timer || self.outbox.is_empty() {
            return;
        }
        self.stall_timer = true;
        let limit = self.deps.options.write_timeout();
        let left = limit.saturating_sub(self.outbox.stalled_for(monotonic()));
        context.run_later(left, move |actor, context| {
            actor.stall_timer = false;
            if actor.outbox.stalled_for(monotonic()) >= limit {
                actor.close(Close::SlowReader, context);
            } else {
                actor.watch_for_stall(context);
            }
        });
    }
}

/// An inbox entry as its reader sees it.
#[must_use]
pub fn view(entry: &InboxEntry) -> MessageView {
    MessageView {
        seq: entry.seq,
        message_uid: entry.message_uid,
        conversation_id: entry.conversation_id,
        sender_id: entry.sender_id,
        recipient_ids: addressed(&entry.participants, entry.sender_id),
        message_body: entry.message_body.clone(),
        from_auto_reply: entry.from_auto_reply,
        sent_at: at(entry.sent_at),
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
        let deps = self.deps.clone();
        let join = Join {
            user_id: self.who.user_id,
            session_id: self.who.session_id,
            family_id: self.family_id,
            addr: context.address(),
            flags: self.flags.clone(),
            limit: deps.options.sessions_per_user,
        };
        let user = self.who.user_id;
        // First announced, here and to the other nodes, then asked where the inbox ends: what is written in between is pushed.
        let opening = async move {
            match deps.registry.send(join).await {
                Ok(true) => {
                    deps.bridge.joined(user).await;
                    deps.store.head_seq(user).await.map_err(|error| {
                        tracing::warn!(%error, user_id = %user, "a session could not be opened");
                        Close::Internal
                    })
                }
                Ok(false) => Err(Close::TooMuch),
                Err(_) => Err(Close::Drained),
            }
        };
        context.spawn(opening.into_actor(self).map(|head, actor, context| match head {
            Ok(head) => {
                if actor.after.is_some() {
                    crate::metrics::session_resumed();
                }
                let now = actor.now();
                let options = &actor.deps.options;
                let (session, effects) = Session::open(actor.who.clone(), actor.after, head, now, options);
                let before = std::mem::replace(&mut actor.phase, Phase::Open(Box::new(session)));
                for effect in effects {
                    actor.perform(effect, context);
                }
                if let Phase::Joining(early) = before {
                    early.into_iter().for_each(|ephemeral| actor.send(ephemeral.text, context));
                }
                actor.schedule(context);
                actor.look_at_flags(context);
                if let Some(stream) = actor.stream.take() {
                    context.add_stream(stream);
                }
            }
            Err(close) => actor.close(close, context),
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // However it ended. The registry waits for room: a session that is not taken off would be a leak.
        self.outbox.close(Close::Internal, false, monotonic());
        let leave = Leave { user_id: self.who.user_id, session_id: self.who.session_id };
        let registry = self.deps.registry.clone();
        actix::spawn(async move { registry.send(leave).await.unwrap_or_default() });
    }
}

impl StreamHandler<Inbound> for SessionActor {
    fn handle(&mut self, inbound: Inbound, context: &mut Self::Context) {
        match inbound {
            Inbound::Text(text) => self.with(context, |session, now, options| session.text(&text, now, options)),
            Inbound::Ping(payload) => {
                self.outbox.pong(payload, monotonic());
                self.with(context, |session, now, options| session.heard(now, options).into_iter().collect());
            }
            Inbound::Pong => {
                self.with(context, |session, now, options| session.heard(now, options).into_iter().collect());
            }
            Inbound::Close(close) => self.close(close, context),
        }
    }

    fn finished(&mut self, context: &mut Self::Context) {
        if !matches!(self.phase, Phase::Closed) {
            self.phase = Phase::Closed;
            crate::metrics::session_closed("gone");
        }
        context.stop();
    }
}

impl Handler<Push> for SessionActor {
    type Result = ();

    fn handle(&mut self, push: Push, context: &mut Self::Context) {
        if let (Phase::Joining(_), Some((head, _))) = (&self.phase, push.0.last()) {
            // It may be newer than the head that is being asked for: then it is read when the session opens.
            return self.flags.raise_head(*head);
        }
        let now = self.now();
        for (seq, message) in push.0.iter() {
            let Phase::Open(session) = &mut self.phase else { return };
            if session.pushed(*seq) == Pushed::Pass {
                tracing::debug!(
                    target: "parlor::message", step = "client", message_uid = message.message_uid(), %seq,
                    user_id = %self.who.user_id, session_id = %self.who.session_id, "a message goes to a client"
                );
                let age = message.sent_at().and_then(|sent| (now.wall - sent).to_std().ok()).unwrap_or_default();
                let bound = self.deps.options.outgoing_bound();
                let put = self.outbox.message(message.frame(*seq), age, bound, now.mono);
                self.or_close(put, context);
            }
        }
        self.look_at_flags(context);
        self.watch_for_stall(context);
    }
}

impl Handler<Ephemeral> for SessionActor {
    type Result = ();

    fn handle(&mut self, ephemeral: Ephemeral, context: &mut Self::Context) {
        match &mut self.phase {
            Phase::Joining(early) if early.len() < MAILBOX => return early.push(ephemeral),
            Phase::Joining(_) => return crate::metrics::shed(ephemeral.kind.label()),
            Phase::Closed => return,
            Phase::Open(_) => {}
        }
        // Shed long before anything that must arrive is in danger.
        if self.outbox.bytes() > self.deps.options.outgoing_bytes / 4 {
            crate::metrics::shed(ephemeral.kind.label());
        } else {
            self.send(ephemeral.text, context);
            self.watch_for_stall(context);
        }
        // A mailbox full of these may have had no room for what matters.
        self.look_at_flags(context);
    }
}

impl Handler<Wake> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.look_at_flags(context);
    }
}
