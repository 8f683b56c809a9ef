//! What is said about scripts, in the style of compilers, and harmless to a terminal.

use crate::cli::say;
use crate::client::sanitize::sanitize;
use crate::script::call::{Diagnostic, Reply, Severity};
use crate::script::trial::Tried;

/// Prints diagnostics with their lines of the source; returns how many errors there are.
pub(super) fn diagnostics(name: &str, source: &str, found: &[Diagnostic]) -> anyhow::Result<usize> {
    for diagnostic in found {
        say(&shown(name, source, diagnostic))?;
    }
    Ok(found.iter().filter(|found| found.severity == Severity::Error).count())
}

fn shown(name: &str, source: &str, diagnostic: &Diagnostic) -> String {
    let Diagnostic { severity, line, column, message } = diagnostic;
    let severity = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut text = format!("{}:{line}:{column}: {severity}: {}", sanitize(name), sanitize(message));
    let number = (*line as usize).checked_sub(1);
    if let Some(of_source) = number.and_then(|number| source.lines().nth(number)) {
        // A tab is one column to the compiler; so it is here, or the caret would stand elsewhere.
        let of_source = sanitize(&of_source.replace('\t', " "));
        let (margin, before) = (line.to_string().len(), (*column as usize).saturating_sub(1));
        text.push_str(&format!("\n {line} | {of_source}\n {:margin$} | {:before$}^", "", ""));
    }
    text
}

/// Prints what a dry run came to.
pub(super) fn tried(tried: &Tried) -> anyhow::Result<()> {
    match &tried.failure {
        Some(failure) => {
            let line = failure.line.map_or(String::new(), |line| format!(", line {line}"));
            say(&format!("failed ({}{line}): {}", failure.kind.name(), sanitize(&failure.detail)))?;
        }
        None => say(tried.verdict)?,
    }
    if let Some(body) = &tried.message_body {
        say(&format!("  body: {}", lines(body)))?;
    }
    replies("reply to", &tried.replies)?;
    replies("not sent, because the message was an automatic one, to", &tried.unanswered)?;
    prints(&tried.prints, tried.prints_cut)?;
    let (cpu, wall, heap) = (tried.cpu_micros, tried.wall_micros, tried.heap_bytes / 1024);
    say(&format!("  {cpu} µs of processor time, {wall} µs in all, {heap} KiB of heap"))
}

/// Prints replies, each on a line of its own.
pub(super) fn replies(what: &str, replies: &[Reply]) -> anyhow::Result<()> {
    replies.iter().try_for_each(|reply| say(&format!("  {what} {}: {}", reply.to, lines(&reply.message_body))))
}

/// Prints what a script printed.
pub(super) fn prints(printed: &[String], cut: bool) -> anyhow::Result<()> {
    printed.iter().try_for_each(|line| say(&format!("  print: {}", lines(line))))?;
    if cut { say("  print: … and more") } else { Ok(()) }
}

/// Text that may have several lines, on one.
fn lines(text: &str) -> String {
    text.split('\n').map(sanitize).collect::<Vec<_>>().join(" ⏎ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_points_at_its_place() {
        let source = "function incoming(message)\n\tif x the\nend";
        let diagnostic = |line, column| {
            let message = "Expected 'then'\u{1b}[2J".to_owned();
            Diagnostic { severity: Severity::Error, line, column, message }
        };
        let expected = "a.luau:2:7: error: Expected 'then'\\u{1b}[2J\n 2 |  if x the\n   |       ^";
        assert_eq!(shown("a.luau", source, &diagnostic(2, 7)), expected);
        // A place that is not there: said all the same.
        for (line, column) in [(0, 0), (9, 1)] {
            assert!(!shown("a.luau", source, &diagnostic(line, column)).contains('|'));
        }
    }
}
