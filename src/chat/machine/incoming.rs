//! What the server says, frame by frame.

use std::time::Duration;

use super::{CatchUp, Machine, Phase};
use crate::chat::cursor::Step;
use crate::chat::event::{Action, Moment};
use crate::chat::frames::{Message, ServerFrame};
use crate::chat::notice::Notice;
use crate::ids::Seq;

impl Machine {
    pub(super) fn frame(&mut self, now: Moment, frame: ServerFrame) {
        let detail = |code: String, detail: Option<String>| detail.unwrap_or(code);
        match frame {
            ServerFrame::Welcome { head_seq, ping_interval_seconds, max_message_bytes } => {
                self.longest = max_message_bytes;
                let silence = Duration::from_secs(ping_interval_seconds.max(1)).saturating_mul(2);
                self.welcome(now, head_seq, silence);
            }
            ServerFrame::Accepted { client_message_id } => self.accepted(client_message_id),
            ServerFrame::Rejected { client_message_id, code, detail: more } => {
                let reason = detail(code, more);
                match client_message_id.and_then(|id| self.outbox.settle(&id)) {
                    Some(unsent) => self.refuse(unsent.body, reason),
                    None => self.actions.push(Action::Tell(Notice::Error(reason))),
                }
                self.flush();
            }
            ServerFrame::Message(message) => self.message(now, message),
            ServerFrame::Presence { user_id, online } => self.actions.push(Action::Presence(user_id, online)),
            ServerFrame::ScriptFailed { direction, version, reason } => {
                self.actions.push(Action::Tell(Notice::ScriptFailed { direction, version, reason }));
            }
            ServerFrame::TokenExpiring => self.actions.push(Action::RenewToken),
            ServerFrame::Reconnect { after_ms } => self.asked = Some(Duration::from_millis(after_ms)),
            ServerFrame::Error { code, detail: more } => {
                self.actions.push(Action::Tell(Notice::Error(detail(code, more))));
            }
            ServerFrame::Other => {}
        }
    }

    fn welcome(&mut self, now: Moment, head: Seq, silence: Duration) {
        self.phase = Phase::Live { since: now, heard: now, silence };
        self.asked = None;
        let first = !std::mem::replace(&mut self.has_joined, true);
        let coming = self.cursor.welcome(head);
        self.actions.push(Action::Joined { first });
        if first {
            self.actions.push(Action::Tell(Notice::Connected));
        } else if coming == 0 {
            self.back(0);
        } else {
            // Said when they have been shown: only then is known how many are others'.
            self.catch_up = Some(CatchUp { head, missed: 0 });
        }
        self.refuse_too_long();
        self.flush();
    }

    fn back(&mut self, missed: usize) {
        self.actions.push(Action::Tell(Notice::Back { missed }));
        if self.outbox.len() > 0 {
            self.actions.push(Action::Tell(Notice::Unsent(self.outbox.bodies())));
        }
    }

    fn accepted(&mut self, id: Option<String>) {
        if let Some(unsent) = id.and_then(|id| self.outbox.settle(&id)) {
            self.actions.push(Action::Tell(Notice::Accepted(unsent.told.then_some(unsent.body))));
        }
        self.flush();
    }

    fn message(&mut self, now: Moment, message: Message) {
        match self.cursor.take(message.seq) {
            Step::Skip => return,
            Step::Resume => {
                self.actions.push(Action::Disconnect);
                self.lost(now, Some(4508), "a message is missing");
                return;
            }
            Step::ShowAfterGap(missing) => self.actions.push(Action::Tell(Notice::Gap(missing))),
            Step::Show => {}
        }
        let seq = message.seq;
        if let Some(catch_up) = &mut self.catch_up
            && message.sender_id != self.user
        {
            catch_up.missed += 1;
        }
        // What was written here is on the screen already, unless a script has changed it on its way.
        let echo = self.echoes.iter().position(|(uid, _)| *uid == message.message_uid);
        let written = echo.and_then(|place| self.echoes.remove(place));
        if written.is_none_or(|(_, body)| body != message.message_body) {
            self.actions.push(Action::Deliver(Box::new(message)));
        }
        if let Some(CatchUp { missed, .. }) = self.catch_up.take_if(|catch_up| catch_up.head <= seq) {
            self.back(missed);
        }
    }
}
