//! Messages as lines.

use chrono::{DateTime, TimeZone, Utc};

use super::frames::Message;
use crate::client::sanitize;

/// A message of the current conversation, or with `elsewhere` the names of those of another.
pub(super) fn line(message: &Message, sender: &str, elsewhere: Option<&str>, time: &str) -> String {
    let place = elsewhere.map(|names| format!("[{names}] ")).unwrap_or_default();
    let maker = if message.from_auto_reply { " (automatic)" } else { "" };
    let space = if time.is_empty() { "" } else { " " };
    format!("{time}{space}{place}{sender}{maker}: {}", sanitize::body(&message.message_body))
}

/// The time of day of a message that has just come.
pub(super) fn time_of_day<Z: TimeZone<Offset: std::fmt::Display>>(sent_at: Option<DateTime<Utc>>, zone: &Z) -> String {
    sent_at.map(|at| at.with_timezone(zone).format("%H:%M").to_string()).unwrap_or_default()
}

/// The date and time of a message of the past.
pub(super) fn date<Z: TimeZone<Offset: std::fmt::Display>>(sent_at: Option<DateTime<Utc>>, zone: &Z) -> String {
    sent_at.map(|at| at.with_timezone(zone).format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConversationId, MessageUid, Seq, UserId};

    #[test]
    fn a_message_is_one_line_and_its_own_lines_are_indented() {
        let sent_at = DateTime::from_timestamp(1_700_000_000, 0);
        let mut message = Message {
            seq: Seq(1),
            message_uid: MessageUid::fresh(),
            conversation_id: ConversationId::of([]),
            sender_id: UserId(2),
            recipient_ids: vec![],
            message_body: "hi\nthere\x1b[2J".into(),
            from_auto_reply: false,
            sent_at,
        };
        let time = time_of_day(sent_at, &Utc);
        assert_eq!(line(&message, "bob", None, &time), "22:13 bob: hi\n    there\\u{1b}[2J");
        message.from_auto_reply = true;
        message.message_body = "away".into();
        assert_eq!(line(&message, "bob", Some("bob, carol"), ""), "[bob, carol] bob (automatic): away");
        assert_eq!(date(sent_at, &Utc), "2023-11-14 22:13");
    }
}
