//! Which version this is, and which commit: `build.rs` finds it out.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, 12 digits; empty where it is not known: in debug builds, and in sources without git.
pub const COMMIT: &str = env!("PARLOR_COMMIT_SHORT");
/// What `parlor --version` says behind its name: `0.1.0 (0123456789ab, 2026-11-25)`.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("PARLOR_COMMIT_WORDS"), ")");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_version_and_says_what_is_known_of_the_commit() {
        assert!(LONG.starts_with(&format!("{VERSION} (")));
        assert!(LONG.contains(if COMMIT.is_empty() { "unknown" } else { COMMIT }), "{LONG}");
        assert!(COMMIT.is_empty() || (COMMIT.len() == 12 && COMMIT.chars().all(|c| c.is_ascii_hexdigit())), "{COMMIT}");
    }
}
