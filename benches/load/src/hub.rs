//! What the connections of a run share: the book, a mailbox each, and where to connect. One thread, so plain cells.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    ops::Range,
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use crate::{
    accounts::Accounts,
    book::{Book, FreeSlot},
    figures::Latency,
    wire::LineId,
};

/// How long a closed loop waits after a `rejected` before it fills the slot again.
const PAUSE_AFTER_REJECTION: Duration = Duration::from_millis(100);

/// What a connection is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Send the line's next message; without an intended time it counts from when it is written (closed loop).
    Send(LineId, Option<Instant>),
    /// Send this frame as it is.
    Frame(String),
    /// Drop the socket without a word and come back.
    Break(Instant),
    /// Close the socket and end.
    Leave,
}

/// The orders of one connection. No bound of its own: a closed loop fills it with its slots at most, an open loop with
/// what the server is behind by, which is what is to be measured.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    orders: RefCell<VecDeque<Order>>,
    waker: RefCell<Option<Waker>>,
}

impl Mailbox {
    /// Leaves an order and wakes the connection.
    pub(crate) fn push(&self, order: Order) {
        self.orders.borrow_mut().push_back(order);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Takes the oldest order.
    pub(crate) fn pop(&self) -> Option<Order> {
        self.orders.borrow_mut().pop_front()
    }

    /// Forgets messages that were not written yet: a closed loop ends.
    pub(crate) fn forget_unsent(&self) {
        self.orders.borrow_mut().retain(|order| !matches!(order, Order::Send(_, None)));
    }

    /// Has the connection's task woken by the next order.
    pub(crate) fn listen(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }
}

/// How long connections took to come back.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// From the break to `welcome`.
    pub(crate) to_welcome: Latency,
    /// From the break to the last of what was missed.
    pub(crate) to_caught_up: Latency,
    /// From the first attempt to come back to the first message that was placed after that.
    pub(crate) to_served: Latency,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    /// What was sent and seen.
    pub(crate) book: RefCell<Book>,
    /// One for each connection.
    pub(crate) mailboxes: Vec<Mailbox>,
    /// Whose connections these are.
    pub(crate) accounts: Rc<Accounts>,
    /// The addresses of sockets, without a query.
    pub(crate) ws_urls: Vec<String>,
    /// Connections that begin at the first address, while all others begin elsewhere. Otherwise they take turns.
    pub(crate) crowd_at_first: Option<Range<usize>>,
    /// What a connection reads at once: also what it costs the generator in memory.
    pub(crate) read_buffer_bytes: usize,
    /// Whether freed slots are filled again.
    pub(crate) is_closed_loop: Cell<bool>,
    /// Connections that are welcome and have all that they missed.
    pub(crate) in_service: Cell<usize>,
    /// How long those took that came back.
    pub(crate) returns: RefCell<Returns>,
    /// Why the run cannot go on.
    failure: RefCell<Option<anyhow::Error>>,
}

impl Hub {
    /// A hub for the connections of `book`.
    pub(crate) fn new(book: Book, accounts: Rc<Accounts>, read_buffer_bytes: usize) -> Self {
        Self {
            mailboxes: (0..book.connections()).map(|_| Mailbox::default()).collect(),
            book: RefCell::new(book),
            ws_urls: accounts.ws_urls(),
            crowd_at_first: None,
            accounts,
            read_buffer_bytes,
            is_closed_loop: Cell::new(false),
            in_service: Cell::new(0),
            returns: RefCell::default(),
            failure: RefCell::default(),
        }
    }

    /// The number of the address at which a connection begins.
    pub(crate) fn first_place(&self, connection: usize) -> usize {
        let count = self.ws_urls.len().max(1);
        match &self.crowd_at_first {
            None => connection % count,
            Some(crowd) if crowd.contains(&connection) => 0,
            Some(_) => self.next_place(connection, 0),
        }
    }

    /// Where a connection goes that cannot stay where it is: somewhere else, if there is anywhere, and evenly spread.
    pub(crate) fn next_place(&self, connection: usize, from: usize) -> usize {
        elsewhere(connection, from, self.ws_urls.len())
    }

    /// Gives a connection an order.
    pub(crate) fn order(&self, connection: usize, order: Order) {
        if let Some(mailbox) = self.mailboxes.get(connection) {
            mailbox.push(order);
        }
    }

    /// Fills a freed slot, if this is a closed loop that still runs.
    pub(crate) fn fill(&self, (line, sender): FreeSlot) {
        if self.is_closed_loop.get() {
            self.order(sender, Order::Send(line, None));
        }
    }

    /// Fills a slot freed by a rejection, after a pause: a server that says no is not asked again at once.
    pub(crate) fn fill_after_rejection(self: &Rc<Self>, slot: FreeSlot) {
        if self.is_closed_loop.get() {
            let hub = Rc::clone(self);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(PAUSE_AFTER_REJECTION).await;
                hub.fill(slot);
            });
        }
    }

    /// Ends a closed loop: nothing more is sent, what is under way may arrive.
    pub(crate) fn stop_sending(&self) {
        self.is_closed_loop.set(false);
        self.mailboxes.iter().for_each(Mailbox::forget_unsent);
    }

    /// Says that the run cannot go on. The first reason counts.
    pub(crate) fn fail(&self, why: anyhow::Error) {
        self.failure.borrow_mut().get_or_insert(why);
    }

    /// Waits until `done` or `limit`; true if done. An error if the run cannot go on.
    pub(crate) async fn wait_until(
        &self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> anyhow::Result<bool> {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let end = Instant::now() + limit;
        loop {
            if let Some(why) = self.failure.borrow_mut().take() {
                return Err(why);
            }
            if done(self) {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            tokio::time::sleep(LOOK_EVERY.min(limit)).await;
        }
    }
}

/// One of `count` places that is not `from`, by the number of the connection, so that all are chosen alike.
fn elsewhere(connection: usize, from: usize, count: usize) -> usize {
    match count {
        0 | 1 => 0,
        _ => (from + 1 + connection % (count - 1)) % count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_a_place_goes_to_another_and_all_others_get_as_many() {
        let mut went = [0; 3];
        for connection in 0..100 {
            went[elsewhere(connection, 1, 3)] += 1;
        }
        assert_eq!(went, [50, 0, 50]);
        assert_eq!((elsewhere(7, 0, 2), elsewhere(7, 1, 2), elsewhere(7, 0, 1)), (1, 0, 0));
    }
}
