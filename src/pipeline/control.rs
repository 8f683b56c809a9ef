//! Records of the control topics, by which another service switches a user's automation on and off: read as the system
//! that Parlor replaces wrote them. What is unknown in them is passed over.

use serde::{Deserialize, Deserializer, de};

use crate::ids::UserId;
use crate::script::call::Direction;
use crate::store::control::Change;

/// The end of the name of the topic about auto-replies.
pub const AUTO_REPLY_CONFIG: &str = "auto-reply.config";
/// The end of the name of the topic about scripts.
pub const SCRIPTS_CONFIG: &str = "scripts.config";

/// Which of the control topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// [`AUTO_REPLY_CONFIG`].
    AutoReply,
    /// [`SCRIPTS_CONFIG`].
    Scripts,
}

/// Why a record changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON with the fields of its topic.
    #[error("not a record of this topic: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A text is to be set, and there is none.
    #[error("`setBody` without `args.messageBody`")]
    NoText,
    /// The text is longer than messages may be.
    #[error("`args.messageBody` has {bytes} bytes, at most {limit} are allowed")]
    TextTooLong {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
}

/// `{action, args: {userId, messageBody?}}`.
#[derive(Deserialize)]
struct AutoReplyRecord {
    action: Action,
    args: Args,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    SetBody,
    Enable,
    Disable,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Args {
    user_id: Id,
    message_body: Option<String>,
}

/// `{actionType, userId, target}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScriptsRecord {
    action_type: Switch,
    user_id: Id,
    target: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Switch {
    Enable,
    Disable,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Target {
    Recv,
    Send,
}

/// A user's id, as a number or in quotes.
struct Id(UserId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let id = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
        id.map(|id| Self(UserId(id))).ok_or_else(|| de::Error::custom("`userId` must be a number, quoted or not"))
    }
}

impl Control {
    /// The end of the topic's name, behind the prefix and a dot.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::AutoReply => AUTO_REPLY_CONFIG,
            Self::Scripts => SCRIPTS_CONFIG,
        }
    }

    /// What a record of this topic wants changed, and for whom.
    ///
    /// # Errors
    /// Each case of [`Error`]; the record then belongs into the dead-letter topic.
    pub fn read(self, payload: &[u8], max_message_bytes: usize) -> Result<(UserId, Change), Error> {
        match self {
            Self::AutoReply => {
                let AutoReplyRecord { action, args: Args { user_id: Id(user), message_body } } =
                    serde_json::from_slice(payload)?;
                let change = match action {
                    Action::Enable => Change::AutoReply(true),
                    Action::Disable => Change::AutoReply(false),
                    Action::SetBody => Change::Text(text(message_body.ok_or(Error::NoText)?, max_message_bytes)?),
                };
                Ok((user, change))
            }
            Self::Scripts => {
                let ScriptsRecord { action_type, user_id: Id(user), target } = serde_json::from_slice(payload)?;
                let direction = match target {
                    Target::Recv => Direction::Incoming,
                    Target::Send => Direction::Outgoing,
                };
                Ok((user, Change::Script(direction, matches!(action_type, Switch::Enable))))
            }
        }
    }
}

/// A text that can be kept. One of white space is none: an auto-reply without a text answers nobody.
fn text(text: String, limit: usize) -> Result<String, Error> {
    let bytes = text.len();
    if bytes > limit {
        return Err(Error::TextTooLong { bytes, limit });
    }
    Ok(if text.trim().is_empty() { String::new() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_systems_records_are_read_and_what_is_unknown_is_passed_over() {
        let text = |text: &str| Change::Text(text.to_owned());
        for (topic, record, user, change) in [
            (Control::AutoReply, r#"{"action":"setBody","args":{"userId":7,"messageBody":"a"}}"#, 7, text("a")),
            (Control::AutoReply, r#"{"action":"setBody","args":{"userId":"7","messageBody":" "}}"#, 7, text("")),
            (
                Control::AutoReply,
                r#"{"action":"setBody","args":{"userId":7,"messageBody":"0123456789"}}"#,
                7,
                text("0123456789"),
            ),
            (Control::AutoReply, r#"{"action":"enable","args":{"userId":7}}"#, 7, Change::AutoReply(true)),
            (
                Control::AutoReply,
                r#"{"x":1,"args":{"y":[],"userId":" 8 "},"action":"disable"}"#,
                8,
                Change::AutoReply(false),
            ),
            (
                Control::Scripts,
                r#"{"actionType":"enable","userId":"9","target":"recv"}"#,
                9,
                Change::Script(Direction::Incoming, true),
            ),
            (
                Control::Scripts,
                r#"{"actionType":"disable","userId":9,"target":"send","z":{}}"#,
                9,
                Change::Script(Direction::Outgoing, false),
            ),
        ] {
            assert_eq!(topic.read(record.as_bytes(), 10).unwrap(), (UserId(user), change), "{record}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        for (topic, record, reason) in [
            (Control::AutoReply, "", "not a record"),
            (Control::AutoReply, "[]", "not a record"),
            (Control::AutoReply, r#"{"action":"shout","args":{"userId":7}}"#, "shout"),
            (Control::AutoReply, r#"{"action":"enable"}"#, "args"),
            (Control::AutoReply, r#"{"action":"enable","args":{}}"#, "userId"),
            (Control::AutoReply, r#"{"action":"enable","args":{"userId":1.5}}"#, "userId"),
            (Control::AutoReply, r#"{"action":"enable","args":{"userId":"me"}}"#, "userId"),
            (Control::AutoReply, r#"{"action":"setBody","args":{"userId":7}}"#, "messageBody"),
            (Control::AutoReply, r#"{"action":"setBody","args":{"userId":7,"messageBody":"0123456789a"}}"#, "11 bytes"),
            (Control::Scripts, r#"{"actionType":"enable","userId":7,"target":"both"}"#, "both"),
            (Control::Scripts, r#"{"action":"enable","args":{"userId":7}}"#, "actionType"),
        ] {
            let error = topic.read(record.as_bytes(), 10).unwrap_err().to_string();
            assert!(error.contains(reason), "{record}: {error}");
        }
    }
}
