//! What becomes of what a run wants: checked against the message and the limits, and then done all or not at all.

use super::call::{Failure, FailureKind, Input, Reply, Wanted};
use crate::ids::UserId;

/// The limits of what a run may want.
#[derive(Clone, Copy, Debug)]
pub struct EffectLimits {
    /// Bytes of one body, made or edited; and of all replies of a run together, so that no message becomes many times
    /// as large.
    pub message_bytes: usize,
    /// Replies.
    pub replies: usize,
    /// Different recipients of these.
    pub recipients: usize,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message goes on as it is.
    Forward,
    /// The owner does not get it.
    Drop,
    /// The message goes on with this body.
    Edited(String),
    /// Nothing came of the run; the message goes on as it is.
    Failed(Failure),
}

impl Verdict {
    /// The word for it, in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Drop => "drop",
            Self::Edited(_) => "edited",
            Self::Failed(_) => "failed",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects {
    /// With the message.
    pub verdict: Verdict,
    /// What is to be sent besides, in order.
    pub replies: Vec<Reply>,
    /// Replies that were wanted and are not sent, because the message was an automatic one: never answer those.
    pub unanswered: Vec<Reply>,
}

impl Effects {
    /// Nothing but the failure.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self { verdict: Verdict::Failed(failure), replies: Vec::new(), unanswered: Vec::new() }
    }

    /// What comes of a run on `input` that wants `wanted`.
    #[must_use]
    pub fn of(input: &Input, wanted: Wanted, limits: &EffectLimits) -> Self {
        match wanted {
            Wanted::Outgoing { message_body } => match too_long("messageBody", &message_body, limits) {
                Some(failure) => Self::failed(failure),
                None => {
                    let same = *message_body == *input.message_body;
                    let verdict = if same { Verdict::Forward } else { Verdict::Edited(message_body) };
                    Self { verdict, replies: Vec::new(), unanswered: Vec::new() }
                }
            },
            Wanted::Incoming { drop, replies } => match refuse(input, &replies, limits) {
                Some(failure) => Self::failed(failure),
                None => {
                    let verdict = if drop { Verdict::Drop } else { Verdict::Forward };
                    // RFC 3834, section 2: an automatic message is never answered automatically.
                    let (replies, unanswered) =
                        if input.from_auto_reply { (Vec::new(), replies) } else { (replies, Vec::new()) };
                    Self { verdict, replies, unanswered }
                }
            },
        }
    }
}

fn bad(detail: String) -> Failure {
    Failure::new(FailureKind::BadResult, detail)
}

fn too_long(path: &str, body: &str, limits: &EffectLimits) -> Option<Failure> {
    let (bytes, limit) = (body.len(), limits.message_bytes);
    (bytes > limit).then(|| bad(format!("{path}: has {bytes} bytes, at most {limit} are allowed")))
}

fn refuse(input: &Input, replies: &[Reply], limits: &EffectLimits) -> Option<Failure> {
    if replies.len() > limits.replies {
        return Some(bad(format!("reply: has {} entries, at most {} are allowed", replies.len(), limits.replies)));
    }
    let together = replies.iter().map(|reply| reply.message_body.len()).sum::<usize>();
    let most = limits.message_bytes;
    if replies.len() > 1 && together > most {
        return Some(bad(format!("reply: the messages have {together} bytes together, at most {most} are allowed")));
    }
    let mut recipients: Vec<UserId> = Vec::new();
    for (n, reply) in (1..).zip(replies) {
        if reply.to == input.own_id {
            return Some(bad(format!("reply[{n}].to: is {}, the script's own user", reply.to)));
        }
        if reply.to != input.sender_id && !input.recipient_ids.contains(&reply.to) {
            return Some(bad(format!("reply[{n}].to: {} takes no part in this conversation", reply.to)));
        }
        if !recipients.contains(&reply.to) {
            recipients.push(reply.to);
        }
        if recipients.len() > limits.recipients {
            let most = limits.recipients;
            return Some(bad(format!("reply[{n}].to: is one recipient too many, at most {most} are allowed")));
        }
        if let Some(failure) = too_long(&format!("reply[{n}].message"), &reply.message_body, limits) {
            return Some(failure);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConversationId;

    const LIMITS: EffectLimits = EffectLimits { message_bytes: 10, replies: 8, recipients: 4 };

    fn input(from_auto_reply: bool) -> Input {
        let recipient_ids: Vec<UserId> = (2..=9).map(UserId).collect();
        Input {
            message_body: "hello".into(),
            own_id: UserId(2),
            sender_id: UserId(1),
            conversation_id: ConversationId::of(recipient_ids.iter().copied()),
            recipient_ids,
            from_auto_reply,
            first_contact: false,
            sent_at: 0,
        }
    }

    fn replies(to: &[i64]) -> Vec<Reply> {
        to.iter().map(|to| Reply { to: UserId(*to), message_body: "y".into() }).collect()
    }

    fn incoming(to: &[i64]) -> Effects {
        Effects::of(&input(false), Wanted::Incoming { drop: false, replies: replies(to) }, &LIMITS)
    }

    fn reason(effects: Effects) -> String {
        match effects.verdict {
            Verdict::Failed(failure) => failure.detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn participants_may_be_answered_and_nobody_else() {
        assert_eq!(incoming(&[1, 3, 1]).replies.len(), 3);
        assert!(reason(incoming(&[1, 99])).starts_with("reply[2].to: 99"));
        assert!(reason(incoming(&[2])).contains("own user"));
    }

    #[test]
    fn replies_recipients_and_bodies_are_bounded_and_one_over_undoes_all() {
        assert_eq!(incoming(&[1, 3, 4, 5, 1, 3, 4, 5]).replies.len(), 8);
        assert!(reason(incoming(&[1; 9])).contains("at most 8"));
        assert!(reason(incoming(&[1, 3, 4, 5, 6])).starts_with("reply[5].to: is one recipient too many"));
        for (bytes, fine) in [(5, true), (6, false)] {
            let two = || vec![Reply { to: UserId(1), message_body: "x".repeat(bytes) }; 2];
            let effects = Effects::of(&input(false), Wanted::Incoming { drop: true, replies: two() }, &LIMITS);
            assert_eq!(effects.verdict == Verdict::Drop, fine, "together: {effects:?}");
        }
        for (bytes, fine) in [(10, true), (11, false)] {
            let long = vec![Reply { to: UserId(1), message_body: "x".repeat(bytes) }];
            let effects = Effects::of(&input(false), Wanted::Incoming { drop: true, replies: long }, &LIMITS);
            assert_eq!(effects.verdict == Verdict::Drop, fine);
            assert_eq!(effects.replies.len(), usize::from(fine));
            let edited = Effects::of(&input(false), Wanted::Outgoing { message_body: "x".repeat(bytes) }, &LIMITS);
            assert_eq!(matches!(edited.verdict, Verdict::Edited(_)), fine);
        }
    }

    #[test]
    fn an_automatic_message_may_be_dropped_and_is_never_answered() {
        let wanted = Wanted::Incoming { drop: true, replies: replies(&[1]) };
        let effects = Effects::of(&input(true), wanted, &LIMITS);
        assert_eq!(effects.verdict, Verdict::Drop);
        assert_eq!((effects.replies.len(), effects.unanswered.len()), (0, 1));
    }

    #[test]
    fn the_same_body_is_no_edit() {
        let same = Effects::of(&input(false), Wanted::Outgoing { message_body: "hello".into() }, &LIMITS);
        assert_eq!(same.verdict, Verdict::Forward);
    }
}
