//! What can happen to a chat, and what can be done about it: the two ends of the `machine`.

use std::time::Duration;

use super::frames::{ClientFrame, Message, ServerFrame};
use super::notice::Notice;
use crate::ids::{Seq, UserId};

/// A time on the machine's own clock: since the start of the program.
pub(super) type Moment = Duration;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The program begins.
    Start,
    /// The user wrote a message, named `id`.
    Write { id: String, body: String, recipients: Vec<UserId> },
    /// The connection that was asked for stands.
    Connected,
    /// It could not be made.
    ConnectFailed(Failure),
    /// A frame came.
    Frame(ServerFrame),
    /// Anything else came: the server lives.
    Heard,
    /// The connection ended, with a close code if the server said one.
    Closed(Option<u16>),
    /// The new token is there.
    TokenRenewed,
    /// A new token could not be had.
    TokenFailed(Failure),
    /// The time of [`Machine::wake`] has come.
    Tick,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// It may work later.
    Passing(String),
    /// The server is asked too much.
    TooMuch(String),
    /// The token is not taken.
    Token,
    /// It will never work.
    Final(String),
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Connect, resuming after this place if there is one.
    Connect(Option<Seq>),
    /// Get a new token.
    RenewToken,
    /// Give the connection the new token.
    OfferToken,
    /// Send a frame.
    Send(ClientFrame),
    /// Drop the connection.
    Disconnect,
    /// Show a message.
    Deliver(Box<Message>),
    /// Somebody came or went.
    Presence(UserId, bool),
    /// Say something.
    Tell(Notice),
    /// A connection stands: the first, or a further one.
    Joined { first: bool },
    /// End with this error.
    Stop(String),
}
