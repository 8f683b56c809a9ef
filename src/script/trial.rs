//! Dry runs: the message to try a script on, and what it would have come to. Nothing is sent.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Direction, Failure, Input, Ran, Reply};
use super::effects::{EffectLimits, Effects, Verdict};
use crate::ids::{ConversationId, MessageUid, UserId};

/// Why a reply of an automatic message is not sent.
const AUTOMATIC: &str = "automatic_message";

/// A message to try a script on. Only its body is needed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// What is written.
    #[schema(example = "Hello, world!")]
    pub message_body: String,
    /// Who writes it. Without it: for `incoming` somebody who is not the script's user, for `outgoing` the user.
    pub sender_id: Option<UserId>,
    /// Whom the sender addresses. Without it: for `incoming` the script's user, for `outgoing` somebody else.
    pub recipient_ids: Option<Vec<UserId>>,
    /// Whether a script or an auto-reply made it.
    #[serde(default)]
    #[schema(required = false)]
    pub from_auto_reply: bool,
    /// Its conversation. Without it: that of the sender and the recipients.
    pub conversation_id: Option<ConversationId>,
    /// Whether nobody has written in its conversation before.
    #[serde(default)]
    #[schema(required = false)]
    pub first_contact: bool,
    /// When it is sent, RFC 3339; also the clock of the run. Without it: now.
    pub sent_at: Option<DateTime<Utc>>,
}

impl Sample {
    /// The message as the script of `owner` sees it.
    ///
    /// # Errors
    /// In words, which name the field.
    pub fn input(self, owner: UserId, direction: Direction, now: DateTime<Utc>) -> Result<Input, String> {
        let somebody = if owner == UserId(1) { UserId(2) } else { UserId(1) };
        let (sender, recipient) = match direction {
            Direction::Incoming => (somebody, owner),
            Direction::Outgoing => (owner, somebody),
        };
        let sender_id = self.sender_id.unwrap_or(sender);
        if direction == Direction::Outgoing && sender_id != owner {
            return Err(format!("senderId: is {sender_id}; of `outgoing` it is the script's own user, {owner}"));
        }
        let recipient_ids = self.recipient_ids.unwrap_or_else(|| vec![recipient]);
        if recipient_ids.is_empty() {
            return Err("recipientIds: is empty; leave it out, or name one at least".to_owned());
        }
        let all = || recipient_ids.iter().copied().chain([sender_id]);
        Ok(Input {
            own_id: owner,
            sender_id,
            conversation_id: self.conversation_id.unwrap_or_else(|| ConversationId::of(all())),
            message_body: self.message_body.into(),
            recipient_ids,
            from_auto_reply: self.from_auto_reply,
            first_contact: self.first_contact,
            sent_at: self.sent_at.unwrap_or(now).timestamp_millis(),
        })
    }
}

/// What a dry run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Which of one's own messages it was made on; null for a sample.
    pub message_uid: Option<MessageUid>,
    /// `forward`, `drop`, `edited` or `failed`.
    pub verdict: &'static str,
    /// The body that would go on instead, if it was edited.
    pub message_body: Option<String>,
    /// What would be sent, in order.
    pub replies: Vec<Reply>,
    /// What was wanted and would not be sent.
    pub unanswered: Vec<Reply>,
    /// Why not: `automatic_message`, those are never answered automatically.
    pub unanswered_reason: Option<&'static str>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What was printed.
    pub prints: Vec<String>,
    /// Whether more was printed than is kept.
    pub prints_cut: bool,
    /// Processor time, in microseconds.
    pub cpu_micros: u64,
    /// Wall time, in microseconds.
    pub wall_micros: u64,
    /// Heap, in bytes.
    pub heap_bytes: u64,
}

impl Tried {
    /// What `ran` on `input` would have come to.
    #[must_use]
    pub fn of(input: &Input, ran: Ran, limits: &EffectLimits, message_uid: Option<MessageUid>) -> Self {
        let effects = match ran.outcome {
            Ok(wanted) => Effects::of(input, wanted, limits),
            Err(failure) => Effects::failed(failure),
        };
        let verdict = effects.verdict.name();
        let (message_body, failure) = match effects.verdict {
            Verdict::Forward | Verdict::Drop => (None, None),
            Verdict::Edited(body) => (Some(body), None),
            Verdict::Failed(failure) => (None, Some(failure)),
        };
        Self {
            message_uid,
            verdict,
            message_body,
            unanswered_reason: (!effects.unanswered.is_empty()).then_some(AUTOMATIC),
            replies: effects.replies,
            unanswered: effects.unanswered,
            failure,
            prints: ran.prints.lines,
            prints_cut: ran.prints.cut,
            cpu_micros: ran.cpu_micros,
            wall_micros: ran.wall_micros,
            heap_bytes: ran.heap_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::call::{Prints, Wanted};

    fn sample(json: &str) -> Sample {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_body_is_enough_and_what_is_said_counts() {
        let now = DateTime::from_timestamp(5, 0).unwrap();
        for (owner, somebody) in [(1, 2), (7, 1)] {
            let (owner, somebody) = (UserId(owner), UserId(somebody));
            let input = sample(r#"{"messageBody": "hi"}"#).input(owner, Direction::Incoming, now).unwrap();
            assert_eq!((input.own_id, input.sender_id, &input.recipient_ids[..]), (owner, somebody, &[owner][..]));
            assert_eq!((input.sent_at, input.from_auto_reply, input.first_contact), (5000, false, false));
            assert_eq!(input.conversation_id, ConversationId::of([owner, somebody]));
            let input = sample(r#"{"messageBody": "hi"}"#).input(owner, Direction::Outgoing, now).unwrap();
            assert_eq!((input.sender_id, &input.recipient_ids[..]), (owner, &[somebody][..]));
        }
        let said = r#"{"messageBody": "hi", "senderId": 5, "recipientIds": [7, 8], "fromAutoReply": true,
            "firstContact": true, "sentAt": "2026-01-01T00:00:00Z"}"#;
        let input = sample(said).input(UserId(7), Direction::Incoming, now).unwrap();
        assert_eq!((input.sender_id, input.from_auto_reply, input.first_contact), (UserId(5), true, true));
        assert_eq!(input.sent_at, 1_767_225_600_000);
        assert!(sample(said).input(UserId(7), Direction::Outgoing, now).unwrap_err().starts_with("senderId: is 5"));
        let nobody = sample(r#"{"messageBody": "", "recipientIds": []}"#);
        assert!(nobody.input(UserId(7), Direction::Incoming, now).unwrap_err().starts_with("recipientIds"));
        assert!(serde_json::from_str::<Sample>(r#"{"messageBody": "x", "sender": 5}"#).is_err());
    }

    #[test]
    fn a_try_says_what_would_not_be_sent_and_why() {
        let limits = EffectLimits { message_bytes: 100, replies: 8, recipients: 4 };
        let tried = |from_auto_reply: bool, to: i64| {
            let sample = Sample { from_auto_reply, ..Sample::default() };
            let input = sample.input(UserId(7), Direction::Incoming, DateTime::UNIX_EPOCH).unwrap();
            let replies = vec![Reply { to: UserId(to), message_body: "yes".into() }];
            let prints = Prints { lines: vec!["p".into()], cut: true };
            let outcome = Ok(Wanted::Incoming { drop: true, replies });
            let ran = Ran { outcome, prints, cpu_micros: 1, wall_micros: 2, heap_bytes: 3 };
            Tried::of(&input, ran, &limits, None)
        };
        let fine = tried(false, 1);
        assert_eq!((fine.verdict, fine.replies.len(), fine.unanswered_reason), ("drop", 1, None));
        assert_eq!((fine.prints_cut, fine.cpu_micros, fine.wall_micros, fine.heap_bytes), (true, 1, 2, 3));
        let automatic = tried(true, 1);
        assert_eq!((automatic.replies.len(), automatic.unanswered.len()), (0, 1));
        assert_eq!(automatic.unanswered_reason, Some(AUTOMATIC));
        let stranger = tried(false, 99);
        assert_eq!((stranger.verdict, stranger.failure.unwrap().kind.name()), ("failed", "bad_result"));
    }
}
