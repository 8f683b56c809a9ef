//! One run of a script, as data: what goes in, what may come out, what it cost.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::ids::{ConversationId, UserId};

/// Which of a user's messages a script sees; also the name of the function that it defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Those that others send to them.
    Incoming,
    /// Those that they send.
    Outgoing,
}

impl Direction {
    /// The word for it, in paths, frames, tables and metrics; the name of the function.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Direction {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "incoming" => Ok(Self::Incoming),
            "outgoing" => Ok(Self::Outgoing),
            _ => Err("a direction is `incoming` or `outgoing`"),
        }
    }
}

/// What a source is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// luau.org.
    Luau,
    /// jolie-lang.org.
    Jolie,
}

impl Language {
    /// All there are; not each is on every server.
    pub const ALL: [Self; 2] = [Self::Luau, Self::Jolie];

    /// The word for it, in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Luau => "luau",
            Self::Jolie => "jolie",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Luau => "Luau",
            Self::Jolie => "Jolie",
        }
    }

    /// The media type of its sources.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Luau => "text/x-luau",
            Self::Jolie => "text/x-jolie",
        }
    }

    /// What a file's name ends with, behind the dot.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Luau => "luau",
            Self::Jolie => "ol",
        }
    }
}

/// The SHA-256 of a source: its name in the object store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceHash(pub [u8; 32]);

impl SourceHash {
    /// Of this source.
    #[must_use]
    pub fn of(source: &str) -> Self {
        Self(Sha256::digest(source.as_bytes()).into())
    }
}

impl fmt::Display for SourceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SourceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The message as a script sees it. The fields that `outgoing` does not see are not shown to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What was written; shared by the runs of all whom the message is for.
    pub message_body: Arc<str>,
    /// The script's owner.
    pub own_id: UserId,
    /// Who wrote it; the owner, for `outgoing`.
    pub sender_id: UserId,
    /// All whom the sender addressed, as in the `message` frame.
    pub recipient_ids: Vec<UserId>,
    /// Whether a script or an auto-reply made it. `incoming` only.
    pub from_auto_reply: bool,
    /// Its conversation. `incoming` only.
    pub conversation_id: ConversationId,
    /// Whether nobody has written in its conversation before. `incoming` only.
    pub first_contact: bool,
    /// When it was sent, in milliseconds since 1970, UTC: also the run's clock, so that a re-run tells the same time.
    pub sent_at: i64,
}

/// One answer that a script wants sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reply {
    /// To whom: a participant of the conversation other than the owner.
    pub to: UserId,
    /// What.
    #[serde(rename = "message")]
    pub message_body: String,
}

/// What a run wants. Not yet checked against the message: see [`super::effects`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// Of `incoming`.
    Incoming {
        /// The owner is not to get it.
        drop: bool,
        /// Answers, in order.
        replies: Vec<Reply>,
    },
    /// Of `outgoing`.
    Outgoing {
        /// What shall be sent instead.
        message_body: String,
    },
}

/// Why a run came to nothing. The message goes on as if there were no script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The source does not compile, or does not define the function.
    Compile,
    /// The script raised an error.
    Error,
    /// It used more processor time than one run may.
    CpuLimit,
    /// It used more memory than it may.
    HeapLimit,
    /// What it returned is not what may be returned.
    BadResult,
    /// Its worker had to be killed, or died of it.
    WorkerKilled,
    /// Too many of its owner's messages wait for it already.
    Overloaded,
    /// No worker could be had, or its source could not be read: the server's trouble, not the script's.
    Unavailable,
}

impl FailureKind {
    /// The word for it, in frames, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Error => "error",
            Self::CpuLimit => "cpu_limit",
            Self::HeapLimit => "heap_limit",
            Self::BadResult => "bad_result",
            Self::WorkerKilled => "worker_killed",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the script is to blame, and not the server.
    #[must_use]
    pub fn is_the_scripts(self) -> bool {
        !matches!(self, Self::Overloaded | Self::Unavailable)
    }
}

/// A failed run, in words for the script's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// What happened; for a bad result with the path of the value, such as `reply[2].to`.
    pub detail: String,
    /// Where in the source, from 1.
    pub line: Option<u32>,
}

impl Failure {
    /// One without a line.
    #[must_use]
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), line: None }
    }
}

/// What a run printed, bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints {
    /// The lines, in order.
    pub lines: Vec<String>,
    /// Whether more was printed than is kept.
    pub cut: bool,
}

impl Prints {
    /// Keeps a line, or as much of it as fits, within so many lines and bytes of all; behind one that was cut, none.
    pub fn push(&mut self, line: &[u8], most_lines: u32, most_bytes: u32) {
        let kept: usize = self.lines.iter().map(String::len).sum();
        let room = (most_bytes as usize).saturating_sub(kept);
        if self.cut || self.lines.len() >= most_lines as usize || room == 0 && !line.is_empty() {
            self.cut = true;
            return;
        }
        self.cut = line.len() > room;
        self.lines.push(bounded(line, room));
    }
}

/// These bytes as text of at most so many bytes, whatever they are.
#[must_use]
pub fn bounded(bytes: &[u8], most: usize) -> String {
    let mut text = String::from_utf8_lossy(bytes.get(..most).unwrap_or(bytes)).into_owned();
    // What stands in for a byte that is no text is longer than the byte.
    text.truncate(text.floor_char_boundary(most));
    text
}

/// What one run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// What it wants, or why not.
    pub outcome: Result<Wanted, Failure>,
    /// What it printed.
    pub prints: Prints,
    /// Processor time, in microseconds.
    pub cpu_micros: u64,
    /// Wall time from being handed to a worker, in microseconds. Set by the parent.
    pub wall_micros: u64,
    /// The most heap that it held, in bytes, as far as it was looked at.
    pub heap_bytes: u64,
}

impl Ran {
    /// A run that did not take place.
    #[must_use]
    pub fn not(failure: Failure) -> Self {
        Self { outcome: Err(failure), prints: Prints::default(), cpu_micros: 0, wall_micros: 0, heap_bytes: 0 }
    }
}

/// What is wrong with a source, or odd about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// Whether it keeps the script from being used.
    pub severity: Severity,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// What and, where it can be said, what to do.
    pub message: String,
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The script cannot be used.
    Error,
    /// It can.
    Warning,
}
