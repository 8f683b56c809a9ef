//! The outgoing half of a socket: a queue with a bound in bytes, emptied by the connection itself.
//!
//! The body of the upgrade response *is* the queue: the connection takes frames when it can write them, so nothing
//! stands between the bound and the kernel. (The channel of `actix_ws::Session` holds 32 frames of any size beside
//! whatever queue one puts before it, tells nobody when a frame left it, and costs 2 KiB a session.)

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_http::ws::{Codec, Message};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::{Bytes, BytesMut};
use bytestring::ByteString;
use tokio_util::codec::Encoder;

use super::busy::Busy;
pub use crate::clock::monotonic;
use crate::protocol::close::Close;

/// What the connection is given at once: larger frames go alone.
const CHUNK_BYTES: usize = 32 * 1024;

/// A frame that waits to be written.
#[derive(Clone, Debug)]
enum Frame {
    /// With when it was sent, if it is a message that was pushed.
    Text(ByteString, Option<Instant>),
    Ping,
    Pong(Bytes),
    Close(Close),
}

impl Frame {
    fn cost(&self) -> usize {
        match self {
            Self::Text(text, _) => text.len() + 16,
            Self::Ping | Self::Close(_) => 16,
            Self::Pong(bytes) => bytes.len() + 16,
        }
    }
}

/// The queue was over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    closing: bool,
    gone: bool,
    taken_at: Option<Instant>,
    connection: Option<Waker>,
    /// Woken when the queue has run low: the actor's replay goes on.
    low: Option<Waker>,
}

/// The writing end: the session's.
#[derive(Clone)]
pub struct Outbox(Rc<RefCell<Queue>>);

/// The reading end: the connection's.
pub struct OutboxBody {
    queue: Rc<RefCell<Queue>>,
    codec: Codec,
    /// The body that it stands in for; the message stream ends when that is dropped.
    _replaced: BoxBody,
    _busy: Busy,
}

impl Outbox {
    /// A queue and the body that empties it, in place of `replaced`. The connection counts as `busy` while it lasts.
    #[must_use]
    pub fn new(replaced: BoxBody, busy: Busy) -> (Self, OutboxBody) {
        let queue = Rc::new(RefCell::new(Queue::default()));
        (Self(queue.clone()), OutboxBody { queue, codec: Codec::new(), _replaced: replaced, _busy: busy })
    }

    /// Puts a text frame in line, unless something waits and it would not fit into `bound` bytes.
    ///
    /// # Errors
    /// [`Overflow`]: the client reads too slowly.
    pub fn text(&self, text: ByteString, bound: usize, now: Instant) -> Result<(), Overflow> {
        self.0.borrow_mut().push_text(text, None, bound, now)
    }

    /// The same for a message that was sent so long ago: how long it took is measured when the connection takes it.
    ///
    /// # Errors
    /// [`Overflow`]: the client reads too slowly.
    pub fn message(&self, text: ByteString, age: Duration, bound: usize, now: Instant) -> Result<(), Overflow> {
        let sent = now.checked_sub(age).unwrap_or(now);
        self.0.borrow_mut().push_text(text, Some(sent), bound, now)
    }

    /// Puts a protocol ping in line.
    pub fn ping(&self, now: Instant) {
        self.0.borrow_mut().push(Frame::Ping, now);
    }

    /// Answers a protocol ping.
    pub fn pong(&self, payload: Bytes, now: Instant) {
        self.0.borrow_mut().push(Frame::Pong(payload), now);
    }

    /// Closes the socket behind what is in line; with `at_once`, what is in line is thrown away (the client resumes
    /// by seq). Only the first close counts.
    pub fn close(&self, close: Close, at_once: bool, now: Instant) {
        let mut queue = self.0.borrow_mut();
        if queue.closing {
            return;
        }
        if at_once {
            queue.frames.clear();
            queue.bytes = 0;
        }
        queue.push(Frame::Close(close), now);
        queue.closing = true;
    }

    /// Bytes in line.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.borrow().bytes
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().frames.is_empty()
    }

    /// How long the connection has taken nothing although something waits.
    #[must_use]
    pub fn stalled_for(&self, now: Instant) -> Duration {
        let queue = self.0.borrow();
        match queue.taken_at {
            Some(at) if !queue.frames.is_empty() => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }

    /// Resolves when less than `bytes` wait, or the connection is gone.
    pub async fn below(&self, bytes: usize) {
        std::future::poll_fn(|context| {
            let mut queue = self.0.borrow_mut();
            if queue.bytes < bytes || queue.gone {
                return Poll::Ready(());
            }
            queue.low = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Queue {
    fn push_text(
        &mut self,
        text: ByteString,
        sent: Option<Instant>,
        bound: usize,
        now: Instant,
    ) -> Result<(), Overflow> {
        if !self.frames.is_empty() && self.bytes + text.len() > bound {
            return Err(Overflow);
        }
        self.push(Frame::Text(text, sent), now);
        Ok(())
    }

    fn push(&mut self, frame: Frame, now: Instant) {
        if self.closing || self.gone {
            return;
        }
        if self.frames.is_empty() {
            self.taken_at = Some(now);
        }
        self.bytes += frame.cost();
        self.frames.push_back(frame);
        if let Some(waker) = self.connection.take() {
            waker.wake();
        }
    }
}

impl MessageBody for OutboxBody {
    type Error = actix_web::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let mut queue = this.queue.borrow_mut();
        if queue.frames.is_empty() {
            if queue.closing {
                return Poll::Ready(None);
            }
            queue.connection = Some(context.waker().clone());
            return Poll::Pending;
        }
        let now = monotonic();
        let mut chunk = BytesMut::with_capacity(queue.bytes.min(CHUNK_BYTES) + 64);
        while chunk.len() < CHUNK_BYTES {
            let Some(frame) = queue.frames.pop_front() else { break };
            queue.bytes -= frame.cost();
            let message = match frame {
                Frame::Text(text, sent) => {
                    if let Some(sent) = sent {
                        crate::metrics::end_to_end().record(now.saturating_duration_since(sent).as_secs_f64());
                    }
                    Message::Text(text)
                }
                Frame::Ping => Message::Ping(Bytes::new()),
                Frame::Pong(payload) => Message::Pong(payload),
                Frame::Close(close) => Message::Close(Some(actix_http::ws::CloseReason {
                    code: close.code().into(),
                    description: Some(close.reason().to_owned()),
                })),
            };
            this.codec.encode(message, &mut chunk)?;
        }
        if queue.frames.is_empty() {
            // What an occasional burst needed is not kept by ten thousand idle sockets.
            queue.frames = VecDeque::new();
        }
        queue.taken_at = Some(now);
        if let Some(waker) = queue.low.take() {
            waker.wake();
        }
        Poll::Ready(Some(Ok(chunk.freeze())))
    }
}

impl Drop for OutboxBody {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.gone = true;
        queue.frames = VecDeque::new();
        queue.bytes = 0;
        if let Some(waker) = queue.low.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_fn;
    use futures_util::task::noop_waker;

    use super::*;
    use crate::actors::busy::BusyCount;

    fn pair() -> (Outbox, OutboxBody) {
        Outbox::new(BoxBody::new(()), BusyCount::default().enter())
    }

    fn poll(body: &mut OutboxBody) -> Poll<Option<Result<Bytes, actix_web::Error>>> {
        Pin::new(body).poll_next(&mut Context::from_waker(&noop_waker()))
    }

    #[test]
    fn the_bound_holds_on_both_sides_but_a_single_large_frame_passes() {
        let (outbox, mut body) = pair();
        let now = monotonic();
        outbox.text("x".repeat(5_000).into(), 100, now).unwrap();
        assert_eq!(outbox.text("y".into(), 100, now), Err(Overflow));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        assert!(outbox.is_empty());
        outbox.text("x".repeat(50).into(), 100, now).unwrap();
        assert_eq!(outbox.text("y".repeat(35).into(), 100, now), Err(Overflow));
        assert_eq!(outbox.text("y".repeat(34).into(), 100, now), Ok(()));
    }

    #[test]
    fn a_close_is_the_last_frame_and_ends_the_body() {
        let (outbox, mut body) = pair();
        let now = monotonic();
        outbox.text("lost".into(), 100, now).unwrap();
        outbox.close(Close::SlowReader, true, now);
        outbox.text("late".into(), 100, now).unwrap_or(());
        let Poll::Ready(Some(Ok(bytes))) = poll(&mut body) else { panic!("no frame") };
        assert_eq!(&bytes[..4], [0x88, bytes[1], 0x11, 0x9c], "one close frame, 4508");
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }

    #[actix::test]
    async fn a_replay_waits_until_the_queue_is_low() {
        let (outbox, mut body) = pair();
        outbox.text("x".repeat(500).into(), 1000, monotonic()).unwrap();
        let waiting = outbox.clone();
        let low = actix::spawn(async move { waiting.below(10).await });
        poll_fn(|context| Pin::new(&mut body).poll_next(context)).await.unwrap().unwrap();
        low.await.unwrap();
    }
}
