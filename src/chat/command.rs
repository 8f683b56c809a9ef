//! What the user types, read.

/// How many messages are shown on joining a conversation, and by `/history` without a number.
pub(super) const HISTORY: usize = 20;
/// `/history` shows no more.
const LONGEST_HISTORY: usize = 100;

/// What `/help` says.
pub(super) const HELP: &str = "\
  text               is sent to the current conversation
  /with bob[,carol]  goes to the conversation with bob (and carol)
  /list              shows your conversations
  /history [n]       shows the last n messages of this one
  /online            shows who is online
  /pending           shows what is not yet accepted
  /quit              leaves when everything is accepted; Ctrl-C leaves at once
  //text             sends a text that begins with /";

/// A line of input, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// An empty line.
    Nothing,
    /// A message for the current conversation.
    Say(String),
    /// Go to the conversation with these.
    With(Vec<String>),
    /// Show the conversations.
    List,
    /// Show so many messages.
    History(usize),
    /// Show who is online.
    Online,
    /// Show what is not yet accepted.
    Pending,
    /// Show the commands.
    Help,
    /// Leave.
    Quit,
    /// Not a command.
    Unknown(String),
}

impl Command {
    /// Reads a line.
    pub(super) fn read(line: &str) -> Self {
        let line = line.trim_end();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() { Self::Nothing } else { Self::Say(line.to_owned()) };
        };
        if command.starts_with('/') {
            return Self::Say(command.to_owned());
        }
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (word, rest.trim()) {
            ("with", rest) if !names(rest).is_empty() => Self::With(names(rest)),
            ("list", "") => Self::List,
            ("history", "") => Self::History(HISTORY),
            ("history", count) => match count.parse() {
                Ok(count) => Self::History(usize::clamp(count, 1, LONGEST_HISTORY)),
                Err(_) => Self::Unknown(line.to_owned()),
            },
            ("online", "") => Self::Online,
            ("pending", "") => Self::Pending,
            ("help", _) => Self::Help,
            ("quit" | "exit", "") => Self::Quit,
            _ => Self::Unknown(line.to_owned()),
        }
    }
}

/// Names between commas or spaces.
pub(super) fn names(list: &str) -> Vec<String> {
    let names = list.split(|c: char| c == ',' || c.is_whitespace());
    names.map(|name| name.trim_start_matches('@')).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_message_and_a_slash_a_command() {
        assert_eq!(Command::read("hello there  "), Command::Say("hello there".into()));
        assert_eq!(Command::read("//etc/hosts"), Command::Say("/etc/hosts".into()));
        assert_eq!(Command::read("   "), Command::Nothing);
        assert_eq!(Command::read("/with bob, @carol"), Command::With(vec!["bob".into(), "carol".into()]));
        assert_eq!(Command::read("/history"), Command::History(20));
        assert_eq!(Command::read("/history 5"), Command::History(5));
        assert_eq!(Command::read("/history 5000"), Command::History(100));
        assert_eq!(Command::read("/quit "), Command::Quit);
    }

    #[test]
    fn a_mistyped_command_is_never_sent() {
        for line in ["/wiht bob", "/with", "/history x", "/quit now", "/"] {
            assert_eq!(Command::read(line), Command::Unknown(line.into()), "{line}");
        }
    }
}
