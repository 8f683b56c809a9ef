//! The frames of `parlor.v1` as a client needs them: read without copying, written from prepared halves.

use std::{borrow::Cow, fmt::Write as _, ops::Deref};

use serde::Deserialize;

/// The shortest body that holds its line and number.
pub(crate) const MIN_BODY_BYTES: usize = 36;

/// One sender writing to one fixed set of recipients: the unit in which messages are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LineId(pub(crate) u32);

impl LineId {
    /// Its place in a list of all lines.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A string that is borrowed from the frame unless it has escapes. (serde copies a bare `Option<Cow<str>>`.)
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A frame from the server. One flat record for all types: absent fields cost nothing, unknown ones are skipped.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServerFrame<'a> {
    /// Which frame it is.
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Text<'a>,
    /// `message`: its place in the inbox.
    #[serde(default)]
    pub(crate) seq: Option<u64>,
    /// `welcome`: the last place in the inbox.
    #[serde(default)]
    pub(crate) head_seq: Option<u64>,
    /// `message`: what was said.
    #[serde(default, borrow)]
    pub(crate) message_body: Option<Text<'a>>,
    /// `accepted`, `rejected`: which message is meant.
    #[serde(default, borrow)]
    pub(crate) client_message_id: Option<Text<'a>>,
    /// `rejected`, `error`: why.
    #[serde(default, borrow)]
    pub(crate) code: Option<Text<'a>>,
    /// `rejected`, `error`: why, for people.
    #[serde(default, borrow)]
    pub(crate) detail: Option<Text<'a>>,
    /// `reconnect`: when to come back.
    #[serde(default)]
    pub(crate) after_ms: Option<u64>,
}

impl<'a> ServerFrame<'a> {
    /// Reads a text frame.
    pub(crate) fn parse(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

/// Writes the `sendMessage` frames of one line.
#[derive(Debug)]
pub(crate) struct MessageWriter {
    line: LineId,
    body_bytes: usize,
    recipients: Box<str>,
}

impl MessageWriter {
    /// For messages of `body_bytes` (at least [`MIN_BODY_BYTES`]) to `recipients`.
    pub(crate) fn new(line: LineId, body_bytes: usize, recipients: &[u64]) -> Self {
        let recipients = recipients.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        Self { line, body_bytes: body_bytes.max(MIN_BODY_BYTES), recipients: recipients.into() }
    }

    /// The frame with number `n`. Its `clientMessageId` is the same each time, so that sending again changes nothing.
    pub(crate) fn frame(&self, n: u64) -> String {
        let line = self.line.0;
        let mut frame = String::with_capacity(self.body_bytes + self.recipients.len() + 120);
        frame.push_str(r#"{"type":"sendMessage","messageBody":""#);
        let body_start = frame.len();
        // Writing to a String cannot fail.
        let _ = write!(frame, "bench {line} {n} ");
        let padding = self.body_bytes.saturating_sub(frame.len() - body_start);
        frame.extend(std::iter::repeat_n('.', padding));
        frame.push_str(r#"","recipientIds":["#);
        frame.push_str(&self.recipients);
        let _ = write!(frame, r#"],"clientMessageId":"{line}-{n}"}}"#);
        frame
    }
}

/// The line and number that a body of ours carries.
pub(crate) fn parse_body(body: &str) -> Option<(LineId, u64)> {
    let mut words = body.strip_prefix("bench ")?.split(' ');
    Some((LineId(words.next()?.parse().ok()?), words.next()?.parse().ok()?))
}

/// The line and number that a `clientMessageId` of ours carries.
pub(crate) fn parse_client_id(id: &str) -> Option<(LineId, u64)> {
    let (line, n) = id.split_once('-')?;
    Some((LineId(line.parse().ok()?), n.parse().ok()?))
}

/// The frame that carries a connection past its token's end.
pub(crate) fn refresh_token_frame(access_token: &str) -> String {
    serde_json::json!({"type": "refreshToken", "accessToken": access_token}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_frame_is_valid_and_carries_its_number_in_a_body_of_the_size_asked_for() {
        let frame = MessageWriter::new(LineId(3), 200, &[12, 8]).frame(17);
        let frame: serde_json::Value = serde_json::from_str(&frame).unwrap();
        let body = frame["messageBody"].as_str().unwrap();
        assert_eq!(body.len(), 200);
        assert_eq!(parse_body(body), Some((LineId(3), 17)));
        assert_eq!(frame["recipientIds"], serde_json::json!([12, 8]));
        assert_eq!(parse_client_id(frame["clientMessageId"].as_str().unwrap()), Some((LineId(3), 17)));
    }

    #[test]
    fn the_shortest_body_holds_the_largest_numbers() {
        let body = format!("bench {} {} ", u32::MAX, 10_u64.pow(15));
        assert!(body.len() <= MIN_BODY_BYTES);
    }

    #[test]
    fn a_message_frame_is_read_without_copying() {
        let text = r#"{"type":"message","seq":4,"messageUid":"u","conversationId":"c","senderId":1,
            "recipientIds":[2,3],"messageBody":"bench 0 9 ...","fromAutoReply":false,"sentAt":"t"}"#;
        let frame = ServerFrame::parse(text).unwrap();
        assert_eq!((&*frame.kind, frame.seq), ("message", Some(4)));
        assert!(matches!(frame.message_body, Some(Text(Cow::Borrowed(_)))));
    }

    #[test]
    fn escapes_and_unknown_frames_are_read_too() {
        let frame = ServerFrame::parse(r#"{"type":"rejected","clientMessageId":null,"detail":"a \"b\""}"#).unwrap();
        assert_eq!(frame.detail.as_deref(), Some("a \"b\""));
        assert!(ServerFrame::parse(r#"{"type":"novelty","x":{"y":[1]}}"#).is_ok());
        assert_eq!(parse_body("hello"), None);
        assert_eq!(parse_client_id("c0a630d2-8db3"), None);
    }
}
