//! How a connection is lost and comes back.

use std::time::Duration;

use super::{Machine, Phase};
use crate::chat::backoff::{Return, policy};
use crate::chat::event::{Action, Failure, Moment};
use crate::chat::notice::Notice;

/// A connection that held this long was a good one: the next loss begins a new back-off.
pub(super) const HELD: Duration = Duration::from_secs(10);

impl Machine {
    pub(super) fn failed(&mut self, now: Moment, failure: Failure, for_token: bool) {
        match failure {
            Failure::Passing(why) => {
                let after = self.backoff.next();
                self.wait(now, after, why, for_token);
            }
            Failure::TooMuch(why) => {
                let after = self.backoff.next_long();
                self.wait(now, after, why, for_token);
            }
            Failure::Token => self.lost(now, Some(4401), reason(Some(4401))),
            Failure::Final(why) => self.stop(why),
        }
    }

    pub(super) fn lost(&mut self, now: Moment, code: Option<u16>, why: &str) {
        match self.phase {
            Phase::Live { since, .. } if since + HELD <= now => self.backoff.reset(),
            Phase::Live { .. } | Phase::Dialling | Phase::Opening { .. } => {}
            // Already dealt with.
            Phase::Idle | Phase::Renewing | Phase::Waiting { .. } | Phase::Stopped => return,
        }
        self.outbox.rewind();
        self.catch_up = None;
        match policy(code, self.asked.take()) {
            Return::Never => self.stop(format!("{why} (close code {})", code.unwrap_or_default())),
            Return::After(after) => self.wait(now, after, why.to_owned(), false),
            Return::LongBackOff => {
                let after = self.backoff.next_long();
                self.wait(now, after, why.to_owned(), false);
            }
            // A first time at once; but a server that says it again and again is not to be hammered.
            Return::Now if !self.backoff.is_growing() => {
                self.backoff.next();
                self.wait(now, Duration::ZERO, why.to_owned(), false);
            }
            Return::NewToken if !self.backoff.is_growing() => {
                self.backoff.next();
                self.renew();
            }
            retry @ (Return::Now | Return::NewToken | Return::BackOff) => {
                let after = self.backoff.next();
                self.wait(now, after, why.to_owned(), retry == Return::NewToken);
            }
        }
    }

    pub(super) fn token_renewed(&mut self) {
        match self.phase {
            Phase::Renewing => self.dial(),
            Phase::Live { .. } => self.actions.push(Action::OfferToken),
            // The next connection will use it.
            _ => {}
        }
    }

    pub(super) fn token_failed(&mut self, now: Moment, failure: Failure) {
        // A live connection goes on until the old token ends; its 4401 then tries again.
        if self.phase == Phase::Renewing {
            match failure {
                Failure::Token => self.stop("the server no longer takes this name and password".to_owned()),
                failure => self.failed(now, failure, true),
            }
        }
    }

    pub(super) fn tick(&mut self, now: Moment) {
        if self.outbox.became_slow(now) {
            self.actions.push(Action::Tell(Notice::Slow));
        }
        match self.phase {
            Phase::Waiting { until, for_token } if until <= now => {
                if for_token {
                    self.renew();
                } else {
                    self.dial();
                }
            }
            Phase::Opening { until } if until <= now => self.hang_up(now, "the server does not answer"),
            Phase::Live { heard, silence, .. } if heard + silence <= now => {
                self.hang_up(now, "nothing heard from the server");
            }
            _ => {}
        }
    }

    fn hang_up(&mut self, now: Moment, why: &str) {
        self.actions.push(Action::Disconnect);
        self.lost(now, None, why);
    }
}

/// What a close code means, in plain words.
pub(super) fn reason(code: Option<u16>) -> &'static str {
    match code {
        Some(1002 | 1003 | 1007 | 1010) => "the server did not understand this client",
        Some(1009) => "the message was too long for the server",
        Some(1012) => "the server restarts",
        Some(4401) => "the login has ended",
        Some(4408) => "the server heard nothing from here",
        Some(4429) => "too much was sent",
        Some(4508) => "the connection was too slow",
        _ => "the connection was lost",
    }
}
