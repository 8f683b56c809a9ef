//! Makes text of others harmless to a terminal: nothing here passes a character that moves, hides or reorders others.

use std::fmt::Write as _;

/// What a continuation line of a message begins with, so that it cannot be taken for a line of its own.
const CONTINUATION: &str = "\n    ";

/// One line of text in which every character that could harm or deceive is spelt out, as in `\u{1b}`.
pub(crate) fn sanitize(text: &str) -> String {
    escape(text, |_| None)
}

/// A message body: as [`sanitize`], but its line breaks become indented continuation lines.
pub(crate) fn body(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.split('\n').map(sanitize).collect::<Vec<_>>().join(CONTINUATION)
}

/// A serialised JSON document in which harmful characters are spelt the JSON way: still the same document.
pub(crate) fn json(text: &str) -> String {
    escape(text, |c| {
        let mut units = [0; 2];
        Some(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect())
    })
}

fn escape(text: &str, spell: impl Fn(char) -> Option<String>) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if !is_harmful(c, before) {
            safe.push(c);
            before = c;
        } else if let Some(spelt) = spell(c) {
            safe.push_str(&spelt);
            before = ' ';
        } else {
            // Writing to a String cannot fail.
            let _ = write!(safe, "{}", c.escape_unicode());
            before = ' ';
        }
    }
    safe
}

/// Whether `c`, standing after `before`, could move the cursor, hide text or turn its order.
fn is_harmful(c: char, before: char) -> bool {
    match c {
        // Joiners hold emoji and many scripts together; anywhere else they only hide.
        '\u{200c}' | '\u{200d}' => before.is_ascii() || before.is_whitespace() || is_joiner(before),
        // Controls: C0, DEL and C1, of which U+009B begins an escape sequence by itself.
        _ if c.is_control() => true,
        // Marks, embeddings, overrides and isolates of the bidirectional algorithm; line and paragraph separators.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => true,
        // Invisible: soft hyphen, zero-width spaces, fillers, tags, annotations.
        '\u{00ad}' | '\u{034f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' => true,
        '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_escape_sequence_is_shown_and_not_obeyed() {
        assert_eq!(sanitize("\x1b[2Jgone"), "\\u{1b}[2Jgone");
        assert_eq!(sanitize("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(sanitize("a\rb\x08c\x07\x7f\0"), "a\\u{d}b\\u{8}c\\u{7}\\u{7f}\\u{0}");
    }

    #[test]
    fn text_is_not_turned_round_nor_hidden() {
        assert_eq!(sanitize("\u{202e}abc\u{2069}"), "\\u{202e}abc\\u{2069}");
        assert_eq!(sanitize("a\u{200b}b\u{feff}\u{2028}bob: hi"), "a\\u{200b}b\\u{feff}\\u{2028}bob: hi");
        assert_eq!(sanitize("a\u{200d}b"), "a\\u{200d}b");
    }

    #[test]
    fn ordinary_text_of_any_script_passes() {
        for text in ["Grüße, 世界!", "👩\u{200d}👩\u{200d}👧", "می\u{200c}خواهم", "שלום", "e\u{301}", "❤\u{fe0f}"]
        {
            assert_eq!(sanitize(text), text);
        }
    }

    #[test]
    fn a_new_line_cannot_pass_for_another_message() {
        assert_eq!(body("hi\nbob: I resign\r\nx\ry"), "hi\n    bob: I resign\n    x\\u{d}y");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "body": "\u{9b}31m \u{202e}\u{7f}\u{e0041} ok \u{1b}\n" });
        let line = json(&value.to_string());
        assert!(line.is_ascii() && !line.chars().any(char::is_control), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }

    fn turns_or_breaks(c: char) -> bool {
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    }

    proptest! {
        #[test]
        fn no_output_holds_a_control_character(text in any::<String>(), harm in "[\\x00-\\x1f\\x7f-\\u{9f}\u{200b}-\u{206f}]*") {
            for text in [format!("{text}{harm}"), format!("{harm}{text}"), format!("é{harm}é{text}")] {
                let safe = sanitize(&text);
                prop_assert!(!safe.chars().any(char::is_control));
                prop_assert!(!safe.chars().any(turns_or_breaks));
                prop_assert_eq!(sanitize(&safe), safe);
                for line in body(&text).split('\n').skip(1) {
                    prop_assert!(line.starts_with("    ") && !line.chars().any(char::is_control));
                }
            }
        }
    }
}
