//! The line on standard error that says how far a run is. Standard output belongs to the result.
#![allow(clippy::print_stderr, reason = "progress is for the person at the terminal, not for a log")]

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Where nobody watches a line change, a new one comes this often.
const EVERY_IN_A_FILE: Duration = Duration::from_secs(10);
const EVERY_ON_A_TERMINAL: Duration = Duration::from_millis(200);

/// A line that is overwritten on a terminal and repeated now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    last: Option<Instant>,
}

impl Progress {
    /// A line that shows nothing yet.
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), last: None }
    }

    /// Shows what `line` says, unless the last one is too fresh.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        let every = if self.is_terminal { EVERY_ON_A_TERMINAL } else { EVERY_IN_A_FILE };
        if self.last.is_some_and(|last| last.elapsed() < every) {
            return;
        }
        self.last = Some(Instant::now());
        if self.is_terminal {
            eprint!("\r\x1b[2K{}", line());
            // A progress line that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{}", line());
        }
    }

    /// Clears the line.
    pub(crate) fn end(&mut self) {
        if self.is_terminal && self.last.is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}

/// Says one thing.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
