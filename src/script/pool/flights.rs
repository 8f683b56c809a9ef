//! What a worker has been asked and has not answered yet. Pure: orders and bytes in, bytes and answers out.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Lane;
use super::bounds::{self, Bounds};
use super::work::{Answer, Order, Work};
use crate::metrics;
use crate::script::call::{Failure, FailureKind};
use crate::script::protocol::{self, FromWorker, HEAD_BYTES, ToWorker};

/// A buffer that had to grow beyond this is given back when it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

struct Flight {
    number: u64,
    order: Order,
    /// When it was first written.
    sent: Instant,
}

/// The conversation with one worker. It answers in the order in which it is asked, so only the oldest can be next.
pub(super) struct Flights {
    lane: Lane,
    bounds: Bounds,
    flying: VecDeque<Flight>,
    next_number: u64,
    /// Bytes that have yet to be written: no more orders are taken while there are many.
    pub(super) out: Vec<u8>,
    /// Bytes that were read and are no whole frame yet: less than one frame and one read.
    pub(super) read: Vec<u8>,
    /// When the oldest became the oldest.
    progress: Instant,
    /// Whether the oldest has been given its time anew already.
    excused: bool,
    answered: bool,
}

impl Flights {
    pub(super) fn new(lane: Lane, bounds: Bounds) -> Self {
        let (flying, out, read, progress) = (VecDeque::new(), Vec::new(), Vec::new(), Instant::now());
        Self { lane, bounds, flying, next_number: 1, out, read, progress, excused: false, answered: false }
    }

    pub(super) fn len(&self) -> usize {
        self.flying.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// Whether it has answered anything.
    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// When the oldest has waited too long.
    pub(super) fn deadline(&self, limit: Duration) -> Instant {
        self.progress + limit
    }

    /// Gives the oldest its time anew: once, else one that hangs on a busy machine would never be ended.
    pub(super) fn excuse(&mut self) -> bool {
        self.progress = Instant::now();
        !std::mem::replace(&mut self.excused, true)
    }

    fn went_on(&mut self, now: Instant) {
        (self.progress, self.excused, self.answered) = (now, false, true);
    }

    /// Asks. A caller that has gone is not asked for.
    pub(super) fn ask(&mut self, mut order: Order) {
        if order.answer.is_closed() {
            return;
        }
        let (number, now) = (self.next_number, Instant::now());
        order.work.name(number);
        if let Err(error) = protocol::encode(&order.work.frame, &mut self.out) {
            return order.fail(Failure::new(FailureKind::Unavailable, format!("cannot be given to a worker: {error}")));
        }
        self.next_number += 1;
        metrics::script_queue_wait((now - order.since).as_secs_f64(), self.lane.name());
        if self.flying.is_empty() {
            (self.progress, self.excused) = (now, false);
        }
        self.flying.push_back(Flight { number, order, sent: now });
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// In words, how the worker broke the protocol: nothing more can be believed of it.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        let mut used = 0;
        let heard = loop {
            let rest = &self.read[used..];
            let Some(oldest) = self.flying.front() else {
                break if rest.is_empty() { Ok(()) } else { Err("it spoke when nothing was asked".to_owned()) };
            };
            match take(rest, self.bounds.frame_bytes(&oldest.order.work.frame)) {
                Ok(None) => break Ok(()),
                Ok(Some((frame, bytes))) => {
                    used += bytes;
                    if let Err(breach) = self.answer(frame) {
                        break Err(breach);
                    }
                }
                Err(breach) => break Err(breach),
            }
        };
        self.read.drain(..used);
        give_back(&mut self.read);
        heard
    }

    /// So many bytes of `out` were written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.out.drain(..bytes);
        give_back(&mut self.out);
    }

    /// All that it had and did not answer, the oldest first.
    pub(super) fn suspects(self) -> VecDeque<Order> {
        self.flying.into_iter().map(|flight| flight.order).collect()
    }

    fn answer(&mut self, frame: FromWorker) -> Result<(), String> {
        let (number, reply) = match frame {
            FromWorker::Hello(_) => return Err("it said hello twice".to_owned()),
            FromWorker::Missing { number } => (number, None),
            FromWorker::Ran { number, ran } => (number, Some(Answer::Ran(ran))),
            FromWorker::Checked { number, found } => (number, Some(Answer::Checked(found))),
        };
        let now = Instant::now();
        let Some(oldest) = self.flying.front_mut() else { return Err(format!("it answered {number}, not asked")) };
        if oldest.number != number {
            return Err(format!("it answered {number} when {} was next", oldest.number));
        }
        let Some(reply) = reply else {
            if !oldest.order.work.add_source() {
                return Err(format!("it asked again for the source of {number}"));
            }
            return self.ask_with_source(now);
        };
        let reply = finish(&self.bounds, &oldest.order.work, now - oldest.sent, reply)?;
        self.went_on(now);
        if let Some(flight) = self.flying.pop_front() {
            // Whoever asked may have gone: then it is thrown away.
            let _ = flight.order.answer.send(reply);
        }
        Ok(())
    }

    /// The oldest is asked again, behind all others: so a worker answers in the order of what it reads.
    fn ask_with_source(&mut self, now: Instant) -> Result<(), String> {
        let Some(flight) = self.flying.pop_front() else { return Ok(()) };
        self.went_on(now);
        if let Err(error) = protocol::encode(&flight.order.work.frame, &mut self.out) {
            let words = format!("cannot be given to a worker: {error}");
            flight.order.fail(Failure::new(FailureKind::Unavailable, words));
            return Ok(());
        }
        self.flying.push_back(flight);
        Ok(())
    }
}

/// Sees that the answer is one to what was asked and within bounds.
fn finish(bounds: &Bounds, work: &Work, wall: Duration, reply: Answer) -> Result<Answer, String> {
    let wall_micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
    match (&work.frame, reply) {
        (ToWorker::Run { .. }, Answer::Ran(mut ran)) => {
            bounds.allow_run(work.direction, &ran, wall_micros)?;
            ran.wall_micros = wall_micros;
            metrics::script_wall(wall.as_secs_f64(), work.direction.name());
            metrics::script_cpu(Duration::from_micros(ran.cpu_micros).as_secs_f64(), work.direction.name());
            Ok(Answer::Ran(ran))
        }
        (ToWorker::Check { .. }, Answer::Checked(found)) => {
            bounds::allow_check(&found)?;
            Ok(Answer::Checked(found))
        }
        _ => Err("it answered what was not asked".to_owned()),
    }
}

/// The first frame of `bytes`, when it is all there, of at most `most` bytes.
pub(super) fn take(bytes: &[u8], most: usize) -> Result<Option<(FromWorker, usize)>, String> {
    if let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let length = u32::from_le_bytes(*head) as usize;
        if length > most {
            return Err(format!("a frame of {length} bytes, at most {most} can be an answer"));
        }
    }
    protocol::decode(bytes).map_err(|error| error.to_string())
}

fn give_back(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::ids::{ConversationId, UserId};
    use crate::script::call::{Direction, Input, Language, Prints, Ran, SourceHash, Wanted};
    use crate::script::pool::Job;
    use crate::script::protocol::RunLimits;

    const SOURCE: &str = "the source";

    fn flights() -> Flights {
        let limits = RunLimits {
            heap_bytes: 1 << 20,
            cpu_micros: 1,
            message_bytes: 100,
            replies: 8,
            print_lines: 50,
            print_bytes: 100,
            states_bytes: 1 << 20,
        };
        Flights::new(Lane::Shared, Bounds::new(limits))
    }

    fn order(work: Work) -> (Order, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        (Order { work, answer, since: Instant::now(), once_more: false }, answered)
    }

    fn run(recipients: i64) -> Work {
        let owner = UserId(1);
        let input = Input {
            message_body: "hello".into(),
            own_id: owner,
            sender_id: UserId(2),
            recipient_ids: (0..recipients).map(|_| UserId(i64::MAX)).collect(),
            from_auto_reply: false,
            conversation_id: ConversationId::of([owner, UserId(2)]),
            first_contact: false,
            sent_at: 0,
        };
        let (language, direction, lane) = (Language::Luau, Direction::Incoming, Lane::Shared);
        Work::run(Job {
            owner,
            language,
            hash: SourceHash::of(SOURCE),
            source: SOURCE.into(),
            direction,
            input,
            seed: 0,
            lane,
        })
    }

    fn check() -> Work {
        Work::check(Language::Luau, Direction::Incoming, SOURCE)
    }

    fn ran(number: u64) -> FromWorker {
        let outcome = Ok(Wanted::Incoming { drop: false, replies: Vec::new() });
        FromWorker::Ran {
            number,
            ran: Ran { outcome, prints: Prints::default(), cpu_micros: 0, wall_micros: 0, heap_bytes: 0 },
        }
    }

    fn checked(number: u64) -> FromWorker {
        FromWorker::Checked { number, found: Ok(Vec::new()) }
    }

    fn hear(flights: &mut Flights, frames: &[FromWorker]) -> Result<(), String> {
        for frame in frames {
            protocol::encode(frame, &mut flights.read).unwrap();
        }
        flights.hear()
    }

    /// What was asked since the last time: numbers, and whether the source came along.
    fn asked(flights: &mut Flights) -> Vec<(u64, bool)> {
        let mut found = Vec::new();
        while let Some((frame, bytes)) = protocol::decode(&flights.out).unwrap() {
            flights.wrote(bytes);
            found.push(match frame {
                ToWorker::Run { number, source, .. } => (number, source.as_deref() == Some(SOURCE)),
                ToWorker::Check { number, source, .. } => (number, source == SOURCE),
                ToWorker::Begin(_) => panic!("{frame:?}"),
            });
        }
        found
    }

    #[test]
    fn answers_reach_those_who_asked_in_order_and_in_pieces() {
        let mut flights = flights();
        let mut waiting = Vec::new();
        for work in [run(1), check(), run(1)] {
            let (order, answered) = order(work);
            flights.ask(order);
            waiting.push(answered);
        }
        assert_eq!(asked(&mut flights), [(1, false), (2, true), (3, false)]);
        let mut bytes = Vec::new();
        [ran(1), checked(2), ran(3)].iter().for_each(|frame| protocol::encode(frame, &mut bytes).unwrap());
        for byte in bytes {
            flights.read.push(byte);
            flights.hear().unwrap();
        }
        assert!(matches!(waiting[0].try_recv(), Ok(Answer::Ran(_))));
        assert!(matches!(waiting[1].try_recv(), Ok(Answer::Checked(Ok(_)))));
        assert!(matches!(waiting[2].try_recv(), Ok(Answer::Ran(_))));
        assert!(flights.is_empty() && flights.read.is_empty() && flights.answered());
    }

    #[test]
    fn a_source_that_is_missing_is_sent_once_and_its_run_goes_behind_the_others() {
        let mut flights = flights();
        let (first, mut first_answered) = order(run(1));
        let (second, mut second_answered) = order(check());
        flights.ask(first);
        flights.ask(second);
        hear(&mut flights, &[FromWorker::Missing { number: 1 }, checked(2)]).unwrap();
        assert!(second_answered.try_recv().is_ok() && first_answered.try_recv().is_err());
        assert_eq!(asked(&mut flights), [(1, false), (2, true), (1, true)]);
        let words = hear(&mut flights, &[FromWorker::Missing { number: 1 }]).unwrap_err();
        assert!(words.contains("asked again for the source of 1"), "{words}");
        assert_eq!(flights.suspects().len(), 1);
        let (order, _answered) = order(check());
        let mut flights = self::flights();
        flights.ask(order);
        assert!(hear(&mut flights, &[FromWorker::Missing { number: 1 }]).is_err(), "a check has it already");
    }

    #[test]
    fn what_was_not_asked_ends_it_and_whoever_was_not_answered_is_a_suspect() {
        let hello = FromWorker::Hello(crate::script::protocol::Confinement::default());
        let cases =
            [(vec![ran(2)], 2), (vec![ran(0)], 2), (vec![checked(1)], 2), (vec![hello], 2), (vec![ran(1), ran(1)], 1)];
        for (frames, left) in cases {
            let mut flights = flights();
            let (first, _first) = order(run(1));
            let (second, _second) = order(run(1));
            flights.ask(first);
            flights.ask(second);
            assert!(hear(&mut flights, &frames).is_err(), "{frames:?}");
            assert_eq!(flights.suspects().len(), left, "{frames:?}");
        }
        // Not even the beginning of a frame.
        let mut flights = flights();
        flights.read.push(0);
        assert!(flights.hear().unwrap_err().contains("nothing was asked"));
    }

    #[test]
    fn the_length_of_an_answer_is_bounded_by_what_was_asked() {
        for (work, most) in [(run(1), None), (check(), Some(bounds::CHECK_BYTES))] {
            let mut flights = flights();
            let most = most.unwrap_or_else(|| flights.bounds.frame_bytes(&work.frame));
            let (order, _answered) = order(work);
            flights.ask(order);
            flights.read.extend(u32::try_from(most).unwrap().to_le_bytes());
            assert_eq!(flights.hear(), Ok(()), "it may come yet");
            flights.read.clear();
            flights.read.extend(u32::try_from(most + 1).unwrap().to_le_bytes());
            assert!(flights.hear().unwrap_err().contains("can be an answer"));
        }
    }

    #[test]
    fn who_has_gone_is_not_asked_for_and_what_is_too_long_is_told() {
        let mut flights = flights();
        let (gone, answered) = order(run(1));
        drop(answered);
        flights.ask(gone);
        let (long, mut answered) = order(run(4_000_000));
        flights.ask(long);
        assert!(flights.is_empty() && flights.out.is_empty());
        match answered.try_recv() {
            Ok(Answer::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Unavailable),
            other => panic!("{other:?}"),
        }
        // One that goes after it was asked for is answered for, and nobody minds.
        let (order, answered) = order(run(1));
        flights.ask(order);
        drop(answered);
        assert_eq!(hear(&mut flights, &[ran(1)]), Ok(()));
    }

    #[tokio::test]
    async fn the_time_of_the_oldest_begins_when_it_becomes_the_oldest_and_is_given_anew_once() {
        let limit = Duration::from_secs(1);
        let pause = async || tokio::time::sleep(Duration::from_millis(10)).await;
        let mut flights = flights();
        let empty = flights.deadline(limit);
        pause().await;
        let (first, _first) = order(run(1));
        flights.ask(first);
        let of_first = flights.deadline(limit);
        pause().await;
        let (second, _second) = order(run(1));
        flights.ask(second);
        assert!(empty < of_first && flights.deadline(limit) == of_first);
        hear(&mut flights, &[ran(1)]).unwrap();
        let of_second = flights.deadline(limit);
        assert!(of_first < of_second);
        pause().await;
        assert!(flights.excuse());
        assert!(of_second < flights.deadline(limit));
        assert!(!flights.excuse());
        hear(&mut flights, &[ran(2)]).unwrap();
        assert!(flights.excuse());
    }

    #[test]
    fn a_buffer_that_had_to_grow_is_given_back() {
        for (capacity, kept) in [(KEPT_BYTES, KEPT_BYTES), (KEPT_BYTES + 1, 0)] {
            let mut buffer = Vec::with_capacity(capacity);
            give_back(&mut buffer);
            assert_eq!(buffer.capacity(), kept);
        }
    }
}
