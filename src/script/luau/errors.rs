//! What went wrong in a script, in words for its owner: message and line, nothing of the host.

use mlua::Value;

use crate::script::call::{Failure, FailureKind, bounded};

/// Bytes of an error's message that are kept.
const MESSAGE_BYTES: usize = 1000;
/// What the interpreter says when an allocation would pass the limit.
pub(super) const OUT_OF_MEMORY: &str = "not enough memory";
/// What chunks are called: what stands before the line in the interpreter's messages.
pub(super) const CHUNK: &str = "=script";

/// The line that a message of the interpreter begins with, and the rest of it.
pub(super) fn line_and_message(text: &str) -> (Option<u32>, &str) {
    let located = || {
        let rest = text.strip_prefix("script:").or_else(|| text.strip_prefix(':'))?;
        let (line, message) = rest.split_once(": ")?;
        Some((line.parse().ok()?, message))
    };
    located().map_or((None, text), |(line, message)| (Some(line), message))
}

/// The failure for a value that was raised. Looks at strings and at a table's own `message`; calls nothing.
pub(super) fn raised(value: &Value, line: Option<u32>) -> Failure {
    let text = match value {
        Value::String(text) => bounded(&text.as_bytes(), MESSAGE_BYTES),
        Value::Integer(n) => n.to_string(),
        Value::Number(n) => n.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Nil => "raised an error without a message".to_owned(),
        Value::Table(table) => match table.raw_get::<Value>("message") {
            Ok(Value::String(text)) => bounded(&text.as_bytes(), MESSAGE_BYTES),
            _ => "raised an error that is a table without a `message`".to_owned(),
        },
        Value::Error(error) => {
            let failure = host(error);
            return Failure { line: failure.line.or(line), ..failure };
        }
        _ => "raised an error that is not a string".to_owned(),
    };
    located(&text, line)
}

/// The failure for an error of the interpreter's host side.
pub(super) fn host(error: &mlua::Error) -> Failure {
    match error {
        mlua::Error::MemoryError(_) => located(OUT_OF_MEMORY, None),
        mlua::Error::RuntimeError(text) => located(first_part(text), None),
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => host(cause),
        other => located(first_part(&other.to_string()), None),
    }
}

/// Without the interpreter's stack, which names what is ours.
fn first_part(text: &str) -> &str {
    text.split("\nstack traceback:").next().unwrap_or(text)
}

fn located(text: &str, line: Option<u32>) -> Failure {
    let (own_line, message) = line_and_message(text);
    let kind = if message.contains(OUT_OF_MEMORY) { FailureKind::HeapLimit } else { FailureKind::Error };
    let detail = bounded(message.as_bytes(), MESSAGE_BYTES);
    Failure { kind, detail, line: own_line.or(line) }
}
