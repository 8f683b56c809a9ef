//! What is to be said about a source: why it does not compile, what it lacks, what will not work.

use std::sync::Arc;

use mlua::Value;

use super::budget::Budget;
use super::environment::Environment;
use super::{State, compile, errors, execute, judge};
use crate::script::call::{Diagnostic, Direction, Failure, FailureKind, Severity, SourceHash, bounded};
use crate::script::protocol::RunLimits;

/// Places of a token that are tried when the column of an error is looked for.
const COLUMN_TRIES: usize = 16;

/// Looks a source over in a state of its own.
pub(super) fn check(
    limits: &RunLimits,
    budget: &Arc<Budget>,
    direction: Direction,
    source: &str,
) -> Result<Vec<Diagnostic>, Failure> {
    budget.begin(0);
    let mut state = State::new(budget)?;
    let hash = SourceHash([0; 32]);
    match state.load(hash, source, limits) {
        Ok(()) => {}
        Err(failure) if failure.kind == FailureKind::Compile => {
            let column = column(&state.environment, source, &failure);
            return Ok(vec![diagnostic(Severity::Error, failure.line.unwrap_or(1), column, failure.detail)]);
        }
        Err(failure) => return Err(failure),
    }
    let Some(chunk) = state.chunks.get(&hash) else { return Ok(Vec::new()) };
    budget.begin(0);
    let returned = execute(&state.environment, chunk, direction, None);
    let found = match returned {
        // It was not called.
        Ok((0, _, _)) if !budget.is_over() => None,
        other => judge(other, direction, limits, budget).err(),
    };
    budget.take_prints();
    let mut diagnostics = super::warnings::of(source);
    match found {
        Some(failure) if matches!(failure.kind, FailureKind::CpuLimit | FailureKind::HeapLimit) => return Err(failure),
        Some(failure) => {
            let line = failure.line.unwrap_or(1);
            diagnostics.insert(0, diagnostic(Severity::Error, line, first_column(source, line), failure.detail));
        }
        None => {}
    }
    Ok(diagnostics)
}

fn diagnostic(severity: Severity, line: u32, column: u32, message: String) -> Diagnostic {
    Diagnostic { severity, line, column, message }
}

/// Refuses what the interpreter could take for bytecode, and what no editor writes.
pub(super) fn is_text(source: &str) -> Result<(), Failure> {
    let control = |byte: &u8| *byte < 0x20 && !b"\t\n\r\x0c".contains(byte);
    match source.as_bytes().iter().position(control) {
        Some(at) => {
            let line = 1 + source.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
            let detail = format!("must be source text, has a control character as byte {}", at + 1);
            Err(Failure { kind: FailureKind::Compile, detail, line: u32::try_from(line).ok() })
        }
        None => Ok(()),
    }
}

/// Why it does not compile.
pub(super) fn compile_failure(error: &mlua::Error) -> Failure {
    match error {
        mlua::Error::SyntaxError { message, .. } => {
            let (line, words) = errors::line_and_message(message);
            Failure { kind: FailureKind::Compile, detail: bounded(words.as_bytes(), 1000), line }
        }
        other => {
            let failure = errors::host(other);
            let kind = if failure.kind == FailureKind::HeapLimit { failure.kind } else { FailureKind::Compile };
            Failure { kind, ..failure }
        }
    }
}

/// A source without the function; `found` is what has its name.
pub(super) fn no_function(direction: Direction, found: &Value) -> Failure {
    let there = match found {
        Value::String(kind) if *kind != "nil" => format!(": `{direction}` is a {}", kind.to_string_lossy()),
        _ => String::new(),
    };
    Failure::new(FailureKind::Compile, format!("defines no function `{direction}`{there}"))
}

/// The column, which the compiler does not say. Its messages name the token that it stumbled over (`got 'x'`): where
/// that stands once in the line, it is there. Where it stands more often, the source is cut off behind each in turn: the
/// first cut that fails with the same words is behind the token. Otherwise it is the first character of the line.
fn column(environment: &Environment, source: &str, failure: &Failure) -> u32 {
    let number = failure.line.unwrap_or(1);
    let otherwise = first_column(source, number);
    let before: usize = source.split_inclusive('\n').take(number as usize - 1).map(str::len).sum();
    let line = source.get(before..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let Some((_, got)) = failure.detail.rsplit_once("got ") else { return otherwise };
    if got.starts_with("<eof>") {
        return characters(line) + 1;
    }
    let Some(token) = got.strip_prefix('\'').and_then(|rest| rest.rsplit_once('\'')).map(|(token, _)| token) else {
        return otherwise;
    };
    let places: Vec<usize> = line.match_indices(token).map(|(at, _)| at).take(COLUMN_TRIES).collect();
    let at = match places.as_slice() {
        [] => return otherwise,
        [only] => Some(only),
        several => several.iter().find(|at| {
            let cut = source.get(..before + **at + token.len()).unwrap_or(source);
            compile(environment, cut).is_err_and(|other| other == *failure)
        }),
    };
    at.and_then(|at| line.get(..*at)).map_or(otherwise, |ahead| characters(ahead) + 1)
}

fn first_column(source: &str, line: u32) -> u32 {
    let line = source.lines().nth(line as usize - 1).unwrap_or("");
    let blank = line.chars().take_while(|c| c.is_whitespace()).count();
    if line.trim().is_empty() { 1 } else { u32::try_from(blank).unwrap_or(0) + 1 }
}

fn characters(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}
