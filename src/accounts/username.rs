//! Names of users: which are allowed, and when two are the same.

use std::fmt;

/// A name as typed, and the key by which it is unique.
///
/// Allowed are 1 to 64 characters: Unicode letters and digits, and `.`, `_`, `-`; so no spaces, no control characters
/// and nothing invisible. Two names are the same when their upper case is, so `Straße` is `strasse` and `ΣΑΣ` is `σας`.
/// Letters of different scripts that merely look alike are different letters.
#[derive(Clone, PartialEq, Eq)]
pub struct Username {
    text: String,
    key: String,
}

/// The longest name, in characters.
pub const MAX_CHARS: usize = 64;

/// Why a name is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is nothing.
    #[error("a username has at least 1 character")]
    Empty,
    /// More than [`MAX_CHARS`].
    #[error("a username has at most {MAX_CHARS} characters")]
    TooLong,
    /// What no name may hold.
    #[error("a username is made of letters, digits, '.', '_' and '-'; {0:?} is none of them")]
    Character(char),
}

impl Username {
    /// Checks a name.
    ///
    /// # Errors
    /// Each [`Error`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.chars().nth(MAX_CHARS).is_some() {
            return Err(Error::TooLong);
        }
        if let Some(bad) = text.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
            return Err(Error::Character(bad));
        }
        Ok(Self { text: text.to_owned(), key: fold(text) })
    }

    /// As typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key by which it is unique, found and sorted.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Makes text comparable without regard to case; also what a search is made comparable by.
#[must_use]
pub fn fold(text: &str) -> String {
    // Up and then down, letter by letter: down alone would keep 'ς' and 'σ', or 'ß' and 'ss', apart.
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_64_characters() {
        assert_eq!(Username::parse("").err(), Some(Error::Empty));
        assert!(Username::parse("a").is_ok());
        assert!(Username::parse(&"ä".repeat(64)).is_ok());
        assert_eq!(Username::parse(&"ä".repeat(65)).err(), Some(Error::TooLong));
    }

    #[test]
    fn a_name_is_letters_digits_and_three_signs() {
        for good in ["ada", "Ada.Lovelace-1815_x", "Ærøskøbing", "日本語", "-", "_x"] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in [' ', '\n', '\0', '\u{200b}', '\u{202e}', '@', '/', ':', '\u{301}', char::MAX] {
            assert_eq!(Username::parse(&format!("a{bad}b")).err(), Some(Error::Character(bad)), "{bad:?}");
        }
    }

    #[test]
    fn case_does_not_make_another_name() {
        for (one, other) in [("Ada", "aDA"), ("ΣΑΣ", "σας"), ("Straße", "STRASSE"), ("\u{212a}elvin", "kelvin")]
        {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("ada"), fold("adа"), "the last letter is Cyrillic");
    }
}
