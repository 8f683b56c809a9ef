//! The user's own messages until the server has accepted them: in order, under ids that make a second sending harmless.

use std::collections::VecDeque;
use std::time::Duration;

use super::frames::ClientFrame;
use crate::ids::UserId;

/// How many messages may wait; the input is not read further until one is accepted.
pub(super) const CAPACITY: usize = 1000;
/// How many may be on their way at once, so that a long paste is not taken for a flood.
const WINDOW: usize = 32;
/// How long a message may take before the user is told that it is still on its way.
const PATIENCE: Duration = Duration::from_millis(500);

/// A message that is not yet accepted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unsent {
    /// The same on every sending.
    pub(super) id: String,
    /// The text.
    pub(super) body: String,
    /// Whom it is for.
    pub(super) recipients: Vec<UserId>,
    /// When it was written, on the machine's clock.
    pub(super) since: Duration,
    /// Whether the user has seen `…` for it.
    pub(super) told: bool,
}

/// The queue: the first `on_the_way` messages have been sent on this connection.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Unsent>,
    on_the_way: usize,
}

impl Outbox {
    /// Adds a message at the end.
    pub(super) fn push(&mut self, id: String, body: String, recipients: Vec<UserId>, now: Duration) {
        self.queue.push_back(Unsent { id, body, recipients, since: now, told: false });
    }

    /// The connection is gone: all is to be sent again.
    pub(super) fn rewind(&mut self) {
        self.on_the_way = 0;
    }

    /// The frames to send now, in order.
    pub(super) fn frames(&mut self) -> Vec<ClientFrame> {
        let until = self.queue.len().min(WINDOW);
        let frames = self.queue.iter().take(until).skip(self.on_the_way).map(Unsent::frame).collect();
        self.on_the_way = self.on_the_way.max(until);
        frames
    }

    /// Takes out the message that the server has answered for.
    pub(super) fn settle(&mut self, id: &str) -> Option<Unsent> {
        let place = self.queue.iter().position(|unsent| unsent.id == id)?;
        if place < self.on_the_way {
            self.on_the_way -= 1;
        }
        self.queue.remove(place)
    }

    /// Takes out what is longer than the server takes.
    pub(super) fn too_long(&mut self, limit: usize) -> Vec<Unsent> {
        let ids: Vec<String> = self.queue.iter().filter(|u| u.body.len() > limit).map(|u| u.id.clone()).collect();
        ids.iter().filter_map(|id| self.settle(id)).collect()
    }

    /// Whether a message has newly run out of patience; each is reported once.
    pub(super) fn became_slow(&mut self, now: Duration) -> bool {
        let mut slow = false;
        for unsent in self.queue.iter_mut().filter(|unsent| !unsent.told && unsent.since + PATIENCE <= now) {
            unsent.told = true;
            slow = true;
        }
        slow
    }

    /// When [`Outbox::became_slow`] is next worth asking.
    pub(super) fn next_slow(&self) -> Option<Duration> {
        self.queue.iter().find(|unsent| !unsent.told).map(|unsent| unsent.since + PATIENCE)
    }

    /// What is not yet accepted, oldest first.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.queue.iter().map(|unsent| unsent.body.clone()).collect()
    }

    /// How many are not yet accepted.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

impl Unsent {
    fn frame(&self) -> ClientFrame {
        ClientFrame::SendMessage {
            message_body: self.body.clone(),
            recipient_ids: self.recipients.clone(),
            client_message_id: self.id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(count: usize) -> Outbox {
        let mut outbox = Outbox::default();
        for n in 0..count {
            outbox.push(n.to_string(), format!("m{n}"), vec![UserId(1)], Duration::ZERO);
        }
        outbox
    }

    fn ids(frames: &[ClientFrame]) -> Vec<String> {
        let id = |frame: &ClientFrame| match frame {
            ClientFrame::SendMessage { client_message_id, .. } => client_message_id.clone(),
            other => panic!("{other:?}"),
        };
        frames.iter().map(id).collect()
    }

    #[test]
    fn each_is_sent_once_a_connection_and_again_in_order_on_the_next() {
        let mut outbox = outbox(3);
        assert_eq!(ids(&outbox.frames()), ["0", "1", "2"]);
        assert!(outbox.frames().is_empty());
        outbox.settle("1");
        outbox.rewind();
        assert_eq!(ids(&outbox.frames()), ["0", "2"]);
    }

    #[test]
    fn a_long_queue_goes_out_as_answers_come() {
        let mut outbox = outbox(WINDOW + 2);
        assert_eq!(outbox.frames().len(), WINDOW);
        outbox.settle("0");
        assert_eq!(ids(&outbox.frames()), [WINDOW.to_string()]);
        outbox.settle(&(WINDOW + 1).to_string());
        assert!(outbox.frames().is_empty());
    }

    #[test]
    fn slowness_is_told_once() {
        let mut outbox = outbox(2);
        assert!(!outbox.became_slow(Duration::from_millis(499)));
        assert_eq!(outbox.next_slow(), Some(PATIENCE));
        assert!(outbox.became_slow(PATIENCE) && !outbox.became_slow(PATIENCE * 2));
        assert_eq!(outbox.next_slow(), None);
    }
}
