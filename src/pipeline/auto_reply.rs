//! The `auto-reply` stage: answers for recipients who have one switched on, as RFC 5230 and RFC 3834 have it for mail:
//! the sender only, never an automatic message, never oneself, once per sender and text within a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, UnitWeighter};

use super::made::MadeRoute;
use super::scripted::until_read;
use super::stages::{Outcome, Stage};
use crate::automation::log::{AutomationLog, Details, LogEntry, Source};
use crate::automation::{AutoReply, Automation, SwitchedOn};
use crate::clock::Clock;
use crate::envelope::{Answered, Envelope, TextHash};
use crate::ids::{MessageUid, UserId};
use crate::script::call::Reply;
use crate::store::Store;
use crate::store::auto_reply::Sent;

/// Answers remembered in memory, about 150 bytes each. They bridge the time until the message answered is in the
/// tables, so there must be room for those of all messages in flight; one forgotten sooner may be given once more.
const REMEMBERED: usize = 100_000;

/// What a decision is about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose auto-reply.
    pub owner: UserId,
    /// What it is.
    pub auto_reply: &'a AutoReply,
    /// Who wrote the message.
    pub sender: UserId,
    /// The message.
    pub message_uid: MessageUid,
    /// Whether a script or an auto-reply made it.
    pub automatic: bool,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// Bytes that an answer may have.
    pub max_message_bytes: usize,
    /// The last time that this sender was answered with this text.
    pub last: Option<Sent>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The sender is answered.
    Answer,
    /// Nobody is.
    NotAnswered(Reason),
}

/// Why nobody is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Automatic messages cause no others.
    Automatic,
    /// It is the owner's own message.
    OwnMessage,
    /// The text is longer than messages may be now.
    TextTooLong,
    /// The sender was answered so long before this message was sent; negative: for a later one.
    AnsweredBefore(TimeDelta),
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::OwnMessage => "own_message",
            Self::TextTooLong => "text_too_long",
            Self::AnsweredBefore(_) => "answered_before",
        }
    }

    /// The same in words.
    #[must_use]
    pub fn detail(self) -> String {
        match self {
            Self::Automatic => "automatic messages are not answered".to_owned(),
            Self::OwnMessage => "it is your own message".to_owned(),
            Self::TextTooLong => "the text is longer than messages may be".to_owned(),
            Self::AnsweredBefore(ago) => answered(ago),
        }
    }
}

fn answered(ago: TimeDelta) -> String {
    let (count, unit) = match ago.num_seconds() {
        seconds if seconds < 0 => return "a later message of theirs was answered".to_owned(),
        seconds @ 0..60 => (seconds, "second"),
        seconds @ 60..3600 => (seconds / 60, "minute"),
        seconds @ 3600..86_400 => (seconds / 3600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    format!("answered {count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// Whether a message is answered.
#[must_use]
pub fn decide(question: &Question<'_>) -> Decision {
    let Question { owner, auto_reply, sender, message_uid, automatic, sent_at, max_message_bytes, last } = *question;
    if automatic {
        return Decision::NotAnswered(Reason::Automatic);
    }
    if owner == sender {
        return Decision::NotAnswered(Reason::OwnMessage);
    }
    if auto_reply.text.len() > max_message_bytes {
        return Decision::NotAnswered(Reason::TextTooLong);
    }
    match last {
        // It comes again, after a crash or because its sender was not sure: so does the answer, under the same uid.
        Some(last) if last.cause_uid == message_uid => Decision::Answer,
        // Forwards and backwards: after a crash the one answered last may be behind this one, which was answered too.
        Some(last) if (sent_at - last.at).abs() < TimeDelta::seconds(auto_reply.repeat_after_seconds.into()) => {
            Decision::NotAnswered(Reason::AnsweredBefore(sent_at - last.at))
        }
        _ => Decision::Answer,
    }
}

/// What an answer is remembered by: whose, to whom, which text.
type Key = (UserId, UserId, TextHash);

/// The stage. All of one sender's messages pass it one after the other, so no two decisions about the same pair race.
pub struct AutoReplyStage {
    automation: Automation,
    log: AutomationLog,
    store: Store,
    clock: Clock,
    route: MadeRoute,
    max_message_bytes: usize,
    recent: Cache<Key, Sent>,
}

/// A recipient who has one switched on.
struct Owner {
    id: UserId,
    on: Arc<SwitchedOn>,
    text_hash: TextHash,
}

impl AutoReplyStage {
    /// The stage; answers take `route`, and the owners read in `log` what was answered and what was not.
    #[must_use]
    pub fn new(
        automation: Automation,
        log: AutomationLog,
        store: Store,
        clock: Clock,
        route: MadeRoute,
        max_message_bytes: usize,
    ) -> Self {
        // Almost all of it first in, first out: by default the newest would share 3 % of the room and go first.
        let options = OptionsBuilder::new()
            .estimated_items_capacity(REMEMBERED)
            .weight_capacity(REMEMBERED as u64)
            .hot_allocation(0.1)
            .build();
        let recent = match options {
            Ok(options) => {
                let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
                Cache::with_options(options, UnitWeighter, hasher, lifecycle)
            }
            Err(_) => Cache::new(REMEMBERED),
        };
        Self { automation, log, store, clock, route, max_message_bytes, recent }
    }

    /// Whether it is known that this user answers nobody.
    fn silent(&self, user: UserId) -> bool {
        let known = self.automation.remembered(user);
        known.is_some_and(|on| on.is_none_or(|on| on.auto_reply.is_none()))
    }

    async fn answer(&self, mut envelope: Envelope) -> Outcome {
        let owners = self.owners(&envelope).await;
        let last = self.last(&envelope, &owners).await;
        let now = self.clock.now();
        let (sender, sent_at) = (envelope.sender_id, envelope.sent_at.unwrap_or(now));
        let mut made = Vec::new();
        for Owner { id, on, text_hash } in owners {
            let Some(auto_reply) = &on.auto_reply else { continue };
            let key = (id, sender, text_hash);
            let question = Question {
                owner: id,
                auto_reply,
                sender,
                message_uid: envelope.message_uid,
                automatic: envelope.from_auto_reply,
                sent_at,
                max_message_bytes: self.max_message_bytes,
                last: last.get(&key).copied(),
            };
            let decision = decide(&question);
            if decision == Decision::Answer {
                made.push(self.route.auto_reply(&envelope, id, auto_reply.text.clone(), now));
                envelope.answered_by.push(Answered { user_id: id, text_hash });
                if question.last.is_none_or(|last| last.cause_uid != envelope.message_uid) {
                    self.recent.insert(key, Sent { cause_uid: envelope.message_uid, at: sent_at });
                }
            }
            self.note(&question, decision, now);
        }
        Outcome { pass: Some(envelope), made }
    }

    async fn owners(&self, envelope: &Envelope) -> Vec<Owner> {
        let mut ids = envelope.recipient_ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let on = until_read(|| self.automation.of(&ids)).await;
        let on = ids.iter().zip(on).filter_map(|(id, on)| Some((*id, on?)));
        on.filter_map(|(id, on)| {
            let text_hash = TextHash::of(&on.auto_reply.as_ref()?.text);
            Some(Owner { id, on, text_hash })
        })
        .collect()
    }

    /// When these owners last answered the sender: from memory, else from the tables.
    async fn last(&self, envelope: &Envelope, owners: &[Owner]) -> HashMap<Key, Sent> {
        let mut last = HashMap::new();
        if envelope.from_auto_reply {
            return last;
        }
        let sender = envelope.sender_id;
        let mut unknown = Vec::new();
        for owner in owners.iter().filter(|owner| owner.id != sender) {
            let key = (owner.id, sender, owner.text_hash);
            match self.recent.get(&key) {
                Some(sent) => drop(last.insert(key, sent)),
                None => unknown.push(owner.id),
            }
        }
        if !unknown.is_empty() {
            let read = until_read(|| self.store.auto_replies_sent(sender, &unknown)).await;
            for ((owner, text_hash), sent) in read {
                last.entry((owner, sender, text_hash)).or_insert(sent);
            }
        }
        last
    }

    fn note(&self, question: &Question<'_>, decision: Decision, now: DateTime<Utc>) {
        let mut details = Details::default();
        crate::metrics::auto_reply(match decision {
            Decision::Answer => "answered",
            Decision::NotAnswered(reason) => reason.code(),
        });
        let verdict = match decision {
            Decision::Answer => {
                let message_body = question.auto_reply.text.clone();
                details.replies.push(Reply { to: question.sender, message_body });
                "answered"
            }
            // Nobody expects an answer from themselves.
            Decision::NotAnswered(Reason::OwnMessage) => return,
            Decision::NotAnswered(reason) => {
                details.reason = Some(reason.code().to_owned());
                details.detail = Some(reason.detail());
                "not_answered"
            }
        };
        self.log.note(LogEntry {
            user_id: question.owner,
            source: Source::AutoReply,
            at: now,
            version: None,
            message_uid: Some(question.message_uid),
            verdict,
            details,
        });
    }
}

impl Stage for AutoReplyStage {
    fn apply(&self, envelope: Envelope, _: Instant) -> BoxFuture<'_, Outcome> {
        if envelope.recipient_ids.iter().all(|user| self.silent(*user)) {
            return ready(Outcome::pass(envelope)).boxed();
        }
        self.answer(envelope).boxed()
    }
}

#[cfg(test)]
mod tests;
