//! Knows which sessions of which users live on this node, and brings them what is theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use actix::prelude::*;
use bytestring::ByteString;

use super::presence::{Presence, Seen};
use super::session::{Push, SessionActor, Wake};
use super::tell::{Told, tell};
use crate::cluster::here::Here;
use crate::ids::{FamilyId, Seq, SessionId, UserId};
use crate::pipeline::bridge::FrameKind;
use crate::protocol::close::Close;
use crate::protocol::frames::SealedMessage;

/// Messages that wait here at most. The router and the sessions wait for room (`send`), presence is shed.
pub const MAILBOX: usize = 4096;

/// What a session must learn even if its mailbox is full: read by it whenever it wakes.
#[derive(Debug)]
pub struct Flags {
    head: AtomicI64,
    close: AtomicU8,
    /// Milliseconds, or [`NOT_TOLD`].
    reconnect: AtomicI64,
}

const NOT_TOLD: i64 = -1;

impl Default for Flags {
    fn default() -> Self {
        Self { head: AtomicI64::new(0), close: AtomicU8::new(0), reconnect: AtomicI64::new(NOT_TOLD) }
    }
}

/// The ways in which a node ends a session.
const ENDS: [Close; 5] = [Close::Drained, Close::Disabled, Close::Token, Close::TooMuch, Close::Internal];

impl Flags {
    /// Something stands in the user's inbox at `head`.
    pub fn raise_head(&self, head: Seq) {
        self.head.fetch_max(head.0, Ordering::AcqRel);
    }

    /// The last place known.
    #[must_use]
    pub fn head(&self) -> Seq {
        Seq(self.head.load(Ordering::Acquire))
    }

    /// The client is to come back after so many milliseconds.
    pub fn reconnect(&self, after_ms: u64) {
        self.reconnect.store(i64::try_from(after_ms).unwrap_or(i64::MAX), Ordering::Release);
    }

    /// When the client is to come back, if it is yet to be told.
    #[must_use]
    pub fn take_reconnect(&self) -> Option<u64> {
        u64::try_from(self.reconnect.swap(NOT_TOLD, Ordering::AcqRel)).ok()
    }

    /// The session is to end.
    pub fn end(&self, close: Close) {
        let code = ENDS.iter().zip(1..).find(|(end, _)| **end == close).map_or(1, |(_, code)| code);
        self.close.store(code, Ordering::Release);
    }

    /// Whether the session is to end, and why.
    #[must_use]
    pub fn ended(&self) -> Option<Close> {
        let code = usize::from(self.close.load(Ordering::Acquire));
        code.checked_sub(1).and_then(|at| ENDS.get(at)).copied()
    }
}

/// A session announces itself, before it reads where its user's inbox ends. `false`: the user has too many.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct Join {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub session_id: SessionId,
    /// The login that it came in by.
    pub family_id: FamilyId,
    /// Its mailbox.
    pub addr: Addr<SessionActor>,
    /// What it must learn in any case.
    pub flags: Arc<Flags>,
    /// How many sessions the user may have.
    pub limit: usize,
}

/// A session has ended; sent on every way out.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub session_id: SessionId,
}

/// Messages of one inbox, in order of place.
pub type Arrivals = Arc<[(Seq, SealedMessage)]>;

/// Messages by inbox.
pub type Events = Vec<(UserId, Arrivals)>;

/// The messages of one transaction; sent by the bridge, for the router here or on another node.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver(pub Arc<Events>);

/// Places that exist, without the messages: the sessions read them; sent by the bridge, for what was written before.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Nudge(pub Vec<(UserId, Seq)>);

/// Where inboxes end, as the store has it; sent by whoever looks for what nobody was told of. Says in how many there is
/// more than this node was told of.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CatchUp(pub Vec<(UserId, Seq)>);

/// An ephemeral frame for all sessions of these users, sent by the bridge; shed where a client reads slowly.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tell {
    /// For whom.
    pub users: Vec<UserId>,
    /// What.
    pub frame: Ephemeral,
}

/// All who have a session here.
#[derive(Message)]
#[rtype(result = "Vec<UserId>")]
pub struct WhoIsHere;

/// Which of these users have a session here.
#[derive(Message)]
#[rtype(result = "Vec<UserId>")]
pub struct WhoIsOnline(pub Vec<UserId>);

/// Ends sessions; sent by whoever polls what happened to accounts.
#[derive(Message)]
#[rtype(result = "usize")]
pub enum End {
    /// All of a user's.
    User(UserId, Close),
    /// Those of one login.
    Family(UserId, FamilyId, Close),
    /// All.
    All(Close),
}

/// Tells all sessions to come back later, spread evenly over a time; says how many.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct SpreadReconnect(pub Duration);

/// Tells some sessions to go to another node and closes them; says how many. Sent by a node that leaves, or that has more
/// than its share.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct HandOver {
    /// How many at most.
    pub most: usize,
    /// Over which time they come back.
    pub jitter: Duration,
}

/// How many sessions live here.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct Count;

/// How many of them were not sent elsewhere: those may take a moment to go.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct Staying;

struct Link {
    session_id: SessionId,
    family_id: FamilyId,
    addr: Addr<SessionActor>,
    flags: Arc<Flags>,
}

/// The sessions of one user.
#[derive(Default)]
struct Household {
    links: Vec<Link>,
    /// The last place that this node was told of; 0: of none since the first of them came.
    told: Seq,
}

/// The actor. One a node, started outside the HTTP server's closure.
pub struct Registry {
    users: HashMap<UserId, Household>,
    sessions: usize,
    presence: Addr<Presence>,
    /// What other nodes know of who is here.
    here: Here,
    draining: Arc<AtomicBool>,
}

impl Registry {
    /// An empty registry that tells `presence` who comes and goes, and writes into `here` who is here.
    #[must_use]
    pub fn new(presence: Addr<Presence>, here: Here, draining: Arc<AtomicBool>) -> Self {
        Self { users: HashMap::new(), sessions: 0, presence, here, draining }
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.users.values().flat_map(|household| &household.links)
    }

    /// Those that were not sent elsewhere.
    fn staying(&self) -> impl Iterator<Item = &Link> {
        self.links().filter(|link| link.flags.ended().is_none())
    }

    fn links_of(&self, user: UserId) -> impl Iterator<Item = &Link> {
        self.users.get(&user).into_iter().flat_map(|household| &household.links)
    }

    fn nudge(household: &mut Household, head: Seq) {
        household.told = household.told.max(head);
        for link in &household.links {
            link.flags.raise_head(head);
            tell(&link.addr, "session", Wake);
        }
    }

    fn end<'a>(links: impl Iterator<Item = &'a Link>, close: Close) -> usize {
        let mut ended = 0;
        for link in links {
            link.flags.end(close);
            tell(&link.addr, "session", Wake);
            ended += 1;
        }
        ended
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Join> for Registry {
    type Result = bool;

    fn handle(&mut self, join: Join, _: &mut Self::Context) -> bool {
        let links = &mut self.users.entry(join.user_id).or_default().links;
        if links.len() >= join.limit {
            return false;
        }
        if self.draining.load(Ordering::Acquire) {
            join.flags.end(Close::Drained);
        }
        links.push(Link { session_id: join.session_id, family_id: join.family_id, addr: join.addr, flags: join.flags });
        let first = links.len() == 1;
        if first {
            self.here.came(join.user_id);
        }
        self.sessions += 1;
        crate::metrics::session_opened();
        crate::metrics::sessions(self.sessions as f64);
        tell(&self.presence, "presence", Seen { user_id: join.user_id, came: true, first });
        true
    }
}

impl Handler<Leave> for Registry {
    type Result = ();

    fn handle(&mut self, leave: Leave, _: &mut Self::Context) {
        let Some(Household { links, .. }) = self.users.get_mut(&leave.user_id) else { return };
        let Some(at) = links.iter().position(|link| link.session_id == leave.session_id) else { return };
        links.swap_remove(at);
        self.sessions -= 1;
        crate::metrics::sessions(self.sessions as f64);
        if links.is_empty() {
            self.users.remove(&leave.user_id);
            self.here.went(leave.user_id);
            tell(&self.presence, "presence", Seen { user_id: leave.user_id, came: false, first: false });
        }
    }
}

impl Handler<Deliver> for Registry {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, _: &mut Self::Context) {
        for (user, messages) in deliver.0.iter() {
            let (Some(household), Some((head, _))) = (self.users.get_mut(user), messages.last()) else { continue };
            household.told = household.told.max(*head);
            for link in &household.links {
                if tell(&link.addr, "session", Push(messages.clone())) == Told::Full {
                    // The session reads from the store what it missed. Only then is the head raised: raised for every
                    // push, it would send a session that is a push behind to the store for what waits in its mailbox.
                    link.flags.raise_head(*head);
                    // If there is no room for this either, what fills the mailbox is handled after the head was raised.
                    tell(&link.addr, "session", Wake);
                }
            }
        }
    }
}

impl Handler<Nudge> for Registry {
    type Result = ();

    fn handle(&mut self, nudge: Nudge, _: &mut Self::Context) {
        for (user, head) in nudge.0 {
            if let Some(household) = self.users.get_mut(&user) {
                Self::nudge(household, head);
            }
        }
    }
}

impl Handler<CatchUp> for Registry {
    type Result = usize;

    fn handle(&mut self, catch_up: CatchUp, _: &mut Self::Context) -> usize {
        let mut found = 0;
        for (user, head) in catch_up.0 {
            let Some(household) = self.users.get_mut(&user).filter(|household| household.told < head) else { continue };
            // Of whom nothing was told yet, the sessions read where the inbox ends when they opened: mostly it is that.
            found += usize::from(household.told > Seq(0));
            Self::nudge(household, head);
        }
        found
    }
}

impl Handler<WhoIsHere> for Registry {
    type Result = Vec<UserId>;

    fn handle(&mut self, _: WhoIsHere, _: &mut Self::Context) -> Vec<UserId> {
        self.users.keys().copied().collect()
    }
}

/// An ephemeral frame, ready to be sent.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub struct Ephemeral {
    /// The frame.
    pub text: ByteString,
    /// What it is about.
    pub kind: FrameKind,
}

impl Handler<Tell> for Registry {
    type Result = ();

    fn handle(&mut self, order: Tell, _: &mut Self::Context) {
        for link in order.users.iter().flat_map(|user| self.links_of(*user)) {
            if tell(&link.addr, "session", order.frame.clone()) == Told::Full {
                crate::metrics::shed(order.frame.kind.label());
            }
        }
    }
}

impl Handler<WhoIsOnline> for Registry {
    type Result = Vec<UserId>;

    fn handle(&mut self, who: WhoIsOnline, _: &mut Self::Context) -> Vec<UserId> {
        who.0.into_iter().filter(|user| self.users.contains_key(user)).collect()
    }
}

impl Handler<End> for Registry {
    type Result = usize;

    fn handle(&mut self, end: End, _: &mut Self::Context) -> usize {
        match end {
            End::User(user, close) => Self::end(self.links_of(user), close),
            End::Family(user, family, close) => {
                Self::end(self.links_of(user).filter(|link| link.family_id == family), close)
            }
            End::All(close) => Self::end(self.links(), close),
        }
    }
}

impl Handler<SpreadReconnect> for Registry {
    type Result = usize;

    fn handle(&mut self, spread: SpreadReconnect, _: &mut Self::Context) -> usize {
        let total = self.sessions.max(1) as u64;
        let millis = u64::try_from(spread.0.as_millis()).unwrap_or(u64::MAX);
        for (link, n) in self.links().zip(0u64..) {
            link.flags.reconnect(millis.saturating_mul(n) / total);
            tell(&link.addr, "session", Wake);
        }
        self.sessions
    }
}

impl Handler<HandOver> for Registry {
    type Result = usize;

    fn handle(&mut self, order: HandOver, _: &mut Self::Context) -> usize {
        let going: Vec<&Link> = self.staying().take(order.most).collect();
        let millis = u64::try_from(order.jitter.as_millis()).unwrap_or(u64::MAX);
        for (link, n) in going.iter().zip(0u64..) {
            link.flags.reconnect(millis.saturating_mul(n) / going.len().max(1) as u64);
        }
        Self::end(going.iter().copied(), Close::Drained)
    }
}

impl Handler<Staying> for Registry {
    type Result = usize;

    fn handle(&mut self, _: Staying, _: &mut Self::Context) -> usize {
        self.staying().count()
    }
}

impl Handler<Count> for Registry {
    type Result = usize;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> usize {
        self.sessions
    }
}
