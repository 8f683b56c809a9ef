//! What goes over the socket, field by field. `docs/asyncapi.yaml` says the same, and a test holds it to this file.

use std::borrow::Cow;
use std::sync::Arc;

use bytestring::ByteString;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::rfc3339;
use crate::ids::{ConversationId, MessageUid, Seq, SessionId, UserId};
use crate::script::call::Direction;

/// A frame from the client.
#[derive(Clone, Debug, PartialEq, Eq, ToSchema, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ClientFrame {
    /// Send a message.
    SendMessage {
        /// What is written: any text, the empty one too.
        message_body: String,
        /// Who shall get it.
        recipient_ids: Vec<UserId>,
        /// The client's own name for the message: sending it again changes nothing. 1 to 128 bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_message_id: Option<String>,
    },
    /// The user has read the conversation up to here.
    MarkRead {
        /// Which conversation.
        conversation_id: ConversationId,
        /// The last message read.
        seq: Seq,
    },
    /// The user is writing to somebody.
    Typing {
        /// To whom.
        recipient_ids: Vec<UserId>,
    },
    /// A newer access token of the same login; the connection lives on past the old one's end.
    RefreshToken {
        /// The token.
        access_token: String,
    },
    /// For clients that cannot see protocol pings.
    Ping,
}

/// Why a frame could not be understood; the session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// Stable.
    pub code: &'static str,
    /// Which field, what was wrong, what is allowed.
    pub detail: String,
    /// Where the frame named a message: it gets `rejected`, not `error`.
    pub client_message_id: Option<String>,
}

/// All fields of all client frames: read in one pass, sorted out by `type`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyFrame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    message_body: Option<String>,
    recipient_ids: Option<Vec<UserId>>,
    client_message_id: Option<String>,
    conversation_id: Option<ConversationId>,
    seq: Option<Seq>,
    access_token: Option<String>,
}

/// The longest `clientMessageId`, in bytes.
pub const MAX_CLIENT_MESSAGE_ID_BYTES: usize = 128;

impl ClientFrame {
    /// Reads a frame. Fields that this version does not know are ignored.
    ///
    /// # Errors
    /// `malformed_frame` (no JSON object, or a field of the wrong type), `unknown_frame`, `missing_field`,
    /// `client_message_id_invalid`.
    pub fn read(text: &str) -> Result<Self, FrameError> {
        let frame: AnyFrame<'_> = serde_json::from_str(text)
            .map_err(|error| FrameError::new("malformed_frame", format!("not a frame: {error}")))?;
        let id = frame.client_message_id;
        let missing = |field: &str, id: &Option<String>| FrameError {
            code: "missing_field",
            detail: format!("`{field}` is missing"),
            client_message_id: id.clone(),
        };
        match frame.kind.as_deref() {
            Some("sendMessage") => {
                if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_CLIENT_MESSAGE_ID_BYTES) {
                    let detail = format!("`clientMessageId` must have 1 to {MAX_CLIENT_MESSAGE_ID_BYTES} bytes");
                    return Err(FrameError { code: "client_message_id_invalid", detail, client_message_id: id });
                }
                Ok(Self::SendMessage {
                    message_body: frame.message_body.ok_or_else(|| missing("messageBody", &id))?,
                    recipient_ids: frame.recipient_ids.ok_or_else(|| missing("recipientIds", &id))?,
                    client_message_id: id,
                })
            }
            Some("markRead") => Ok(Self::MarkRead {
                conversation_id: frame.conversation_id.ok_or_else(|| missing("conversationId", &None))?,
                seq: frame.seq.ok_or_else(|| missing("seq", &None))?,
            }),
            Some("typing") => {
                Ok(Self::Typing { recipient_ids: frame.recipient_ids.ok_or_else(|| missing("recipientIds", &None))? })
            }
            Some("refreshToken") => Ok(Self::RefreshToken {
                access_token: frame.access_token.ok_or_else(|| missing("accessToken", &None))?,
            }),
            Some("ping") => Ok(Self::Ping),
            Some(other) => {
                let shown: String = other.chars().take(40).collect();
                let detail =
                    format!("`type` is {shown:?}; known are sendMessage, markRead, typing, refreshToken and ping");
                Err(FrameError::new("unknown_frame", detail))
            }
            None => Err(missing("type", &None)),
        }
    }
}

impl FrameError {
    fn new(code: &'static str, detail: String) -> Self {
        Self { code, detail, client_message_id: None }
    }
}

/// A message as its reader sees it, in frames and in lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageView {
    /// Its place in the reader's inbox.
    pub seq: Seq,
    /// Its uid.
    pub message_uid: MessageUid,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Who wrote it.
    pub sender_id: UserId,
    /// All whom the sender addressed.
    pub recipient_ids: Vec<UserId>,
    /// What was written.
    pub message_body: String,
    /// Whether a script or an auto-reply made it.
    pub from_auto_reply: bool,
    /// When it was sent: RFC 3339, UTC, milliseconds.
    pub sent_at: String,
}

/// Whom a sender addressed, told from the participants: all others, or only oneself in a note to oneself.
#[must_use]
pub fn addressed(participants: &[UserId], sender: UserId) -> Vec<UserId> {
    if participants == [sender] {
        return vec![sender];
    }
    participants.iter().copied().filter(|&id| id != sender).collect()
}

/// A frame from the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ServerFrame {
    /// The first frame.
    Welcome {
        /// This session.
        session_id: SessionId,
        /// Whose it is.
        user_id: UserId,
        /// The last place given in the user's inbox.
        head_seq: Seq,
        /// Seconds between the server's pings; a client that hears nothing for two of them may take the line for dead.
        ping_interval_seconds: u64,
        /// The longest `messageBody`, in bytes of UTF-8.
        max_message_bytes: usize,
        /// When the access token ends: RFC 3339.
        token_expires_at: String,
    },
    /// The message is durable and will reach every recipient.
    Accepted {
        /// The client's own name for it, or null.
        client_message_id: Option<String>,
        /// Ours.
        message_uid: MessageUid,
    },
    /// The message was not taken.
    Rejected {
        /// The client's own name for it, or null.
        client_message_id: Option<String>,
        /// Stable.
        code: &'static str,
        /// Which field, what was wrong, what is allowed.
        detail: String,
    },
    /// A message of the user's inbox.
    Message(MessageView),
    /// Somebody, or another device of the user's, has read up to here.
    Read {
        /// Which conversation.
        conversation_id: ConversationId,
        /// Who has read.
        user_id: UserId,
        /// The last message read, in the numbers of this user's own inbox.
        seq: Seq,
    },
    /// Somebody is writing to the user. Not stored; shed under pressure.
    Typing {
        /// Who.
        user_id: UserId,
        /// In which conversation.
        conversation_id: ConversationId,
    },
    /// Somebody with whom the user shares a conversation came or went. Not stored; shed under pressure.
    Presence {
        /// Who.
        user_id: UserId,
        /// Whether they have a session now.
        online: bool,
    },
    /// A script of the user's came to nothing over a message, which went on without it; or it was switched off. Not
    /// stored: the log is.
    ScriptFailed {
        /// Which script.
        direction: Direction,
        /// Which version of it.
        version: u32,
        /// Over which message.
        message_uid: MessageUid,
        /// Stable: `compile`, `error`, `cpu_limit`, `heap_limit`, `bad_result`, `worker_killed`, `overloaded`,
        /// `unavailable`, `switched_off`.
        reason: String,
        /// The same in words.
        detail: String,
        /// The line of the source, from 1, or null.
        line: Option<u32>,
    },
    /// The access token ends soon: send `refreshToken`.
    TokenExpiring {
        /// When: RFC 3339.
        token_expires_at: String,
    },
    /// The node is about to stop: come back after this time, spread by the server.
    Reconnect {
        /// Milliseconds to wait.
        after_ms: u64,
    },
    /// The answer to `ping`.
    Pong,
    /// A frame could not be understood; the session goes on.
    Error {
        /// Stable.
        code: &'static str,
        /// Which field, what was wrong, what is allowed.
        detail: String,
    },
}

impl ServerFrame {
    /// The frame as text.
    #[must_use]
    pub fn text(&self) -> ByteString {
        // Strings and numbers cannot fail to serialise into memory.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

/// A `message` frame that waits only for its `seq`: written once, sent to every recipient.
#[derive(Clone, Debug)]
pub struct SealedMessage {
    text: Arc<str>,
    sent_at: Option<DateTime<Utc>>,
}

/// What stands between a frame's last field and its end: `"2026-11-23T12:00:00.000Z"}`.
const SENT_AT_BYTES: usize = 24;

impl SealedMessage {
    /// Seals a message of these participants.
    #[must_use]
    pub fn new(view: &MessageView) -> Self {
        let text = ServerFrame::Message(view.clone()).text();
        // `{"type":"message","seq":N,` stands first, because that is the order of the fields above.
        let rest = text.splitn(3, ',').nth(2).unwrap_or_default();
        Self::from_shared(rest.into())
    }

    /// Its text, to be sent to another node.
    #[must_use]
    pub fn shared(&self) -> &Arc<str> {
        &self.text
    }

    /// What another node sent: the text of [`SealedMessage::shared`].
    #[must_use]
    pub fn from_shared(text: Arc<str>) -> Self {
        let at = text.len().checked_sub(SENT_AT_BYTES + 2).and_then(|from| text.get(from..text.len() - 2));
        let sent_at = at.and_then(|at| DateTime::parse_from_rfc3339(at).ok()).map(|at| at.to_utc());
        Self { text, sent_at }
    }

    /// Its uid, for logs: `messageUid` stands first behind the `seq`.
    #[must_use]
    pub fn message_uid(&self) -> &str {
        self.text.split('"').nth(3).unwrap_or_default()
    }

    /// When it was sent, to measure how long it took: `sentAt` is the last field of the frame.
    #[must_use]
    pub fn sent_at(&self) -> Option<DateTime<Utc>> {
        self.sent_at
    }

    /// The frame for the inbox in which it stands at `seq`.
    #[must_use]
    pub fn frame(&self, seq: Seq) -> ByteString {
        format!(r#"{{"type":"message","seq":{seq},{}"#, self.text).into()
    }

    /// Bytes of the shared part.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Never true: a frame has fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// A time as frames carry it.
#[must_use]
pub fn at(time: DateTime<Utc>) -> String {
    rfc3339(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> &'static str {
        ClientFrame::read(text).unwrap_err().code
    }

    #[test]
    fn each_frame_is_read_and_each_error_named() {
        assert_eq!(ClientFrame::read(r#"{"type":"ping","later":1}"#), Ok(ClientFrame::Ping));
        assert_eq!(code("hello"), "malformed_frame");
        assert_eq!(code("[]"), "malformed_frame");
        assert_eq!(code(r#"{"type":"sendMessage","recipientIds":"all"}"#), "malformed_frame");
        assert_eq!(code(r#"{"type":"dance"}"#), "unknown_frame");
        assert_eq!(code("{}"), "missing_field");
        let error = ClientFrame::read(r#"{"type":"sendMessage","messageBody":"x","clientMessageId":"7"}"#).unwrap_err();
        assert_eq!((error.code, error.client_message_id.as_deref()), ("missing_field", Some("7")));
        assert!(error.detail.contains("recipientIds"));
        for (length, fine) in [(0, false), (1, true), (128, true), (129, false)] {
            let id = "x".repeat(length);
            let text =
                format!(r#"{{"type":"sendMessage","messageBody":"","recipientIds":[1],"clientMessageId":"{id}"}}"#);
            assert_eq!(ClientFrame::read(&text).is_ok(), fine, "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_client_frame_survives_the_wire(body in ".*", ids in proptest::collection::vec(any::<i64>(), 0..9), id in "[^\u{0}]{1,20}") {
            let frame = ClientFrame::SendMessage {
                message_body: body, recipient_ids: ids.into_iter().map(UserId).collect(), client_message_id: Some(id),
            };
            prop_assert_eq!(ClientFrame::read(&serde_json::to_string(&frame).unwrap()), Ok(frame));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = ClientFrame::read(&text);
        }

        #[test]
        fn a_sealed_message_is_the_frame(body in ".*", seq in 0i64..i64::MAX, sender in any::<i64>()) {
            let view = MessageView {
                seq: Seq(seq), message_uid: MessageUid::fresh(), conversation_id: ConversationId::of([UserId(1)]),
                sender_id: UserId(sender), recipient_ids: vec![UserId(2), UserId(3)], message_body: body,
                from_auto_reply: false, sent_at: "2026-11-23T12:00:00.000Z".into(),
            };
            let other = MessageView { seq: Seq(0), ..view.clone() };
            let uid = view.message_uid.to_string();
            let sealed = SealedMessage::new(&other);
            prop_assert_eq!(sealed.message_uid(), uid.as_str());
            let sent_at = sealed.sent_at().map(at);
            prop_assert_eq!(sent_at.as_deref(), Some("2026-11-23T12:00:00.000Z"));
            prop_assert_eq!(SealedMessage::new(&other).frame(Seq(seq)), ServerFrame::Message(view).text());
        }
    }
}
