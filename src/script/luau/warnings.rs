//! Names in a source that will not work here: a look at its words, not at its meaning.

use std::collections::HashSet;

use super::environment::{FUNCTIONS, LIBRARIES};
use crate::script::call::{Diagnostic, Severity, bounded};

/// Warnings of one source, and bytes of each.
const MOST: usize = 20;
const MESSAGE_BYTES: usize = 1000;
/// Names that people bring along from elsewhere, and what to do instead.
const ABSENT: &[(&str, &str)] = &[
    ("require", "a script is one file"),
    ("loadstring", "code cannot be made at run time"),
    ("load", "code cannot be made at run time"),
    ("dofile", "a script is one file"),
    ("loadfile", "a script is one file"),
    ("getfenv", "use tables of your own"),
    ("setfenv", "use tables of your own"),
    ("collectgarbage", "memory is looked after"),
    ("gcinfo", "memory is looked after"),
    ("newproxy", "use a table with a metatable"),
    ("_G", "globals are there by their names"),
    ("io", "a script has no files"),
    ("debug", "use error and print"),
    ("package", "a script is one file"),
    ("task", "a run ends before it is answered"),
    ("wait", "a run ends before it is answered"),
    ("game", "this is not Roblox"),
    ("script", "this is not Roblox"),
    ("vector", "use tables"),
    ("json", "messages are tables already"),
    ("http", "a script has no network"),
];

/// One word of a source.
struct Word<'a> {
    text: &'a str,
    line: u32,
    column: u32,
    /// After a dot or a colon: a field, not a variable.
    is_field: bool,
    /// What follows, blanks aside.
    next: Option<char>,
}

/// What is odd about a source that compiles.
pub(super) fn of(source: &str) -> Vec<Diagnostic> {
    let blanked = without_texts(source);
    let words = words(&blanked);
    // Whatever the source itself assigns, declares or takes as a parameter anywhere is its own.
    let mut own: HashSet<&str> = HashSet::new();
    for (n, word) in words.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| words.get(n)).map(|word| word.text);
        let declared = matches!(before, Some("local" | "function" | "for"));
        if declared || (!word.is_field && matches!(word.next, Some('=' | ',' | ')' | ':'))) {
            own.insert(word.text);
        }
    }
    let mut found = Vec::new();
    for (n, word) in words.iter().enumerate() {
        if word.is_field || own.contains(word.text) || found.len() >= MOST {
            continue;
        }
        let library = LIBRARIES.iter().find(|(library, _)| *library == word.text && word.next == Some('.'));
        let message = if let Some((_, hint)) = ABSENT.iter().find(|(name, _)| *name == word.text) {
            Some(format!("`{}` is not there: {hint}", word.text))
        } else if let (Some((library, functions)), Some(field)) = (library, words.get(n + 1)) {
            let known = !field.is_field || functions.contains(&field.text);
            (!known).then(|| format!("`{library}.{}` is not there", field.text))
        } else {
            let called = word.next == Some('(') && !is_known(word.text);
            called.then(|| format!("`{}` is defined nowhere", word.text))
        };
        if let Some(message) = message {
            // A word may be as long as the source.
            let message = bounded(message.as_bytes(), MESSAGE_BYTES);
            found.push(Diagnostic { severity: Severity::Warning, line: word.line, column: word.column, message });
        }
    }
    found
}

fn is_known(word: &str) -> bool {
    const KEYWORDS: [&str; 23] = [
        "and", "break", "continue", "do", "else", "elseif", "end", "export", "false", "for", "function", "if", "in",
        "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    KEYWORDS.contains(&word) || FUNCTIONS.contains(&word) || LIBRARIES.iter().any(|(library, _)| *library == word)
}

/// The source with every comment and string made of blanks, line ends kept.
fn without_texts(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut blanked = chars.clone();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = chars.get(at..).unwrap_or(&[]);
        let end = match c {
            '-' if rest.starts_with(&['-', '-']) => {
                let long = rest.get(2..).and_then(long_bracket);
                at + long.map_or_else(|| line_end(rest), |bytes| bytes + 2)
            }
            '[' => at + long_bracket(rest).unwrap_or(0),
            '"' | '\'' | '`' => at + quoted(rest),
            _ => at,
        };
        for place in blanked.get_mut(at..end.min(chars.len())).unwrap_or_default() {
            *place = if *place == '\n' { '\n' } else { ' ' };
        }
        at = end.max(at + 1);
    }
    blanked.into_iter().collect()
}

fn line_end(rest: &[char]) -> usize {
    rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
}

/// How long a text in long brackets is, when one begins here.
fn long_bracket(rest: &[char]) -> Option<usize> {
    let level = rest.get(1..)?.iter().take_while(|c| **c == '=').count();
    if rest.first() != Some(&'[') || rest.get(level + 1) != Some(&'[') {
        return None;
    }
    let mut close = vec!['='; level + 2];
    *close.first_mut()? = ']';
    *close.last_mut()? = ']';
    let found = rest.windows(close.len()).position(|window| window == close.as_slice());
    Some(found.map_or(rest.len(), |at| at + close.len()))
}

fn quoted(rest: &[char]) -> usize {
    let (mut at, quote) = (1, rest.first());
    while let Some(c) = rest.get(at) {
        match c {
            '\\' => at += 1,
            c if Some(c) == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    rest.len()
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let mut ahead = 0;
        while let Some(begin) = text.get(ahead..).and_then(|rest| rest.find(is_of_a_word)) {
            let begin = ahead + begin;
            let rest = text.get(begin..).unwrap_or("");
            let end = begin + rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len());
            let (before, after) =
                (text.get(..begin).unwrap_or("").trim_end(), text.get(end..).unwrap_or("").trim_start());
            let is_field = (before.ends_with('.') && !before.ends_with("..")) || before.ends_with(':');
            let next = after.chars().next().filter(|_| !after.starts_with("=="));
            let column = u32::try_from(text.get(..begin).map_or(0, |ahead| ahead.chars().count())).unwrap_or(0) + 1;
            let word = text.get(begin..end).unwrap_or("");
            if !word.starts_with(|c: char| c.is_ascii_digit()) {
                words.push(Word { text: word, line, column, is_field, next });
            }
            ahead = end;
        }
    }
    words
}

fn is_of_a_word(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}
