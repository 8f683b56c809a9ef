//! The stages by name. A new one is a file of its own and one line in [`Catalogue::standard`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use crate::envelope::Envelope;
use crate::script::call::Direction;

/// The stage that runs senders' scripts.
pub const OUTGOING: &str = "outgoing";
/// The stage that runs recipients' scripts.
pub const INCOMING: &str = "incoming";
/// The stage that answers for recipients.
pub const AUTO_REPLY: &str = "auto-reply";
/// The stage that writes inboxes: always the last.
pub const ROUTER: &str = "router";

/// One step that an envelope passes: what should happen next, decided without touching the bus or the socket.
pub trait Stage: Send + Sync + 'static {
    /// What becomes of `envelope`. Called in order for one sender, side by side for different ones. It may be called
    /// again for the same envelope after a crash, and must then come to the same end. `since` is when it came to the
    /// stage: whoever waits for somebody knows for how long already.
    fn apply(&self, envelope: Envelope, since: Instant) -> BoxFuture<'_, Outcome>;
}

/// What a stage decided.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The envelope, to be passed on to its next destination; `None` ends it here.
    pub pass: Option<Envelope>,
    /// New messages that it caused; each begins at the first of its own `eventDestinations`.
    pub made: Vec<Envelope>,
}

impl Outcome {
    /// Passes the envelope on.
    #[must_use]
    pub fn pass(envelope: Envelope) -> Self {
        Self { pass: Some(envelope), made: Vec::new() }
    }
}

/// How a stage is run.
#[derive(Clone)]
pub enum Kind {
    /// Writes into inboxes, many messages in one transaction: `actors::router`.
    Router,
    /// Runs users' scripts: `pipeline::scripted`, on the actors' stage.
    Scripts(Direction),
    /// Answers for users: `pipeline::auto_reply`, on the actors' stage.
    AutoReply,
    /// Decides about one envelope at a time: `actors::stage`.
    Each(Arc<dyn Stage>),
}

/// The stages that this program has, by name.
#[derive(Clone)]
pub struct Catalogue(BTreeMap<String, Kind>);

impl Catalogue {
    /// What Parlor comes with.
    #[must_use]
    pub fn standard() -> Self {
        Self(BTreeMap::new())
            .with(OUTGOING, Kind::Scripts(Direction::Outgoing))
            .with(INCOMING, Kind::Scripts(Direction::Incoming))
            .with(AUTO_REPLY, Kind::AutoReply)
            .with(ROUTER, Kind::Router)
    }

    /// Adds a stage, or puts another in its place.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Kind) -> Self {
        self.0.insert(name.to_owned(), kind);
        self
    }

    /// The stage of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.get(name)
    }

    /// All names, for error messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
