//! One websocket as a real client keeps it: reads all there is, writes what is due, flushes once, and comes back with
//! `?after=` when it breaks. It reports to the hub's book.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::{
    connect::{self, Socket},
    hub::{Hub, Order},
    wire::{ServerFrame, parse_body, parse_client_id},
};

/// How long a goodbye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Why a socket is no longer served.
#[derive(Debug)]
enum End {
    /// We were told to leave.
    Leave,
    /// We were told to drop it.
    Broken(Instant),
    /// The server asked us to come back, and the time that it gave is over.
    Asked,
    /// The server closed it or it failed. `final_` where coming back would be wrong.
    Lost { reason: String, final_: bool },
}

/// What is known of one socket, from connecting to its end.
#[derive(Debug, Default)]
struct Visit {
    is_welcome: bool,
    /// Everything up to here was missed and is on its way.
    catching_up_to: Option<u64>,
    /// The server's wish for when to come back.
    leave: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Where the inbox ended at `welcome` after a break: what comes behind it shows that we are served again.
    served_behind: Option<u64>,
    needs_flush: bool,
}

/// One connection of one account.
#[derive(Debug)]
pub(crate) struct Connection {
    hub: Rc<Hub>,
    index: usize,
    account: usize,
    /// The number of the address that it is at.
    place: usize,
    /// When the last socket broke; set while it is being replaced.
    broken_at: Option<Instant>,
    /// When the first attempt to replace it began.
    returning_since: Option<Instant>,
    visit: Visit,
}

impl Connection {
    /// The connection with mailbox and inbox `index`, as a user of `account`.
    pub(crate) fn new(hub: Rc<Hub>, index: usize, account: usize) -> Self {
        let place = hub.first_place(index);
        Self { hub, index, account, place, broken_at: None, returning_since: None, visit: Visit::default() }
    }

    /// Connects and serves until told to leave.
    pub(crate) async fn run(mut self) {
        loop {
            let mut socket = match connect::patiently(&self.hub, self.index, self.account, &mut self.place).await {
                Ok(socket) => socket,
                Err(error) => return self.hub.fail(error.context("a connection could not be made")),
            };
            let end = poll_fn(|context| self.poll(&mut socket, context)).await;
            let was_in_service = self.visit.is_welcome && self.visit.catching_up_to.is_none();
            if was_in_service {
                self.hub.in_service.update(|n| n - 1);
            }
            let visit = std::mem::take(&mut self.visit);
            match end {
                End::Leave => {
                    // A server that does not answer the goodbye has been told.
                    let _ = tokio::time::timeout(CLOSE_LIMIT, socket.close(None)).await;
                    return;
                }
                End::Broken(at) => self.broken_at = Some(at),
                End::Asked => {
                    self.broken_at = Some(Instant::now());
                    // The server is told, and not waited for: the next socket is what counts.
                    let goodbye = async move { tokio::time::timeout(CLOSE_LIMIT, socket.close(None)).await };
                    drop(tokio::task::spawn_local(goodbye));
                }
                End::Lost { reason, final_ } => {
                    self.lost(&reason);
                    if final_ {
                        return self.hub.fail(anyhow!("the server closed a connection for good: {reason}"));
                    }
                    // Closed before its time: then that is when to come back.
                    if let Some(leave) = visit.leave {
                        leave.await;
                    }
                }
            }
            self.place = self.hub.next_place(self.index, self.place);
            self.returning_since = Some(Instant::now());
        }
    }

    fn lost(&mut self, reason: &str) {
        self.broken_at = Some(Instant::now());
        let mut book = self.hub.book.borrow_mut();
        book.counters.disconnects += 1;
        book.complain(format!("disconnected: {reason}"));
    }

    /// One turn: all reads, all writes, one flush.
    fn poll(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<End> {
        let hub = Rc::clone(&self.hub);
        let Some(mailbox) = hub.mailboxes.get(self.index) else { return Poll::Ready(End::Leave) };
        mailbox.listen(context);
        while let Poll::Ready(next) = Pin::new(&mut *socket).poll_next(context) {
            match next {
                Some(Ok(Message::Text(text))) => match self.on_frame(socket, &text) {
                    Ok(()) => {}
                    Err(error) => return Poll::Ready(lost(&error)),
                },
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map_or(1005, |frame| u16::from(frame.code));
                    return Poll::Ready(End::Lost { reason: format!("close {code}"), final_: is_final(code) });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(lost(&error)),
                None => return Poll::Ready(End::Lost { reason: "end of stream".into(), final_: false }),
            }
        }
        if let Some(leave) = &mut self.visit.leave
            && leave.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(End::Asked);
        }
        match self.poll_write(socket, context) {
            Ok(Some(end)) => Poll::Ready(end),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(lost(&error)),
        }
    }

    fn poll_write(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Result<Option<End>, WsError> {
        let hub = Rc::clone(&self.hub);
        let Some(mailbox) = hub.mailboxes.get(self.index) else { return Ok(Some(End::Leave)) };
        while self.visit.is_welcome {
            match Pin::new(&mut *socket).poll_ready(context) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(None),
            }
            let frame = match mailbox.pop() {
                None => break,
                Some(Order::Leave) => return Ok(Some(End::Leave)),
                Some(Order::Break(at)) => return Ok(Some(End::Broken(at))),
                Some(Order::Frame(frame)) => Some(frame),
                Some(Order::Send(line, intended)) => {
                    hub.book.borrow_mut().send(line, intended.unwrap_or_else(Instant::now))
                }
            };
            if let Some(frame) = frame {
                self.feed(socket, frame)?;
            }
        }
        if self.visit.needs_flush
            && let Poll::Ready(flushed) = Pin::new(socket).poll_flush(context)
        {
            flushed?;
            self.visit.needs_flush = false;
        }
        Ok(None)
    }

    fn feed(&mut self, socket: &mut Socket, frame: String) -> Result<(), WsError> {
        self.visit.needs_flush = true;
        Pin::new(socket).start_send(Message::text(frame))
    }

    fn on_frame(&mut self, socket: &mut Socket, text: &str) -> Result<(), WsError> {
        let now = Instant::now();
        let Ok(frame) = ServerFrame::parse(text) else {
            let mut book = self.hub.book.borrow_mut();
            book.counters.errors += 1;
            book.complain("a frame that is not understood".into());
            return Ok(());
        };
        let number = || frame.client_message_id.as_deref().and_then(parse_client_id);
        match &*frame.kind {
            "message" => self.on_message(&frame, now),
            "accepted" => {
                if let Some((line, n)) = number() {
                    self.hub.book.borrow_mut().accepted(line, n, now);
                }
            }
            "rejected" => {
                self.complain("rejected", &frame);
                let slot = number().and_then(|(line, n)| self.hub.book.borrow_mut().rejected(line, n));
                if let Some(slot) = slot {
                    self.hub.fill_after_rejection(slot);
                }
            }
            "welcome" => return self.on_welcome(socket, frame.head_seq.unwrap_or(0), now),
            "reconnect" => {
                let after = Duration::from_millis(frame.after_ms.unwrap_or_default());
                self.visit.leave = Some(Box::pin(tokio::time::sleep(after)));
            }
            "error" => {
                self.hub.book.borrow_mut().counters.errors += 1;
                self.complain("error", &frame);
            }
            // Tokens are renewed by the clock; the rest does not touch what is measured.
            _ => {}
        }
        Ok(())
    }

    fn on_message(&mut self, frame: &ServerFrame<'_>, now: Instant) {
        let Some(seq) = frame.seq else { return self.complain("message without seq", frame) };
        let number = frame.message_body.as_deref().and_then(parse_body);
        let slot = self.hub.book.borrow_mut().message(self.index, seq, number, now);
        if let Some(slot) = slot {
            self.hub.fill(slot);
        }
        if self.visit.served_behind.is_some_and(|head| seq > head)
            && let Some(since) = self.returning_since
        {
            self.visit.served_behind = None;
            self.hub.returns.borrow_mut().to_served.record(since, now);
        }
        if self.visit.catching_up_to.is_some_and(|head| seq >= head) {
            self.caught_up(now);
        }
    }

    fn on_welcome(&mut self, socket: &mut Socket, head_seq: u64, now: Instant) -> Result<(), WsError> {
        self.visit.is_welcome = true;
        self.visit.catching_up_to = Some(head_seq);
        let (last_seq, again) = {
            let mut book = self.hub.book.borrow_mut();
            let last_seq = book.inbox(self.index).and_then(|inbox| {
                inbox.welcome(head_seq);
                inbox.last_seq()
            });
            // What was on its way when the socket broke: the same `clientMessageId`, so it changes nothing twice.
            (last_seq, self.broken_at.map(|_| book.unanswered_frames(self.index)).unwrap_or_default())
        };
        for frame in again {
            self.feed(socket, frame)?;
        }
        if let Some(broken_at) = self.broken_at {
            self.visit.served_behind = Some(head_seq);
            self.hub.returns.borrow_mut().to_welcome.record(broken_at, now);
        }
        if last_seq.is_none_or(|seq| seq >= head_seq) {
            self.caught_up(now);
        }
        Ok(())
    }

    fn caught_up(&mut self, now: Instant) {
        self.visit.catching_up_to = None;
        self.hub.in_service.update(|n| n + 1);
        if let Some(broken_at) = self.broken_at.take() {
            self.hub.returns.borrow_mut().to_caught_up.record(broken_at, now);
        }
    }

    fn complain(&self, what: &str, frame: &ServerFrame<'_>) {
        let (code, detail) = (frame.code.as_deref().unwrap_or("?"), frame.detail.as_deref().unwrap_or(""));
        self.hub.book.borrow_mut().complain(format!("{what}: {code} {detail}"));
    }
}

/// Close codes that say that coming back would be wrong.
fn is_final(code: u16) -> bool {
    matches!(code, 1002 | 1003 | 1009)
}

fn lost(error: &WsError) -> End {
    End::Lost { reason: error.to_string(), final_: false }
}
