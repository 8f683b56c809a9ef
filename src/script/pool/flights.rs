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
    answered: bool,
}

impl Flights {
    pub(super) fn new(lane: Lane, bounds: Bounds) -> Self {
        let (flying, out, read, progress) = (VecDeque::new(), Vec::new(), Vec::new(), Instant::now());
        Self { lane, bounds, flying, next_number: 1, out, read, progress, answered: false }
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
            self.progress = now;
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
        (self.progress, self.answered) = (now, true);
        if let Some(flight) = self.flying.pop_front() {
            // Whoever asked may have gone: then it is thrown away.
            let _ = flight.order.answer.send(reply);
        }
        Ok(())
    }

    /// The oldest is asked again, behind all others: so a worker answers in the order of what it reads.
    fn ask_with_source(&mut self, now: Instant) -> Result<(), String> {
        let Some(flight) = self.flying.pop_front() else { return Ok(()) };
        (self.progress, self.answered) = (now, true);
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
