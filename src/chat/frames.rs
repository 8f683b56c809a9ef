//! The frames of `parlor.v1` as this client reads and writes them. Fields that it has no use for are left out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, MessageUid, Seq, UserId};

/// What the client says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ClientFrame {
    /// A message; the id makes sending it again harmless.
    SendMessage { message_body: String, recipient_ids: Vec<UserId>, client_message_id: String },
    /// Everything in the conversation up to `seq` has been on the screen.
    MarkRead { conversation_id: ConversationId, seq: Seq },
    /// The connection lives on under this token.
    RefreshToken { access_token: String },
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ServerFrame {
    /// The first frame of a connection.
    Welcome { head_seq: Seq, ping_interval_seconds: u64, max_message_bytes: usize },
    /// The message will reach its recipients, whatever happens.
    Accepted { client_message_id: Option<String> },
    /// The message was not taken and will not be.
    Rejected { client_message_id: Option<String>, code: String, detail: Option<String> },
    /// A message of anybody's, the user's own included.
    Message(Message),
    /// Somebody came or went.
    Presence { user_id: UserId, online: bool },
    /// A script of the user's own failed.
    ScriptFailed { direction: String, version: Option<i64>, reason: String },
    /// The access token ends soon.
    TokenExpiring,
    /// The server is about to close and says when to come back.
    Reconnect { after_ms: u64 },
    /// A frame of ours was not understood.
    Error { code: String, detail: Option<String> },
    /// A frame of a kind that this client does not know or need.
    #[serde(other)]
    Other,
}

/// A message as frames and lists have it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    /// Its place in the user's inbox.
    pub(super) seq: Seq,
    /// The same on every copy and retry.
    pub(super) message_uid: MessageUid,
    /// Where it belongs.
    pub(super) conversation_id: ConversationId,
    /// Who sent it.
    pub(super) sender_id: UserId,
    /// Who gets it.
    pub(super) recipient_ids: Vec<UserId>,
    /// The text, which is not to be trusted: see `sanitize`.
    pub(super) message_body: String,
    /// Whether a script or an auto-reply made it.
    #[serde(default)]
    pub(super) from_auto_reply: bool,
    /// When it was sent.
    pub(super) sent_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn frames_are_spelt_as_the_contract_has_them() {
        let frame = ClientFrame::SendMessage {
            message_body: "hi".into(),
            recipient_ids: vec![UserId(12)],
            client_message_id: "a".into(),
        };
        let spelt = json!({ "type": "sendMessage", "messageBody": "hi", "recipientIds": [12], "clientMessageId": "a" });
        assert_eq!(serde_json::to_value(frame).unwrap(), spelt);
        let frame = ClientFrame::RefreshToken { access_token: "t".into() };
        assert_eq!(serde_json::to_value(frame).unwrap(), json!({ "type": "refreshToken", "accessToken": "t" }));
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let read = |value| serde_json::from_value::<ServerFrame>(value).unwrap();
        assert_eq!(read(json!({ "type": "confetti", "colour": "red" })), ServerFrame::Other);
        assert_eq!(read(json!({ "type": "tokenExpiring", "expiresAt": "soon" })), ServerFrame::TokenExpiring);
        assert_eq!(read(json!({ "type": "reconnect", "afterMs": 5 })), ServerFrame::Reconnect { after_ms: 5 });
    }
}
