//! The contract of scripts in Jolie, that of the system that Parlor replaces: one JSON document in `args[0]`, and on
//! standard output lines of which the last that is a JSON object counts. All other lines are prints.

use serde_json::{Map, Value, json};

use crate::ids::UserId;
use crate::script::call::{Direction, Failure, FailureKind, Input, Prints, Reply, Wanted, bounded};
use crate::script::protocol::RunLimits;

/// Bytes of a value that are shown to the owner.
const SHOWN_BYTES: usize = 40;
/// What stands before the number of a line.
const NAME: &str = "script.ol:";
/// How the interpreter says that nobody handled a fault.
const UNHANDLED: &str = "Thrown unhandled fault: ";
/// What it draws before the places that an error came by.
const TRACE: &str = "\n╰─── stackTrace:";

/// What a script finds in `args[0]`.
#[must_use]
pub fn argument(direction: Direction, input: &Input) -> String {
    let body = &*input.message_body;
    match direction {
        Direction::Incoming => json!({
            "messageBody": body,
            "ownID": input.own_id,
            "senderID": input.sender_id,
            "recipientIDs": input.recipient_ids,
        }),
        Direction::Outgoing => json!({
            "messageBody": body,
            "ownID": input.own_id,
            "recipientIDs": input.recipient_ids,
        }),
    }
    .to_string()
}

/// What a run printed.
#[derive(Debug)]
pub struct Printed {
    /// The last line that is a JSON object.
    pub result: Option<Map<String, Value>>,
    /// All others, as far as they are kept.
    pub prints: Prints,
}

/// Divides what was printed.
#[must_use]
pub fn printed(output: &[u8], limits: &RunLimits) -> Printed {
    let text = String::from_utf8_lossy(output);
    let mut lines: Vec<&str> = text.lines().collect();
    let object = |line: &str| {
        let line = line.trim();
        line.starts_with('{').then(|| serde_json::from_str::<Map<String, Value>>(line).ok()).flatten()
    };
    let found = lines.iter().enumerate().rev().find_map(|(at, line)| Some((at, object(line)?)));
    let result = found.map(|(at, object)| {
        lines.remove(at);
        object
    });
    let mut prints = Prints::default();
    for line in lines {
        prints.push(line.as_bytes(), limits.print_lines, limits.print_bytes);
    }
    Printed { result, prints }
}

/// A fault as its owner knows it: by the name that was thrown.
#[must_use]
pub fn fault(words: &str) -> String {
    // Where in the interpreter it happened is of no use to anybody here.
    let words =
        [TRACE, "\n\tat "].into_iter().fold(words, |words, place| words.split(place).next().unwrap_or_default());
    match words.find(UNHANDLED) {
        Some(at) => words.get(at + UNHANDLED.len()..).unwrap_or_default().trim().replacen("\nContent (if any)", "", 1),
        None => words.to_owned(),
    }
}

/// Why the interpreter refused a source, and where, from `…/script.ol:7: words`.
#[must_use]
pub fn refusal(words: &str) -> (String, Option<u32>) {
    let place = words.find(NAME).and_then(|at| words.get(at + NAME.len()..)?.split_once(": "));
    match place.and_then(|(line, rest)| Some((line.parse().ok()?, rest))) {
        Some((line, rest)) => (rest.trim().to_owned(), Some(line)),
        None => (words.to_owned(), None),
    }
}

/// What a run wants by what it printed.
///
/// # Errors
/// A failure that names the place, such as `reply[2].to`.
pub fn wanted(direction: Direction, result: Option<Map<String, Value>>, limits: &RunLimits) -> Result<Wanted, Failure> {
    let Some(mut result) = result else {
        return Err(Failure::new(FailureKind::BadResult, "it printed no line that is a JSON object"));
    };
    match direction {
        Direction::Outgoing => {
            let body = result.remove("messageBody").unwrap_or_default();
            Ok(Wanted::Outgoing { message_body: text("messageBody", body, limits)? })
        }
        Direction::Incoming => {
            let drop = drops(&result.remove("action").unwrap_or_default())?;
            Ok(Wanted::Incoming { drop, replies: replies(result.remove("reply").unwrap_or_default(), limits)? })
        }
    }
}

fn drops(action: &Value) -> Result<bool, Failure> {
    match action {
        Value::String(word) if word.eq_ignore_ascii_case("FORWARD") => Ok(false),
        Value::String(word) if word.eq_ignore_ascii_case("DROP") => Ok(true),
        other => Err(bad("action", format!("must be \"FORWARD\" or \"DROP\", is {}", shown(other)))),
    }
}

/// None at all, null, one object or a list of them: a tree in Jolie does not tell one from a list of one.
fn replies(value: Value, limits: &RunLimits) -> Result<Vec<Reply>, Failure> {
    let entries = match value {
        Value::Null => Vec::new(),
        Value::Array(entries) => entries,
        one => vec![one],
    };
    let most = limits.replies as usize;
    if entries.len() > most {
        return Err(bad("reply", format!("has {} entries, at most {most} are allowed", entries.len())));
    }
    (1..).zip(entries).map(|(n, entry)| reply(&format!("reply[{n}]"), entry, limits)).collect()
}

fn reply(path: &str, value: Value, limits: &RunLimits) -> Result<Reply, Failure> {
    let Value::Object(mut entry) = value else {
        return Err(bad(path, format!("must be an object {{to, message}}, is {}", shown(&value))));
    };
    let to = user_id(&format!("{path}.to"), &entry.remove("to").unwrap_or_default())?;
    let message_body = text(&format!("{path}.message"), entry.remove("message").unwrap_or_default(), limits)?;
    Ok(Reply { to, message_body })
}

fn user_id(path: &str, value: &Value) -> Result<UserId, Failure> {
    // An id that was reckoned with is a double in Jolie: `7.0`.
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64);
    let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    match number {
        Some(id) if id > 0 => Ok(UserId(id)),
        _ => Err(bad(path, format!("must be a user id (a whole number), is {}", shown(value)))),
    }
}

fn text(path: &str, value: Value, limits: &RunLimits) -> Result<String, Failure> {
    let text = match value {
        Value::String(text) => text,
        // Text that looks like a number is one after it went through a tree in Jolie.
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => return Err(bad(path, format!("must be a string, is {}", shown(&other)))),
    };
    if text.len() as u64 > limits.message_bytes {
        let most = limits.message_bytes;
        return Err(bad(path, format!("has {} bytes, at most {most} are allowed", text.len())));
    }
    Ok(text)
}

fn bad(path: &str, what: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::BadResult, format!("{path}: {what}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => bounded(other.to_string().as_bytes(), SHOWN_BYTES),
    }
}

#[cfg(test)]
mod tests;
