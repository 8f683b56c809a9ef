//! The book of a run: every line, every inbox, all counters and latencies. Connections report to it, the scenario reads
//! it. Nothing here does I/O.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    check::{InboxCheck, Tally},
    figures::{Counters, Latency},
    line::Line,
    wire::{LineId, MessageWriter},
};

/// A line on which one more message may be under way now, and the connection that sends on it.
pub(crate) type FreeSlot = (LineId, usize);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Book {
    lines: Vec<Line>,
    inboxes: Vec<InboxCheck>,
    /// Since the run began.
    pub(crate) counters: Counters,
    /// From the intended send to `accepted`.
    pub(crate) to_accepted: Latency,
    /// From the intended send to each recipient's `message`.
    pub(crate) to_delivered: Latency,
    /// Messages meant for before this are checked, but not in the latencies.
    pub(crate) measure_from: Option<Instant>,
    /// How often each code of `rejected`, `error` and each reason for a disconnect came.
    pub(crate) complaints: BTreeMap<String, u64>,
}

impl Book {
    /// A book for so many connections and no lines yet.
    pub(crate) fn new(connections: usize) -> Self {
        Self { inboxes: (0..connections).map(|_| InboxCheck::default()).collect(), ..Self::default() }
    }

    /// How many connections it is for.
    pub(crate) fn connections(&self) -> usize {
        self.inboxes.len()
    }

    /// Opens a line from `sender` (a connection) to the users `recipients`, who listen on `recipient_connections`.
    pub(crate) fn open_line(
        &mut self,
        sender: usize,
        body_bytes: usize,
        recipients: &[u64],
        recipient_connections: &[usize],
    ) -> LineId {
        let id = LineId(u32::try_from(self.lines.len()).unwrap_or(u32::MAX));
        let copies = u32::try_from(recipient_connections.len()).unwrap_or(u32::MAX);
        self.lines.push(Line::new(sender, MessageWriter::new(id, body_bytes, recipients), copies));
        for connection in recipient_connections.iter().chain([&sender]) {
            if let Some(inbox) = self.inboxes.get_mut(*connection) {
                inbox.expect_line(id);
            }
        }
        id
    }

    /// Takes the next number of a line and gives its frame.
    pub(crate) fn send(&mut self, line: LineId, intended: Instant) -> Option<String> {
        let line = self.lines.get_mut(line.index())?;
        let n = line.send(intended);
        self.counters.sent += 1;
        Some(line.writer.frame(n))
    }

    /// The frames that a connection has to send again after a reconnect, each line's in order.
    pub(crate) fn unanswered_frames(&self, sender: usize) -> Vec<String> {
        let own = self.lines.iter().filter(|line| line.sender == sender);
        own.flat_map(|line| line.unanswered().map(|n| line.writer.frame(n))).collect()
    }

    /// Takes note of `accepted`.
    pub(crate) fn accepted(&mut self, line: LineId, n: u64, now: Instant) {
        let Some(intended) = self.lines.get_mut(line.index()).and_then(|line| line.accepted(n)) else { return };
        self.counters.accepted += 1;
        if self.measure_from.is_some_and(|from| intended >= from) {
            self.to_accepted.record(intended, now);
        }
    }

    /// Takes note of `rejected`.
    pub(crate) fn rejected(&mut self, line: LineId, n: u64) -> Option<FreeSlot> {
        let record = self.lines.get_mut(line.index())?;
        if !record.rejected(n) {
            return None;
        }
        self.counters.rejected += 1;
        Some((line, record.sender))
    }

    /// Takes note of a `message` on a connection.
    pub(crate) fn message(
        &mut self,
        connection: usize,
        seq: u64,
        number: Option<(LineId, u64)>,
        now: Instant,
    ) -> Option<FreeSlot> {
        let inbox = self.inboxes.get_mut(connection)?;
        let is_new = inbox.observe(seq, number);
        let Some((id, n)) = number.filter(|(id, _)| id.index() < self.lines.len()) else {
            self.counters.foreign += 1;
            return None;
        };
        let line = self.lines.get_mut(id.index()).filter(|_| is_new)?;
        if line.sender == connection {
            line.echoed(n);
            return None;
        }
        self.counters.delivered += 1;
        let delivery = line.delivered(n)?;
        if self.measure_from.is_some_and(|from| delivery.intended >= from) {
            self.to_delivered.record(delivery.intended, now);
        }
        delivery.complete.then_some((id, line.sender))
    }

    /// A connection's inbox.
    pub(crate) fn inbox(&mut self, connection: usize) -> Option<&mut InboxCheck> {
        self.inboxes.get_mut(connection)
    }

    /// Counts a complaint by what it says.
    pub(crate) fn complain(&mut self, what: String) {
        *self.complaints.entry(what).or_default() += 1;
    }

    /// Whether every message is answered and with everybody.
    pub(crate) fn is_settled(&self) -> bool {
        self.lines.iter().all(Line::is_settled)
    }

    /// Messages that were neither accepted nor rejected.
    pub(crate) fn unanswered(&self) -> u64 {
        self.lines.iter().map(|line| line.unanswered().count() as u64).sum()
    }

    /// What the checker found.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for inbox in &self.inboxes {
            let sent = |line: LineId| self.lines.get(line.index()).map_or(0, Line::sent);
            let owed = |line: LineId, range| self.lines.get(line.index()).map_or(0, |line| line.owed(range));
            inbox.settle(&mut tally, sent, owed);
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_when_the_last_recipient_has_the_message() {
        let mut book = Book::new(3);
        let line = book.open_line(0, 40, &[11, 12], &[1, 2]);
        let now = Instant::now();
        for connection in 0..3 {
            book.inbox(connection).unwrap().welcome(0);
        }
        assert!(book.send(line, now).is_some());
        book.accepted(line, 0, now);
        assert_eq!(book.message(0, 1, Some((line, 0)), now), None, "the echo frees nothing");
        assert_eq!(book.message(1, 1, Some((line, 0)), now), None);
        assert!(!book.is_settled());
        assert_eq!(book.message(2, 1, Some((line, 0)), now), Some((line, 0)));
        assert!(book.is_settled() && book.tally().is_clean());
        assert_eq!(book.counters.delivered, 2);
    }

    #[test]
    fn an_accepted_message_that_one_of_two_recipients_lacks_is_one_loss() {
        let mut book = Book::new(3);
        let line = book.open_line(0, 40, &[11, 12], &[1, 2]);
        let now = Instant::now();
        book.send(line, now);
        book.accepted(line, 0, now);
        book.message(0, 1, Some((line, 0)), now);
        book.message(1, 1, Some((line, 0)), now);
        assert_eq!(book.tally(), Tally { lost: 1, ..Tally::default() });
    }

    #[test]
    fn only_what_was_meant_for_the_window_is_measured_and_what_is_late_counts_in_full() {
        let mut book = Book::new(2);
        let line = book.open_line(0, 40, &[11], &[1]);
        let start = Instant::now();
        let window = start + std::time::Duration::from_secs(1);
        book.measure_from = Some(window);
        book.send(line, start);
        book.send(line, window);
        let much_later = window + std::time::Duration::from_secs(5);
        book.accepted(line, 0, much_later);
        book.accepted(line, 1, much_later);
        assert_eq!(book.to_accepted.0.len(), 1);
        assert!(book.to_accepted.0.max() >= 4_990_000);
    }

    #[test]
    fn only_unanswered_frames_are_sent_again() {
        let mut book = Book::new(2);
        let line = book.open_line(0, 40, &[11], &[1]);
        let now = Instant::now();
        book.send(line, now);
        let second = book.send(line, now).unwrap();
        book.accepted(line, 0, now);
        assert_eq!(book.unanswered_frames(0), [second]);
        assert_eq!(book.unanswered(), 1);
    }
}
