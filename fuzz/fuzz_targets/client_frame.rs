//! Whatever a client sends: it is read or refused by name, a frame that was read survives being written, and a session
//! answers each and never panics. One line of the input is one frame.
#![no_main]

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use libfuzzer_sys::fuzz_target;
use parlor::config::session::SessionOptions;
use parlor::ids::{Seq, SessionId, UserId};
use parlor::protocol::frames::{ClientFrame, MAX_CLIENT_MESSAGE_ID_BYTES};
use parlor::protocol::session::{Effect, Now, Session, Who};

fuzz_target!(|text: &str| {
    let options = SessionOptions::default();
    let wall = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
    let mut now = Now { mono: Instant::now(), wall };
    let token_expires_at = wall + TimeDelta::seconds(900);
    let who = Who { user_id: UserId(1), session_id: SessionId::fresh(), token_expires_at };
    let (mut session, _) = Session::open(who, Some(Seq(3)), Seq(5), now, &options);
    for (frame, n) in text.lines().zip(0..) {
        match ClientFrame::read(frame) {
            Ok(read) => {
                let written = serde_json(&read);
                assert_eq!(ClientFrame::read(&written).as_ref(), Ok(&read), "{written}");
                if let ClientFrame::SendMessage { client_message_id: Some(id), .. } = &read {
                    assert!((1..=MAX_CLIENT_MESSAGE_ID_BYTES).contains(&id.len()));
                }
            }
            Err(error) => assert!(!error.code.is_empty() && !error.detail.is_empty()),
        }
        let effects = session.text(frame, now, &options);
        assert!(!effects.is_empty(), "no frame is met with silence");
        for effect in effects {
            if let Effect::Send(answer) = effect {
                assert!(answer.text().starts_with("{\"type\":"));
            }
        }
        session.pushed(Seq(n));
        now.mono += Duration::from_millis(10);
        session.tick(now, &options);
        assert!(session.next_tick(now, &options) > Duration::ZERO);
    }
});

fn serde_json(frame: &ClientFrame) -> String {
    serde_json::to_string(frame).unwrap()
}
