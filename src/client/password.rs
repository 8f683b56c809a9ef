//! Where the password comes from: a file, standard input, the environment, or a prompt that does not echo.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The first line of a file.
pub(crate) fn from_file(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("cannot open the password file {}", path.display()))?;
    first_line(BufReader::new(file)).with_context(|| format!("cannot read a password from {}", path.display()))
}

/// The first line of standard input; what follows is left to be read as messages.
pub(crate) fn from_stdin() -> anyhow::Result<String> {
    first_line(io::stdin().lock()).context("cannot read a password from standard input")
}

/// Asks at the terminal, even if standard input is something else.
pub(crate) async fn ask(name: &str) -> anyhow::Result<String> {
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").context(
            "no password, and no terminal to ask at: use PARLOR_PASSWORD, --password-file or --password-stdin",
        )?;
    write!(terminal, "Password of {name}: ")?;
    let quiet = Quiet::make(terminal.try_clone()?)?;
    let (answer, answered) = tokio::sync::oneshot::channel();
    // A thread of its own, for it may be left waiting when the user gives up.
    std::thread::spawn({
        let terminal = terminal.try_clone()?;
        // If nobody waits any more, the answer is not wanted.
        move || drop(answer.send(first_line(BufReader::new(terminal))))
    });
    let password = tokio::select! {
        answer = answered => answer?,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    drop(quiet);
    writeln!(terminal)?;
    password
}

fn first_line(mut from: impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!password.is_empty(), "it is empty");
    Ok(password.to_owned())
}

/// A terminal that does not echo until this is dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn make(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_with_its_spaces() {
        assert_eq!(first_line(&b" a b \r\nhello\n"[..]).unwrap(), " a b ");
        assert!(first_line(&b"\nhello\n"[..]).is_err());
    }
}
