//! The sender's side of one line: which numbers are under way, which were turned away. Nothing here does I/O.

use std::{collections::VecDeque, ops::Range, time::Instant};

use crate::wire::MessageWriter;

/// One message that is not finished yet.
#[derive(Debug)]
struct Flight {
    /// When it was meant to be sent: what latency is counted from.
    intended: Instant,
    /// Recipients' connections that have yet to get it.
    copies: u32,
    /// The sender's own connections that have yet to get it.
    echoes: u32,
    /// `accepted` or `rejected` has come.
    answered: bool,
}

/// What a delivery meant for its message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// When the message was meant to be sent.
    pub(crate) intended: Instant,
    /// Every recipient has it now.
    pub(crate) complete: bool,
}

/// One line's messages, by number from 0 on.
#[derive(Debug)]
pub(crate) struct Line {
    /// The connection that sends.
    pub(crate) sender: usize,
    /// Writes its frames.
    pub(crate) writer: MessageWriter,
    copies: u32,
    /// The number of the first flight.
    base: u64,
    flights: VecDeque<Flight>,
    /// Ascending.
    rejected: Vec<u64>,
}

impl Line {
    /// A line whose every message reaches `copies` connections of recipients and, once, its sender's own.
    pub(crate) fn new(sender: usize, writer: MessageWriter, copies: u32) -> Self {
        Self { sender, writer, copies, base: 0, flights: VecDeque::new(), rejected: Vec::new() }
    }

    /// How many messages were sent: the next number.
    pub(crate) fn sent(&self) -> u64 {
        self.base + self.flights.len() as u64
    }

    /// Takes the next number.
    pub(crate) fn send(&mut self, intended: Instant) -> u64 {
        let n = self.sent();
        self.flights.push_back(Flight { intended, copies: self.copies, echoes: 1, answered: false });
        n
    }

    /// Takes note of `accepted`; gives the intended time if it is the first answer.
    pub(crate) fn accepted(&mut self, n: u64) -> Option<Instant> {
        let flight = self.flight(n).filter(|flight| !flight.answered)?;
        flight.answered = true;
        let intended = flight.intended;
        self.retire();
        Some(intended)
    }

    /// Takes note of `rejected`: nobody will get it. True if it is the first answer.
    pub(crate) fn rejected(&mut self, n: u64) -> bool {
        let Some(flight) = self.flight(n).filter(|flight| !flight.answered) else { return false };
        (flight.answered, flight.copies, flight.echoes) = (true, 0, 0);
        let at = self.rejected.partition_point(|other| *other < n);
        self.rejected.insert(at, n);
        self.retire();
        true
    }

    /// Takes note that a recipient's connection got it for the first time.
    pub(crate) fn delivered(&mut self, n: u64) -> Option<Delivery> {
        let flight = self.flight(n).filter(|flight| flight.copies > 0)?;
        flight.copies -= 1;
        let delivery = Delivery { intended: flight.intended, complete: flight.copies == 0 };
        self.retire();
        Some(delivery)
    }

    /// Takes note that the sender's own connection got it.
    pub(crate) fn echoed(&mut self, n: u64) {
        if let Some(flight) = self.flight(n) {
            flight.echoes = flight.echoes.saturating_sub(1);
        }
        self.retire();
    }

    /// The numbers that have no answer yet: what a reconnected sender sends again.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = u64> + '_ {
        (self.base..).zip(&self.flights).filter(|(_, flight)| !flight.answered).map(|(n, _)| n)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.flights.is_empty()
    }

    /// How many numbers of a range were accepted, and so are owed to every recipient.
    pub(crate) fn owed(&self, range: Range<u64>) -> u64 {
        let below = |n: u64| self.rejected.partition_point(|other| *other < n) as u64;
        let rejected = below(range.end) - below(range.start);
        let open = self.unanswered().filter(|n| range.contains(n)).count() as u64;
        (range.end - range.start).saturating_sub(rejected + open)
    }

    fn flight(&mut self, n: u64) -> Option<&mut Flight> {
        self.flights.get_mut(usize::try_from(n.checked_sub(self.base)?).ok()?)
    }

    /// Lets go of finished messages, oldest first.
    fn retire(&mut self) {
        while self.flights.front().is_some_and(|f| f.answered && f.copies == 0 && f.echoes == 0) {
            self.flights.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::LineId;

    fn line(copies: u32) -> Line {
        Line::new(0, MessageWriter::new(LineId(0), 40, &[1]), copies)
    }

    #[test]
    fn a_message_is_complete_with_its_last_recipient_and_settled_with_answer_and_echo() {
        let (mut line, now) = (line(2), Instant::now());
        assert_eq!(line.send(now), 0);
        assert_eq!(line.delivered(0), Some(Delivery { intended: now, complete: false }));
        assert_eq!(line.delivered(0), Some(Delivery { intended: now, complete: true }));
        assert_eq!(line.delivered(0), None);
        assert_eq!(line.accepted(0), Some(now));
        assert_eq!(line.accepted(0), None, "a second answer says nothing new");
        assert!(!line.is_settled());
        line.echoed(0);
        assert!(line.is_settled());
        assert_eq!(line.sent(), 1);
    }

    #[test]
    fn what_was_rejected_or_never_answered_is_not_owed() {
        let (mut line, now) = (line(1), Instant::now());
        for _ in 0..5 {
            line.send(now);
        }
        assert!(line.rejected(1));
        for n in [0, 2, 4] {
            assert!(line.accepted(n).is_some());
        }
        assert_eq!(line.unanswered().collect::<Vec<_>>(), [3]);
        assert_eq!(line.owed(0..5), 3);
        assert_eq!(line.owed(1..4), 1);
    }
}
