//! The incoming half of a socket: frames one by one, and a gate that stops reading while the node is busy.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_http::error::PayloadError;
use actix_http::ws::ProtocolError;
use actix_web::web::Bytes;
use actix_ws::{AggregatedMessage, AggregatedMessageStream};
use bytestring::ByteString;
use futures_util::{Stream, StreamExt};

use crate::protocol::close::Close;

/// What came in.
#[derive(Debug)]
pub enum Inbound {
    /// A text frame, put together from its continuations.
    Text(ByteString),
    /// A protocol ping, to be answered.
    Ping(Bytes),
    /// A protocol pong.
    Pong,
    /// The socket is to be closed: the client's wish, or its fault.
    Close(Close),
}

/// Shut while the node cannot take more from this client: what it sends then waits in the socket, that is with it.
#[derive(Default)]
pub struct Gate {
    shut: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Gate {
    /// Stops reading.
    pub fn shut(&self) {
        self.shut.set(true);
    }

    /// Reads on.
    pub fn open(&self) {
        self.shut.set(false);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Whether reading is stopped.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.shut.get()
    }
}

/// The frames of a socket, behind a gate. Ends with the connection, or behind the first [`Inbound::Close`].
pub struct InboundStream {
    frames: AggregatedMessageStream,
    gate: Rc<Gate>,
    ended: bool,
}

impl InboundStream {
    /// The frames of this socket, none larger than `max_frame_bytes`.
    #[must_use]
    pub fn new(stream: actix_ws::MessageStream, max_frame_bytes: usize) -> Self {
        let frames =
            stream.max_frame_size(max_frame_bytes).aggregate_continuations().max_continuation_size(max_frame_bytes);
        Self { frames, gate: Rc::default(), ended: false }
    }

    /// The gate before it.
    #[must_use]
    pub fn gate(&self) -> Rc<Gate> {
        self.gate.clone()
    }
}

impl Stream for InboundStream {
    type Item = Inbound;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Inbound>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.gate.is_shut() {
            *self.gate.waiting.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        let inbound = match std::task::ready!(self.frames.poll_next_unpin(context)) {
            None => return Poll::Ready(None),
            Some(Ok(AggregatedMessage::Text(text))) => Inbound::Text(text),
            Some(Ok(AggregatedMessage::Ping(payload))) => Inbound::Ping(payload),
            Some(Ok(AggregatedMessage::Pong(_))) => Inbound::Pong,
            Some(Ok(AggregatedMessage::Binary(_))) => Inbound::Close(Close::Binary),
            Some(Ok(AggregatedMessage::Close(_))) => Inbound::Close(Close::Normal),
            Some(Err(error)) => match blame(&error) {
                Some(close) => Inbound::Close(close),
                None => return Poll::Ready(None),
            },
        };
        self.ended = matches!(inbound, Inbound::Close(_));
        Poll::Ready(Some(inbound))
    }
}

/// Which fault of the client's an error is; `None`: the connection is gone.
fn blame(error: &ProtocolError) -> Option<Close> {
    match error {
        ProtocolError::Overflow => Some(Close::TooBig),
        // A frame that announced more than it may have: see `FrameLimit`.
        ProtocolError::Io(error) if is_overflow(error) => Some(Close::TooBig),
        // actix-http 3 has no kind for reserved bits; it calls them invalid data, as it does text that is not UTF-8.
        ProtocolError::Io(error) if error.to_string().contains("reserved bits") => Some(Close::ProtocolError),
        ProtocolError::Io(error) if error.kind() == ErrorKind::InvalidData => Some(Close::NotUtf8),
        // actix-ws has no kind of its own for continuations that are too long together.
        ProtocolError::Io(error) if error.to_string().contains("continuation size") => Some(Close::TooBig),
        ProtocolError::Io(_) => None,
        _ => Some(Close::ProtocolError),
    }
}

fn is_overflow(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PayloadError>());
    matches!(inner, Some(PayloadError::Overflow))
}
