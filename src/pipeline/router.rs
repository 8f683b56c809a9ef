//! The `router` stage as a function: from an envelope to the inboxes that it belongs into.

use chrono::{DateTime, Utc};

use crate::envelope::Envelope;
use crate::ids::ConversationId;
use crate::store::inbox::Placement;

/// Where the message is written: the inbox of every remaining recipient, and the sender's own; beside the inboxes of
/// those whose scripts dropped it. `now` stands in for a
/// `sentAt` that a foreign stage forgot.
#[must_use]
pub fn place(envelope: Envelope, now: DateTime<Utc>) -> Placement {
    let participants = envelope.participants();
    let mut owners = envelope.recipient_ids;
    owners.push(envelope.sender_id);
    owners.sort_unstable();
    owners.dedup();
    let mut filtered = envelope.filtered_ids;
    filtered.sort_unstable();
    filtered.dedup();
    filtered.retain(|user| owners.binary_search(user).is_err());
    Placement {
        message_uid: envelope.message_uid,
        conversation_id: ConversationId::of(participants.iter().copied()),
        participants,
        sender_id: envelope.sender_id,
        owners,
        filtered,
        answered: envelope.answered_by,
        message_body: envelope.message_body,
        from_auto_reply: envelope.from_auto_reply,
        sent_at: envelope.sent_at.unwrap_or(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::pipeline::bus::Topic;

    fn envelope(sender: i64, recipients: &[i64], participants: Option<&[i64]>) -> Envelope {
        let optional = participants.map(|ids| format!(r#","participantIds":{ids:?}"#)).unwrap_or_default();
        let text = format!(
            r#"{{"messageUid":"c0a630d2-8db3-4a03-9e19-7141582f37aa","sessionId":"cf2bd7ca-ba13-40d9-8fb7-bab2064028d4",
            "messageBody":"x","senderId":{sender},"recipientIds":{recipients:?},"fromAutoReply":false,
            "eventDestinations":["r"]{optional}}}"#
        );
        Envelope::read(text.as_bytes(), &Topic::from("r")).unwrap()
    }

    #[test]
    fn recipients_and_the_sender_each_get_it_once() {
        let placement = place(envelope(1, &[3, 2, 3, 1], None), DateTime::UNIX_EPOCH);
        assert_eq!(placement.owners, [UserId(1), UserId(2), UserId(3)]);
        assert_eq!(placement.sent_at, DateTime::UNIX_EPOCH);
    }

    #[test]
    fn a_recipient_taken_off_does_not_split_the_conversation() {
        let whole = place(envelope(1, &[2, 3], None), DateTime::UNIX_EPOCH);
        let dropped = place(envelope(1, &[2], Some(&[2, 3])), DateTime::UNIX_EPOCH);
        assert_eq!(dropped.conversation_id, whole.conversation_id);
        assert_eq!(dropped.owners, [UserId(1), UserId(2)]);
        let all_dropped = place(envelope(1, &[], Some(&[2, 3])), DateTime::UNIX_EPOCH);
        assert_eq!(all_dropped.owners, [UserId(1)], "the sender is not told");
    }

    #[test]
    fn who_dropped_it_gets_it_beside_the_inbox_unless_it_has_a_place_there() {
        let mut envelope = envelope(1, &[2], None);
        envelope.filtered_ids = [4, 3, 4, 2, 1].map(UserId).into();
        let whole = ConversationId::of([1, 2, 3, 4].map(UserId));
        let placement = place(envelope, DateTime::UNIX_EPOCH);
        assert_eq!(placement.filtered, [UserId(3), UserId(4)]);
        assert_eq!(placement.conversation_id, whole, "also when a foreign stage forgot the participants");
    }
}
