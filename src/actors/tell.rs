//! The one way to send an actor a message without waiting: tries, counts and tells.

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, Message};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is in the mailbox.
    Yes,
    /// The mailbox is full; the message is gone, and counted.
    Full,
    /// The actor is gone.
    Gone,
}

/// Puts `message` into the mailbox if there is room. What happens otherwise is the caller's to decide; it is counted in
/// `parlor_mailbox_overflow_total` under the actor's name either way.
pub fn tell<A, M>(to: &Addr<A>, actor: &'static str, message: M) -> Told
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    match to.try_send(message) {
        Ok(()) => Told::Yes,
        Err(SendError::Full(_)) => {
            crate::metrics::mailbox_overflow(actor);
            Told::Full
        }
        Err(SendError::Closed(_)) => Told::Gone,
    }
}
