//! The user's end: lines come in, lines go out. Reading and printing have threads of their own, for both may block.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use tokio::sync::{mpsc, oneshot};

/// Lines read ahead; beyond, the reader waits, and with it whoever pipes them in.
const READ_AHEAD: usize = 64;
/// Lines not yet printed; beyond, the chat waits, as on a terminal that is stopped with Ctrl-S.
const PRINT_AHEAD: usize = 1024;
/// The last lines are not waited for longer at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// What the user does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line.
    Line(String),
    /// The end of the input.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What is put out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Words for a person.
    Say(String),
    /// A frame as one line of JSON, for a program.
    Frame(String),
}

/// The open terminal, pipe or file.
pub(super) struct Terminal {
    /// What comes in.
    pub(super) input: mpsc::Receiver<Input>,
    /// What goes out.
    pub(super) screen: mpsc::Sender<Output>,
    /// Whether a person sits there.
    pub(super) is_interactive: bool,
    /// What is to be waited for, once the screen is dropped, so that the last lines are seen.
    pub(super) printed: Printed,
}

/// The printer's end, and the terminal as it was before.
pub(super) struct Printed {
    done: oneshot::Receiver<()>,
    before: Option<Termios>,
    is_interactive: bool,
}

impl Terminal {
    /// Opens standard input and output; with `json`, standard output is for frames and words go to standard error.
    pub(super) fn open(json: bool) -> Self {
        let (lines, input) = mpsc::channel(READ_AHEAD);
        let (screen, outputs) = mpsc::channel(PRINT_AHEAD);
        let (finished, done) = oneshot::channel();
        let before = if io::stdin().is_terminal() { tcgetattr(io::stdin()).ok() } else { None };
        let editor = if json { None } else { editor() };
        let is_interactive = editor.is_some();
        let printer = match editor {
            Some((editor, printer)) => {
                thread::spawn(move || edit_lines(editor, &lines));
                Some(printer)
            }
            None => {
                thread::spawn(move || read_lines(io::stdin().lock(), &lines));
                None
            }
        };
        thread::spawn(move || {
            print(outputs, printer, json);
            // Nobody waits if the chat has ended otherwise.
            let _ = finished.send(());
        });
        Self { input, screen, is_interactive, printed: Printed { done, before, is_interactive } }
    }
}

impl Printed {
    /// Waits until all is printed, and leaves the terminal as it was.
    pub(super) async fn wait(self) {
        // A terminal that takes nothing any more must not hold up the end.
        let _ = tokio::time::timeout(FLUSH, self.done).await;
        if let Some(before) = self.before {
            // The editor's thread may still sit in its prompt, with the terminal in raw mode and bracketing pastes.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
            let _ = if self.is_interactive { writeln!(io::stdout(), "\x1b[?2004l") } else { Ok(()) };
        }
    }
}

type Printer = Box<dyn ExternalPrinter + Send>;

/// A line editor, if both ends are a terminal that can do it.
fn editor() -> Option<(DefaultEditor, Printer)> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    let mut editor = DefaultEditor::new().ok()?;
    let printer = editor.create_external_printer().ok()?;
    Some((editor, Box::new(printer)))
}

fn edit_lines(mut editor: DefaultEditor, lines: &mpsc::Sender<Input>) {
    loop {
        let input = match editor.readline("> ") {
            Ok(line) => {
                // A line that cannot be remembered can still be sent.
                let _ = editor.add_history_entry(&line);
                Input::Line(line)
            }
            Err(ReadlineError::Interrupted) => Input::Interrupt,
            Err(_) => Input::End,
        };
        let is_last = !matches!(input, Input::Line(_));
        if lines.blocking_send(input).is_err() || is_last {
            return;
        }
    }
}

fn read_lines(mut from: impl BufRead, lines: &mpsc::Sender<Input>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let input = match from.read_until(b'\n', &mut line) {
            Ok(1..) => Input::Line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()),
            Ok(0) | Err(_) => Input::End,
        };
        let is_last = input == Input::End;
        if lines.blocking_send(input).is_err() || is_last {
            return;
        }
    }
}

/// Prints until nobody sends any more, or nobody reads: then the chat learns it from its closed channel.
fn print(mut outputs: mpsc::Receiver<Output>, mut printer: Option<Printer>, json: bool) {
    while let Some(output) = outputs.blocking_recv() {
        let printed = match (output, &mut printer) {
            (Output::Frame(line), _) if json => writeln!(io::stdout(), "{line}").is_ok(),
            (Output::Frame(_), _) => true,
            (Output::Say(line), _) if json => writeln!(io::stderr(), "{line}").is_ok(),
            (Output::Say(line), Some(printer)) => printer.print(format!("{line}\n")).is_ok(),
            (Output::Say(line), None) => writeln!(io::stdout(), "{line}").is_ok(),
        };
        if !printed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piped_lines_come_in_order_and_then_the_end() {
        let (sender, mut lines) = mpsc::channel(8);
        read_lines(&b"one\r\n\ntwo\xff"[..], &sender);
        let expected = ["one", "", "two\u{fffd}"].map(|line| Input::Line(line.into()));
        for line in expected {
            assert_eq!(lines.blocking_recv(), Some(line));
        }
        assert_eq!(lines.blocking_recv(), Some(Input::End));
    }
}
