//! What the client says about itself, in plain words.

use std::fmt;
use std::time::Duration;

use crate::client::sanitize::sanitize;

/// How much of a message is repeated when it is spoken about.
const EXCERPT: usize = 60;

/// A status line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Notice {
    /// The first connection stands.
    Connected,
    /// The connection is lost, or could not be made, and will be tried again.
    Reconnecting {
        /// What happened.
        why: String,
        /// The wait until the next attempt.
        after: Duration,
    },
    /// The connection stands again, and all that came meanwhile has been shown.
    Back {
        /// How many messages of others came meanwhile.
        missed: usize,
    },
    /// Messages are missing that the server no longer has.
    Gap(i64),
    /// A message has taken long to be accepted.
    Slow,
    /// Messages that are not yet accepted.
    Unsent(Vec<String>),
    /// A message was accepted; its text if the user has waited for that.
    Accepted(Option<String>),
    /// A message was not taken.
    Refused {
        /// The text.
        body: String,
        /// The server's reason, or the client's.
        reason: String,
    },
    /// A script of the user's own failed.
    ScriptFailed {
        /// `incoming` or `outgoing`.
        direction: String,
        /// Which version, if the server said.
        version: Option<i64>,
        /// What went wrong.
        reason: String,
    },
    /// The server did not understand a frame.
    Error(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("* connected"),
            Self::Reconnecting { why, after } if *after < Duration::from_millis(100) => {
                write!(f, "* {}; reconnecting …", sanitize(why))
            }
            Self::Reconnecting { why, after } => {
                write!(f, "* {}; reconnecting in {} s …", sanitize(why), seconds(*after))
            }
            Self::Back { missed: 0 } => f.write_str("* back; nothing was missed"),
            Self::Back { missed: 1 } => f.write_str("* back; 1 message came meanwhile"),
            Self::Back { missed } => write!(f, "* back; {missed} messages came meanwhile"),
            Self::Gap(count) => write!(f, "* {count} missing here: the server no longer has them"),
            Self::Slow => f.write_str("  … sending"),
            Self::Unsent(bodies) if bodies.is_empty() => f.write_str("* everything is accepted"),
            Self::Unsent(bodies) => {
                f.write_str("* not yet accepted:")?;
                bodies.iter().try_for_each(|body| write!(f, "\n  … {}", excerpt(body)))
            }
            Self::Accepted(None) => f.write_str("  ✓"),
            Self::Accepted(Some(body)) => write!(f, "  ✓ {}", excerpt(body)),
            Self::Refused { body, reason } => write!(f, "  ✗ {}: {}", excerpt(body), sanitize(reason)),
            Self::ScriptFailed { direction, version, reason } => {
                write!(f, "* your {} script", sanitize(direction))?;
                if let Some(version) = version {
                    write!(f, " (version {version})")?;
                }
                write!(f, " failed: {}", sanitize(reason))
            }
            Self::Error(detail) => write!(f, "* the server did not understand: {}", sanitize(detail)),
        }
    }
}

/// The beginning of a message on one line, harmless.
pub(super) fn excerpt(body: &str) -> String {
    let line = body.lines().next().unwrap_or_default();
    let short: String = line.chars().take(EXCERPT).collect();
    let cut = if short.len() < body.trim_end().len() { " …" } else { "" };
    format!("{}{cut}", sanitize(&short))
}

fn seconds(wait: Duration) -> String {
    if wait < Duration::from_secs(1) {
        format!("{:.1}", wait.as_secs_f64())
    } else {
        format!("{:.0}", wait.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_plain_words() {
        let line = |millis| {
            Notice::Reconnecting { why: "connection lost".into(), after: Duration::from_millis(millis) }.to_string()
        };
        assert_eq!(line(2100), "* connection lost; reconnecting in 2 s …");
        assert_eq!(line(120), "* connection lost; reconnecting in 0.1 s …");
        assert_eq!(line(0), "* connection lost; reconnecting …");
    }

    #[test]
    fn a_long_or_harmful_message_is_cut_and_escaped() {
        assert_eq!(excerpt("hi\x1b"), "hi\\u{1b}");
        assert_eq!(excerpt("one\ntwo"), "one …");
        assert_eq!(excerpt(&"ä".repeat(80)), format!("{} …", "ä".repeat(60)));
        let lines = Notice::Unsent(vec!["a".into(), "b".into()]).to_string();
        assert_eq!(lines, "* not yet accepted:\n  … a\n  … b");
    }
}
