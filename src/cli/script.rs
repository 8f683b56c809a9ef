//! `parlor script`: scripts from the command line; checked and tried here, looked after at a server.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use crate::client::LoginArgs;
use crate::script::call::{Direction, Language};

mod local;
mod remote;
mod report;

/// Write, try and look after scripts.
#[derive(Debug, Subcommand)]
pub enum ScriptCommand {
    /// See whether a script compiles; needs no server
    #[command(after_help = "Example:\n  parlor script check signature.luau")]
    Check {
        /// Which
        #[command(flatten)]
        file: ScriptFile,
        /// How
        #[command(flatten)]
        how: LocalArgs,
    },
    /// Run a script on a message and see what would come of it; needs no server, sends nothing
    ///
    /// Ends with status 1 when a run failed.
    #[command(after_help = "Examples:\n  \
        parlor script try signature.luau --message 'See you at eight.'\n  \
        parlor script try block-list.luau --message 'Hello?' --from 13 --from 14\n  \
        parlor script try away.luau --sample evening.json --json\n\n\
        A sample is a message, or a list of them, as POST /users/{id}/scripts/{direction}/try takes it; only messageBody is needed:\n  \
        {\"messageBody\": \"Hello?\", \"senderId\": 13, \"sentAt\": \"2026-01-05T22:30:00Z\"}\n\
        The script's own user is number 1.")]
    Try {
        /// Which
        #[command(flatten)]
        file: ScriptFile,
        /// On what
        #[command(flatten)]
        on: local::OnArgs,
        /// How
        #[command(flatten)]
        how: LocalArgs,
        /// Print each result as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Upload a script as a new version
    #[command(after_help = "Examples:\n  \
        parlor script push signature.luau --as ada --activate\n  \
        PARLOR_PASSWORD=… parlor script push block-list.luau --as ada --url https://chat.example.org")]
    Push {
        /// Which
        #[command(flatten)]
        file: ScriptFile,
        /// Let it run from the next message on
        #[arg(long)]
        activate: bool,
        /// Where
        #[command(flatten)]
        at: AtArgs,
    },
    /// Let a version run from the next message on
    #[command(after_help = "Example:\n  parlor script activate 3 --direction incoming --as ada")]
    Activate {
        /// The version's number
        version: u32,
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Let the version run that comes before the one activated last: the highest number below it that is still there
    #[command(after_help = "Example:\n  parlor script rollback --direction incoming --as ada")]
    Rollback {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Let no version run from the next message on
    #[command(after_help = "Example:\n  parlor script disable --direction outgoing --as ada")]
    Disable {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// List the versions
    #[command(after_help = "Example:\n  parlor script versions --direction incoming --as ada")]
    Versions {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Print the source of a version
    #[command(after_help = "Example:\n  parlor script show 2 --direction incoming --as ada > old.luau")]
    Show {
        /// The version's number; without it, the one that runs, or else the newest
        version: Option<u32>,
        /// Which
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Print what a script did and why: its failures with their lines, prints, replies
    #[command(after_help = "Example, until interrupted:\n  parlor script log --direction incoming --follow --as ada")]
    Log {
        /// Which
        #[command(flatten)]
        which: WhichArgs,
        /// How many of the newest entries: 1 to 100
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Go on with what is new, looked for every two seconds
        #[arg(long, short)]
        follow: bool,
    },
}

/// A script's file.
#[derive(Debug, Args)]
pub struct ScriptFile {
    /// The file, a source in Luau (`.luau`) or in Jolie (`.ol`)
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Which messages it is for; without this, the file says so itself: by its function, or in Jolie by a line
    /// `// direction: incoming`
    #[arg(long, value_name = "incoming|outgoing")]
    direction: Option<Direction>,
}

/// How scripts are checked and run here.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// Go on although the kernel cannot confine the worker: a script that breaks out of the interpreter is then you
    #[arg(long)]
    run_unconfined: bool,
}

/// Whose scripts, and where.
#[derive(Debug, Args)]
pub struct AtArgs {
    /// Who logs in where
    #[command(flatten)]
    login: LoginArgs,
    /// Whose scripts, by id: for administrators
    #[arg(long, value_name = "ID", default_value = "me")]
    user: String,
}

/// Which script.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Which of the two
    #[arg(long, value_name = "incoming|outgoing")]
    direction: Direction,
    /// Where
    #[command(flatten)]
    at: AtArgs,
}

impl ScriptCommand {
    /// Does what it says, and prints what came of it.
    ///
    /// # Errors
    /// What could not be done, and what is wrong with a script, for whoever typed it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check { file, how } => local::check(&file.read()?, &how).await,
            Self::Try { file, on, how, json } => local::try_out(&file.read()?, on, &how, json).await,
            Self::Push { file, activate, at } => remote::push(&file.read()?, activate, at).await,
            Self::Activate { version, which } => remote::activate(version, which).await,
            Self::Rollback { which } => remote::rollback(which).await,
            Self::Disable { which } => remote::disable(which).await,
            Self::Versions { which } => remote::versions(which).await,
            Self::Show { version, which } => remote::show(version, which).await,
            Self::Log { which, limit, follow } => remote::log(which, limit, follow).await,
        }
    }
}

/// A script that was read.
struct Script {
    name: String,
    source: String,
    language: Language,
    direction: Direction,
}

impl ScriptFile {
    fn read(&self) -> anyhow::Result<Script> {
        let name = self.path.display().to_string();
        let source = read(&self.path)?;
        let ending = self.path.extension().and_then(|ending| ending.to_str());
        // Whatever else it is called, it is taken for Luau.
        let named = Language::ALL.into_iter().find(|language| ending == Some(language.ending()));
        let language = named.unwrap_or(Language::Luau);
        let direction = match (self.direction, language) {
            (Some(direction), _) => direction,
            (None, Language::Luau) => guess(&source).with_context(|| name.clone())?,
            (None, Language::Jolie) => said(&source).with_context(|| name.clone())?,
        };
        Ok(Script { name, source, language, direction })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The direction, told from the function that a source defines.
fn guess(source: &str) -> anyhow::Result<Direction> {
    let defines = |direction: &Direction| {
        source.lines().any(|line| {
            let rest = line.trim_start();
            let after = |text: &str| rest.strip_prefix(text)?.trim_start().strip_prefix(direction.name());
            let called = after("function ").is_some_and(|rest| rest.trim_start().starts_with('('));
            let assigned = after("").is_some_and(|rest| {
                let rest = rest.trim_start();
                rest.starts_with('=') && !rest.starts_with("==")
            });
            called || assigned
        })
    };
    let found: Vec<Direction> = [Direction::Incoming, Direction::Outgoing].into_iter().filter(defines).collect();
    match found[..] {
        [direction] => Ok(direction),
        [] => bail!("it defines neither `incoming` nor `outgoing`; say which it is for with --direction"),
        _ => bail!("it defines both `incoming` and `outgoing`; say which it is for with --direction"),
    }
}

/// The direction that a source in Jolie says in a comment: it has no function of that name.
fn said(source: &str) -> anyhow::Result<Direction> {
    let said = source.lines().find_map(|line| line.trim().strip_prefix("//")?.trim().strip_prefix("direction:"));
    match said.and_then(|word| word.trim().parse().ok()) {
        Some(direction) => Ok(direction),
        None => bail!("say which messages it is for: with --direction, or in it by a line `// direction: incoming`"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: ScriptCommand,
    }

    fn parse(line: &str) -> Result<ScriptCommand, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn the_direction_is_told_from_the_function_that_is_defined() {
        let direction = |source: &str| guess(source).ok();
        assert_eq!(direction("function incoming(message)\nend"), Some(Direction::Incoming));
        assert_eq!(direction("  function  outgoing (message) end"), Some(Direction::Outgoing));
        assert_eq!(direction("outgoing = function(message) end"), Some(Direction::Outgoing));
        for neither in
            ["", "-- function incoming(", "local function incoming(m) end", "function incomings() end", "incoming == 1"]
        {
            assert_eq!(direction(neither), None, "{neither}");
        }
        assert_eq!(direction("function incoming() end\nfunction outgoing() end"), None);
    }

    #[test]
    fn the_language_is_told_from_the_name_and_jolie_says_its_direction() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, source: &str, direction| {
            let path = folder.path().join(name);
            std::fs::write(&path, source).unwrap();
            ScriptFile { path, direction }.read().map(|script| (script.language, script.direction)).ok()
        };
        let jolie = "// Swap\n  // direction: outgoing\nmain {}";
        assert_eq!(read("a.ol", jolie, None), Some((Language::Jolie, Direction::Outgoing)));
        assert_eq!(read("a.ol", "main {}", None), None);
        assert_eq!(read("a.ol", "main {}", Some(Direction::Incoming)), Some((Language::Jolie, Direction::Incoming)));
        assert_eq!(read("a.luau", jolie, None), None, "it has no function");
        let luau = "function incoming(message) end";
        assert_eq!(read("a.luau", luau, None), Some((Language::Luau, Direction::Incoming)));
        assert_eq!(read("a", luau, None), Some((Language::Luau, Direction::Incoming)));
    }

    #[test]
    fn a_command_says_what_it_needs() {
        assert!(parse("script check a.luau").is_ok());
        assert!(
            parse("script check a.luau --direction sideways")
                .unwrap_err()
                .to_string()
                .contains("`incoming` or `outgoing`")
        );
        assert!(parse("script try a.luau").is_err(), "on nothing");
        assert!(parse("script try a.luau --message x --from 3 --from 4").is_ok());
        assert!(parse("script push a.luau").is_err(), "as nobody");
        assert!(parse("script push a.luau --as ada --activate").is_ok());
        assert!(parse("script activate --direction incoming --as ada").is_err(), "no version");
        assert!(parse("script rollback --as ada").is_err(), "no direction");
        for (limit, fine) in [(0, false), (1, true), (100, true), (101, false)] {
            let line = format!("script log --direction incoming --as ada --limit {limit}");
            assert_eq!(parse(&line).is_ok(), fine, "{limit}");
        }
    }
}
