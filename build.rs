//! Has cargo look again when the web page was built anew (its files are embedded into the binary), and finds out which commit
//! this is, for `parlor --version`.
//!
//! From `PARLOR_COMMIT` and `PARLOR_BUILT` where they are set (an image is built without the repository), else from git, else
//! from `commit.txt`, which `git archive` fills in. A debug build does not ask: each commit would build everything anew.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=templates");
    println!("cargo::rerun-if-env-changed=PARLOR_COMMIT");
    println!("cargo::rerun-if-env-changed=PARLOR_BUILT");
    let (commit, date) = from_outside().or_else(from_git).or_else(from_archive).unwrap_or_default();
    let short: String = commit.chars().take(12).collect();
    println!("cargo::rustc-env=PARLOR_COMMIT_SHORT={short}");
    let known: Vec<&str> = [short.as_str(), date.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
    let words = if known.is_empty() { "commit unknown".to_owned() } else { known.join(", ") };
    println!("cargo::rustc-env=PARLOR_COMMIT_WORDS={words}");
}

fn from_outside() -> Option<(String, String)> {
    let commit = std::env::var("PARLOR_COMMIT").ok().filter(|commit| !commit.is_empty())?;
    Some((commit, std::env::var("PARLOR_BUILT").unwrap_or_default()))
}

fn from_git() -> Option<(String, String)> {
    if std::env::var("PROFILE").ok()? != "release" {
        return None;
    }
    // Only this repository: a tarball may lie within another.
    if !Path::new(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", file])?);
    }
    Some((git(&["rev-parse", "HEAD"])?, git(&["log", "-1", "--format=%cs"])?))
}

fn from_archive() -> Option<(String, String)> {
    println!("cargo::rerun-if-changed=commit.txt");
    let text = std::fs::read_to_string("commit.txt").ok()?;
    let (commit, date) = text.trim().split_once(' ')?;
    commit.chars().all(|c| c.is_ascii_hexdigit()).then(|| (commit.to_owned(), date.to_owned()))
}
