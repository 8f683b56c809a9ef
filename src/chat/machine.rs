//! The protocol of one chat: takes what happened and the time, returns what to do. Nothing here does I/O.

mod incoming;
mod returning;

use std::collections::VecDeque;
use std::time::Duration;

use super::backoff::Backoff;
use super::cursor::Cursor;
use super::event::{Action, Event, Moment};
use super::notice::Notice;
use super::outbox::{self, Outbox};
use crate::ids::{MessageUid, Seq, UserId};

/// How long a new connection may take to its `welcome`.
const WELCOME: Duration = Duration::from_secs(10);
/// How many own messages are known by uid until they come back; beyond, the oldest is shown like another's.
const ECHOES: usize = outbox::CAPACITY + 256;

#[derive(Debug, PartialEq)]
enum Phase {
    Idle,
    Dialling,
    Renewing,
    Waiting { until: Moment, for_token: bool },
    Opening { until: Moment },
    Live { since: Moment, heard: Moment, silence: Duration },
    Stopped,
}

/// The messages that a resumed connection is still to bring.
#[derive(Debug)]
struct CatchUp {
    head: Seq,
    missed: usize,
}

/// The state of the chat.
#[derive(Debug)]
pub(super) struct Machine {
    user: UserId,
    phase: Phase,
    backoff: Backoff,
    cursor: Cursor,
    outbox: Outbox,
    catch_up: Option<CatchUp>,
    /// What a `reconnect` frame asked for.
    asked: Option<Duration>,
    /// The longest body that the server takes, once known.
    longest: usize,
    has_joined: bool,
    /// What was written here and has not come back yet.
    echoes: VecDeque<(MessageUid, String)>,
    refused: Vec<String>,
    actions: Vec<Action>,
}

impl Machine {
    /// A chat of `user` that is not connected; `seed` is for the jitter.
    pub(super) fn new(user: UserId, seed: u64) -> Self {
        Self {
            user,
            phase: Phase::Idle,
            backoff: Backoff::new(seed),
            cursor: Cursor::default(),
            outbox: Outbox::default(),
            catch_up: None,
            asked: None,
            longest: usize::MAX,
            has_joined: false,
            echoes: VecDeque::new(),
            refused: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Takes an event; returns what to do, in order.
    pub(super) fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        if let Phase::Live { heard, .. } = &mut self.phase
            && matches!(event, Event::Frame(_) | Event::Heard)
        {
            *heard = now;
        }
        match event {
            Event::Start => self.dial(),
            Event::Write { id, body, recipients } => self.write(now, id, body, recipients),
            Event::Connected => self.phase = Phase::Opening { until: now + WELCOME },
            Event::ConnectFailed(failure) => self.failed(now, failure, false),
            Event::Frame(frame) => self.frame(now, frame),
            Event::Heard => {}
            Event::Closed(code) => self.lost(now, code, returning::reason(code)),
            Event::TokenRenewed => self.token_renewed(),
            Event::TokenFailed(failure) => self.token_failed(now, failure),
            Event::Tick => self.tick(now),
        }
        std::mem::take(&mut self.actions)
    }

    /// When the machine wants its next [`Event::Tick`].
    pub(super) fn wake(&self) -> Option<Moment> {
        let phase = match self.phase {
            Phase::Waiting { until, .. } | Phase::Opening { until } => Some(until),
            Phase::Live { heard, silence, .. } => Some(heard + silence),
            Phase::Idle | Phase::Dialling | Phase::Renewing | Phase::Stopped => None,
        };
        phase.into_iter().chain(self.outbox.next_slow()).min()
    }

    /// What the user wrote and the server has not accepted yet, oldest first.
    pub(super) fn unsent(&self) -> Vec<String> {
        self.outbox.bodies()
    }

    /// How much that is.
    pub(super) fn unsent_count(&self) -> usize {
        self.outbox.len()
    }

    /// What the server would not take.
    pub(super) fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Whether there has ever been a connection.
    pub(super) fn has_joined(&self) -> bool {
        self.has_joined
    }

    /// Whether there is one now.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    fn dial(&mut self) {
        self.phase = Phase::Dialling;
        self.actions.push(Action::Connect(self.cursor.after()));
    }

    fn renew(&mut self) {
        self.phase = Phase::Renewing;
        self.actions.push(Action::RenewToken);
    }

    fn stop(&mut self, why: String) {
        self.phase = Phase::Stopped;
        self.actions.push(Action::Stop(why));
    }

    fn wait(&mut self, now: Moment, after: Duration, why: String, for_token: bool) {
        self.phase = Phase::Waiting { until: now + after, for_token };
        self.actions.push(Action::Tell(Notice::Reconnecting { why, after }));
    }

    fn write(&mut self, now: Moment, id: String, body: String, recipients: Vec<UserId>) {
        if self.echoes.len() == ECHOES {
            self.echoes.pop_front();
        }
        self.echoes.push_back((MessageUid::from_client(self.user, &id), body.clone()));
        self.outbox.push(id, body, recipients, now);
        self.refuse_too_long();
        self.flush();
    }

    fn flush(&mut self) {
        if self.is_live() {
            self.actions.extend(self.outbox.frames().into_iter().map(Action::Send));
        }
    }

    /// Refuses here what the server would end the connection for.
    fn refuse_too_long(&mut self) {
        for unsent in self.outbox.too_long(self.longest) {
            let reason = format!("{} bytes, and the server takes {}", unsent.body.len(), self.longest);
            self.refuse(unsent.body, reason);
        }
    }

    fn refuse(&mut self, body: String, reason: String) {
        self.refused.push(body.clone());
        self.actions.push(Action::Tell(Notice::Refused { body, reason }));
    }
}

#[cfg(test)]
mod tests;
