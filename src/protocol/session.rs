//! A session as pure code: events in, effects out. The actor around it moves frames and does what is asked.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::close::Close;
use super::cursor::{Cursor, Verdict};
use super::frames::{ClientFrame, FrameError, MessageView, ServerFrame, at};
use crate::config::session::SessionOptions;
use crate::ids::{ConversationId, MessageUid, Seq, SessionId, UserId};

/// How long before the token's end the client is told.
const TOKEN_WARNING: Duration = Duration::from_secs(60);

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what lasts.
    pub mono: Instant,
    /// For what ends at a time of day: tokens.
    pub wall: DateTime<Utc>,
}

/// A message as a client wants it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What is written.
    pub message_body: String,
    /// To whom.
    pub recipient_ids: Vec<UserId>,
    /// The client's own name for it.
    pub client_message_id: Option<String>,
}

/// What the actor is to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send this frame.
    Send(ServerFrame),
    /// Send this frame of a page that was asked for: it never counts as too much for a slow reader.
    Replay(ServerFrame),
    /// Send a protocol ping.
    Ping,
    /// Have this message accepted, after those before it; then say [`Session::accepted`] or [`Session::rejected`].
    Submit(Draft),
    /// Note how far the user has read and tell everybody concerned.
    MarkRead(ConversationId, Seq),
    /// Tell them that the user is writing.
    Typing(Vec<UserId>),
    /// Check this token; then say [`Session::token_renewed`] or close.
    CheckToken(String),
    /// Read the inbox behind this place, when the outgoing queue is nearly empty.
    ReadInbox(Seq),
    /// Close the socket.
    Close(Close),
}

/// Whether and how a pushed message goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Send it now.
    Pass,
    /// Leave it.
    Skip,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Who {
    /// The user.
    pub user_id: UserId,
    /// This session.
    pub session_id: SessionId,
    /// When the access token ends.
    pub token_expires_at: DateTime<Utc>,
}

/// One session's protocol state.
#[derive(Debug)]
pub struct Session {
    who: Who,
    cursor: Cursor,
    heard: Instant,
    pinged: Instant,
    warned: bool,
    /// Frames that are no accepted messages may come in bursts, but not for ever.
    patience: f64,
    patience_at: Instant,
}

impl Session {
    /// A session that resumes behind `after`, or sees what is new from now on, and what to do first.
    #[must_use]
    pub fn open(who: Who, after: Option<Seq>, head: Seq, now: Now, options: &SessionOptions) -> (Self, Vec<Effect>) {
        let beyond = after.is_some_and(|after| after > head || after.0 < 0);
        let start = after.filter(|_| !beyond).unwrap_or(head);
        let mut effects = vec![Effect::Send(ServerFrame::Welcome {
            session_id: who.session_id,
            user_id: who.user_id,
            head_seq: head,
            ping_interval_seconds: options.ping_interval_seconds,
            max_message_bytes: options.max_message_bytes,
            token_expires_at: at(who.token_expires_at),
        })];
        if beyond {
            effects.push(Effect::Send(ServerFrame::Error {
                code: "after_beyond_head",
                detail: format!("`after` must be from 0 to headSeq, {head}; this session sees what is new from now on"),
            }));
        }
        let mut session = Self {
            who,
            cursor: Cursor::new(start, head),
            heard: now.mono,
            pinged: now.mono,
            warned: false,
            patience: f64::from(options.other_frames_burst),
            patience_at: now.mono,
        };
        effects.extend(session.read_on());
        (session, effects)
    }

    /// A text frame came.
    pub fn text(&mut self, text: &str, now: Now, options: &SessionOptions) -> Vec<Effect> {
        self.heard = now.mono;
        let frame = match ClientFrame::read(text) {
            Ok(frame) => frame,
            Err(error) => {
                let mut effects = vec![Effect::Send(refuse(error))];
                effects.extend(self.try_patience(now, options));
                return effects;
            }
        };
        let effect = match frame {
            ClientFrame::SendMessage { message_body, recipient_ids, client_message_id } => {
                return vec![Effect::Submit(Draft { message_body, recipient_ids, client_message_id })];
            }
            ClientFrame::MarkRead { conversation_id, seq } => Effect::MarkRead(conversation_id, seq),
            ClientFrame::Typing { recipient_ids } if recipient_ids.len() > options.max_recipients => {
                Effect::Send(ServerFrame::Error {
                    code: "too_many_recipients",
                    detail: format!("`recipientIds` may have at most {} ids", options.max_recipients),
                })
            }
            ClientFrame::Typing { recipient_ids } => Effect::Typing(recipient_ids),
            ClientFrame::RefreshToken { access_token } => Effect::CheckToken(access_token),
            ClientFrame::Ping => Effect::Send(ServerFrame::Pong),
        };
        // One over the limit is not acted upon any more.
        match self.try_patience(now, options) {
            Some(close) => vec![close],
            None => vec![effect],
        }
    }

    /// Anything else came: a ping, a pong.
    pub fn heard(&mut self, now: Now, options: &SessionOptions) -> Option<Effect> {
        self.heard = now.mono;
        self.try_patience(now, options)
    }

    /// Reading was held back by us: silence meanwhile is not the client's.
    pub fn held_back(&mut self, now: Now) {
        self.heard = now.mono;
    }

    /// A message that was submitted is durable.
    #[must_use]
    pub fn accepted(&self, client_message_id: Option<String>, message_uid: MessageUid) -> Effect {
        Effect::Send(ServerFrame::Accepted { client_message_id, message_uid })
    }

    /// A message that was submitted was not taken.
    pub fn rejected(
        &mut self,
        client_message_id: Option<String>,
        code: &'static str,
        detail: String,
        now: Now,
        options: &SessionOptions,
    ) -> Vec<Effect> {
        let mut effects = vec![Effect::Send(ServerFrame::Rejected { client_message_id, code, detail })];
        effects.extend(self.try_patience(now, options));
        effects
    }

    /// A message was pushed. [`Session::read_on`] must be asked when all that came together were.
    pub fn pushed(&mut self, seq: Seq) -> Pushed {
        match self.cursor.pushed(seq) {
            Verdict::Pass => Pushed::Pass,
            Verdict::Skip => Pushed::Skip,
        }
    }

    /// Something stands in the inbox at `head`.
    pub fn exists(&mut self, head: Seq) {
        self.cursor.exists(head);
    }

    /// The page that was asked for.
    pub fn page(&mut self, page: Vec<MessageView>) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(page.len() + 1);
        for message in page {
            if self.cursor.paged(message.seq) == Verdict::Pass {
                effects.push(Effect::Replay(ServerFrame::Message(message)));
            }
        }
        self.cursor.page_done();
        effects.extend(self.read_on());
        effects
    }

    /// The page that was asked for could not be read: asked again at the next turn of [`Session::read_on`].
    pub fn page_failed(&mut self) {
        self.cursor.page_done();
    }

    /// Asks for a page if something is missing and none is on its way.
    pub fn read_on(&mut self) -> Option<Effect> {
        self.cursor.wants_page().map(Effect::ReadInbox)
    }

    /// Whether what comes now is live, and not a replay that is paced by the reader.
    #[must_use]
    pub fn live(&self) -> bool {
        self.cursor.live()
    }

    /// The token that was to be checked is good.
    pub fn token_renewed(&mut self, expires_at: DateTime<Utc>) {
        self.who.token_expires_at = self.who.token_expires_at.max(expires_at);
        self.warned = false;
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, options: &SessionOptions) -> Vec<Effect> {
        let interval = options.ping_interval();
        if now.mono.saturating_duration_since(self.heard) >= 2 * interval + interval / 2 {
            return vec![Effect::Close(Close::Silent)];
        }
        if now.wall >= self.who.token_expires_at {
            return vec![Effect::Close(Close::Token)];
        }
        let mut effects = Vec::new();
        if now.mono.saturating_duration_since(self.pinged) >= interval {
            self.pinged = now.mono;
            effects.push(Effect::Ping);
        }
        if !self.warned && now.wall + TOKEN_WARNING >= self.who.token_expires_at {
            self.warned = true;
            let token_expires_at = at(self.who.token_expires_at);
            effects.push(Effect::Send(ServerFrame::TokenExpiring { token_expires_at }));
        }
        effects.extend(self.read_on());
        effects
    }

    /// When [`Session::tick`] has something to do next, seen from `now`.
    #[must_use]
    pub fn next_tick(&self, now: Now, options: &SessionOptions) -> Duration {
        let interval = options.ping_interval();
        let ping = (self.pinged + interval).saturating_duration_since(now.mono);
        let silent = (self.heard + 2 * interval + interval / 2).saturating_duration_since(now.mono);
        let left = (self.who.token_expires_at - now.wall).to_std().unwrap_or_default();
        let token = if self.warned { left } else { left.saturating_sub(TOKEN_WARNING) };
        // Never zero: a clock that stands still must not make a busy loop.
        ping.min(silent).min(token).max(Duration::from_millis(10))
    }

    /// Who is at the other end.
    #[must_use]
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The last message passed on.
    #[must_use]
    pub fn seen(&self) -> Seq {
        self.cursor.seen()
    }

    /// One more frame that is no accepted message: a token bucket.
    fn try_patience(&mut self, now: Now, options: &SessionOptions) -> Option<Effect> {
        let elapsed = now.mono.saturating_duration_since(self.patience_at).as_secs_f64();
        let refilled = self.patience + elapsed * f64::from(options.other_frames_per_second);
        self.patience = refilled.min(f64::from(options.other_frames_burst)) - 1.0;
        self.patience_at = now.mono;
        (self.patience < 0.0).then_some(Effect::Close(Close::TooMuch))
    }
}

fn refuse(error: FrameError) -> ServerFrame {
    match error.client_message_id {
        Some(id) => ServerFrame::Rejected { client_message_id: Some(id), code: error.code, detail: error.detail },
        None => ServerFrame::Error { code: error.code, detail: error.detail },
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    struct Desk {
        session: Session,
        now: Now,
        options: SessionOptions,
    }

    fn open(after: Option<i64>, head: i64) -> (Desk, Vec<Effect>) {
        let wall = DateTime::from_timestamp_millis(1_000_000).unwrap();
        let now = Now { mono: Instant::now(), wall };
        let who = Who {
            user_id: UserId(1),
            session_id: SessionId::fresh(),
            token_expires_at: wall + TimeDelta::seconds(900),
        };
        let options = SessionOptions::default();
        let (session, effects) = Session::open(who, after.map(Seq), Seq(head), now, &options);
        (Desk { session, now, options }, effects)
    }

    impl Desk {
        fn pass(&mut self, seconds: u64) -> Vec<Effect> {
            self.now.mono += Duration::from_secs(seconds);
            self.now.wall += TimeDelta::seconds(seconds as i64);
            self.session.tick(self.now, &self.options)
        }
        fn text(&mut self, text: &str) -> Vec<Effect> {
            self.session.text(text, self.now, &self.options)
        }
    }

    #[test]
    fn resumes_by_reading_what_was_missed_and_starts_anew_without_after() {
        let (_, effects) = open(Some(3), 5);
        assert!(matches!(effects[..], [Effect::Send(ServerFrame::Welcome { .. }), Effect::ReadInbox(Seq(3))]));
        let (desk, effects) = open(None, 5);
        assert_eq!(effects.len(), 1);
        assert!(desk.session.live());
    }

    #[test]
    fn an_after_beyond_the_head_is_told() {
        for (after, told) in [(5, false), (6, true), (-1, true), (0, false)] {
            let (_, effects) = open(Some(after), 5);
            let error = effects.iter().any(|e| matches!(e, Effect::Send(ServerFrame::Error { .. })));
            assert_eq!(error, told, "{after}");
        }
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_closed_but_a_heard_one_lives() {
        let (mut desk, _) = open(None, 0);
        let interval = desk.options.ping_interval_seconds;
        assert!(matches!(desk.pass(interval)[..], [Effect::Ping]));
        assert!(desk.session.heard(desk.now, &desk.options).is_none());
        assert!(matches!(desk.pass(interval)[..], [Effect::Ping]));
        assert!(matches!(desk.pass(interval)[..], [Effect::Ping]));
        assert!(matches!(desk.pass(interval)[..], [Effect::Close(Close::Silent)]));
    }

    #[test]
    fn a_token_is_warned_of_once_renewed_or_ends_the_session() {
        let (mut desk, _) = open(None, 0);
        desk.options.ping_interval_seconds = 10_000;
        assert!(desk.pass(839).is_empty());
        assert!(matches!(desk.pass(1)[..], [Effect::Send(ServerFrame::TokenExpiring { .. })]));
        assert!(desk.pass(30).is_empty());
        desk.session.token_renewed(desk.now.wall + TimeDelta::seconds(100));
        assert!(desk.pass(30).is_empty());
        assert!(matches!(desk.pass(10)[..], [Effect::Send(ServerFrame::TokenExpiring { .. })]));
        assert!(matches!(desk.pass(60)[..], [Effect::Close(Close::Token)]));
    }

    #[test]
    fn nonsense_is_answered_until_patience_ends() {
        let (mut desk, _) = open(None, 0);
        for _ in 0..desk.options.other_frames_burst {
            assert!(matches!(desk.text("?")[..], [Effect::Send(ServerFrame::Error { .. })]));
        }
        assert!(matches!(desk.text("?")[..], [Effect::Send(_), Effect::Close(Close::TooMuch)]));
        desk.now.mono += Duration::from_secs(1000);
        assert!(matches!(desk.text(r#"{"type":"ping"}"#)[..], [Effect::Send(ServerFrame::Pong)]));
    }

    #[test]
    fn a_frame_that_names_a_message_is_rejected_by_that_name() {
        let (mut desk, _) = open(None, 0);
        let effects = desk.text(r#"{"type":"sendMessage","clientMessageId":"7","messageBody":"x"}"#);
        assert!(
            matches!(&effects[..], [Effect::Send(ServerFrame::Rejected { client_message_id: Some(id), .. })] if id == "7")
        );
    }

    #[test]
    fn typing_to_too_many_is_refused_at_the_bound() {
        let (mut desk, _) = open(None, 0);
        for (n, fine) in [(desk.options.max_recipients, true), (desk.options.max_recipients + 1, false)] {
            let ids = vec!["1"; n].join(",");
            let effects = desk.text(&format!(r#"{{"type":"typing","recipientIds":[{ids}]}}"#));
            assert_eq!(matches!(effects[..], [Effect::Typing(_)]), fine, "{n}");
        }
    }

    #[test]
    fn a_gap_is_read_from_the_store_before_anything_later_goes_out() {
        let (mut desk, _) = open(None, 5);
        assert_eq!(desk.session.pushed(Seq(6)), Pushed::Pass);
        assert_eq!(desk.session.pushed(Seq(8)), Pushed::Skip);
        assert!(matches!(desk.session.read_on(), Some(Effect::ReadInbox(Seq(6)))));
        assert_eq!(desk.session.pushed(Seq(7)), Pushed::Skip, "the page brings it");
        assert!(desk.session.read_on().is_none(), "one page at a time");
    }
}
