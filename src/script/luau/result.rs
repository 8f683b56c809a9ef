//! What a script returned, taken over strictly: by raw access only, so that nothing of the script runs any more, and
//! never looking at more of it than may be there.

use mlua::{LuaString, Table, Value};

use crate::ids::UserId;
use crate::script::call::{Direction, Failure, FailureKind, Reply, Wanted, bounded};
use crate::script::protocol::RunLimits;

/// The largest whole number that every step of the way keeps exact.
const MAX_ID: i64 = 1 << 53;
/// Bytes of a key that are shown to the owner.
const KEY_BYTES: usize = 40;

fn bad(path: &str, what: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::BadResult, format!("{path}: {what}"))
}

/// What a value is, in words for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) | Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Table(_) => "a table",
        Value::Function(_) => "a function",
        Value::Thread(_) => "a coroutine",
        Value::Buffer(_) => "a buffer",
        Value::Vector(_) => "a vector",
        _ => "an object",
    }
}

/// Takes it over.
pub(super) fn wanted(direction: Direction, value: &Value, limits: &RunLimits) -> Result<Wanted, Failure> {
    let name = "result";
    match direction {
        Direction::Outgoing => {
            let [body] = fields(name, value, "a table {messageBody = …}", ["messageBody"])?;
            Ok(Wanted::Outgoing { message_body: text("messageBody", &body, limits)? })
        }
        Direction::Incoming => {
            let [action, reply] = fields(name, value, "a table {action = …, reply = …}", ["action", "reply"])?;
            let drop = action_drops(&action)?;
            Ok(Wanted::Incoming { drop, replies: replies(&reply, limits)? })
        }
    }
}

fn action_drops(action: &Value) -> Result<bool, Failure> {
    const ALLOWED: &str = "must be \"FORWARD\" or \"DROP\"";
    match action {
        Value::String(word) if *word == "FORWARD" => Ok(false),
        Value::String(word) if *word == "DROP" => Ok(true),
        Value::String(word) => Err(bad("action", format!("{ALLOWED}, is {}", quoted(word)))),
        other => Err(bad("action", format!("{ALLOWED}, is {}", kind(other)))),
    }
}

fn replies(value: &Value, limits: &RunLimits) -> Result<Vec<Reply>, Failure> {
    if value.is_nil() {
        return Ok(Vec::new());
    }
    let table = plain("reply", value, "an array of {to = …, message = …}")?;
    let most = limits.replies as usize;
    let mut found: Vec<(usize, Value)> = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, entry) = pair.map_err(|_| bad("reply", "cannot be read"))?;
        let place = match &key {
            Value::Integer(n) if *n >= 1 => usize::try_from(*n).ok(),
            _ => None,
        };
        let Some(place) = place else {
            return Err(bad("reply", format!("must be an array, has the key {}", shown(&key))));
        };
        if found.len() == most {
            return Err(bad("reply", format!("has more than {most} entries, at most {most} are allowed")));
        }
        found.push((place, entry));
    }
    found.sort_by_key(|(place, _)| *place);
    let mut replies = Vec::with_capacity(found.len());
    for (n, (place, entry)) in (1..).zip(found) {
        if place != n {
            return Err(bad(&format!("reply[{n}]"), "is missing: an array has no holes"));
        }
        replies.push(reply(&format!("reply[{n}]"), &entry, limits)?);
    }
    Ok(replies)
}

fn reply(path: &str, value: &Value, limits: &RunLimits) -> Result<Reply, Failure> {
    let [to, message] = fields(path, value, "a table {to = …, message = …}", ["to", "message"])?;
    Ok(Reply {
        to: user_id(&format!("{path}.to"), &to)?,
        message_body: text(&format!("{path}.message"), &message, limits)?,
    })
}

fn user_id(path: &str, value: &Value) -> Result<UserId, Failure> {
    const ALLOWED: &str = "must be a user id (a whole number)";
    match value {
        Value::Integer(n) if (1..=MAX_ID).contains(n) => Ok(UserId(*n)),
        Value::Integer(n) => Err(bad(path, format!("{ALLOWED}, is {n}"))),
        Value::Number(n) => Err(bad(path, format!("{ALLOWED}, is {n}"))),
        other => Err(bad(path, format!("{ALLOWED}, is {}", kind(other)))),
    }
}

fn text(path: &str, value: &Value, limits: &RunLimits) -> Result<String, Failure> {
    let Value::String(text) = value else {
        return Err(bad(path, format!("must be a string, is {}", kind(value))));
    };
    let bytes = text.as_bytes();
    // Measured before anything is copied.
    if bytes.len() as u64 > limits.message_bytes {
        let most = limits.message_bytes;
        return Err(bad(path, format!("has {} bytes, at most {most} are allowed", bytes.len())));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(bad(path, format!("is not UTF-8 at byte {}", error.valid_up_to() + 1))),
    }
}

/// The table that a value must be, without a metatable.
fn plain<'a>(path: &str, value: &'a Value, allowed: &str) -> Result<&'a Table, Failure> {
    let Value::Table(table) = value else {
        return Err(bad(path, format!("must be {allowed}, is {}", kind(value))));
    };
    if table.has_metatable() {
        return Err(bad(path, "must be plain data, has a metatable"));
    }
    Ok(table)
}

/// These fields of a table that has no others. One key too many ends it, so a huge table is not walked.
fn fields<const N: usize>(
    path: &str,
    value: &Value,
    allowed: &str,
    names: [&'static str; N],
) -> Result<[Value; N], Failure> {
    let table = plain(path, value, allowed)?;
    let mut found = [const { Value::Nil }; N];
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|_| bad(path, "cannot be read"))?;
        let at = match &key {
            Value::String(key) => names.iter().position(|name| *key == **name),
            _ => None,
        };
        match at.and_then(|at| found.get_mut(at)) {
            Some(slot) => *slot = value,
            None => {
                let known = names.join("` and `");
                return Err(bad(path, format!("has the unknown key {}, `{known}` are allowed", shown(&key))));
            }
        }
    }
    Ok(found)
}

fn quoted(text: &LuaString) -> String {
    format!("{:?}", bounded(&text.as_bytes(), KEY_BYTES))
}

fn shown(key: &Value) -> String {
    match key {
        Value::String(text) => format!("`{}`", bounded(&text.as_bytes(), KEY_BYTES)),
        Value::Integer(n) => n.to_string(),
        Value::Number(n) => n.to_string(),
        other => kind(other).to_owned(),
    }
}
