//! The command line: what `parlor` can be told to do, one command, one file.

use std::io::{self, Write as _};

use clap::{Parser, Subcommand};

pub mod backup;
pub mod migrate;
pub mod script;
pub mod serve;
pub mod tables;
pub mod user;
pub mod worker;

/// A chat server whose users program their own messages.
#[derive(Debug, Parser)]
#[command(
    name = "parlor",
    version = crate::version::LONG,
    about,
    after_help = "Begin with:\n  \
    parlor serve --data parlor-data\n  \
    parlor chat --as alice --register --with bob      (in another terminal)"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Bring the tables up to date, or say what that would change
    Migrate(migrate::MigrateArgs),
    /// Copy the data folder, with the server stopped or running
    Backup(backup::BackupArgs),
    /// Make a data folder of a copy
    Restore(backup::RestoreArgs),
    /// Look after accounts, with the server stopped or running
    #[command(subcommand)]
    User(user::UserCommand),
    /// Write, try and look after scripts
    #[command(subcommand)]
    Script(script::ScriptCommand),
    /// Chat in this terminal
    Chat(crate::chat::ChatArgs),
    /// Host script engines for the server that started this process
    #[command(hide = true)]
    Worker(worker::WorkerArgs),
}

impl Cli {
    /// Whether this process is to be a script worker, which must be neither a runtime nor more than one thread.
    #[must_use]
    pub fn worker(&self) -> Option<&worker::WorkerArgs> {
        match &self.command {
            Command::Worker(args) => Some(args),
            _ => None,
        }
    }

    /// Does what was asked.
    ///
    /// # Errors
    /// What went wrong, in words for people.
    pub async fn run(self) -> anyhow::Result<()> {
        let done = match self.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Migrate(args) => migrate::run(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(args).await,
            Command::User(command) => command.run().await,
            Command::Script(command) => command.run().await,
            Command::Chat(args) => crate::chat::run(args).await,
            Command::Worker(args) => worker::run(&args),
        };
        done.map_err(|error| once(&error))
    }
}

/// An error with its causes, each said once: some of ours name their cause in their own words already.
fn once(error: &anyhow::Error) -> anyhow::Error {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    anyhow::anyhow!(words)
}

/// A line of output. Whoever reads may stop reading (`| head`): that is no error of theirs.
pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_is_said_once() {
        let nested =
            Err::<(), _>(std::io::Error::other("no room")).context("cannot write d: no room").context("stopped");
        assert_eq!(format!("{:#}", once(&nested.unwrap_err())), "stopped: cannot write d: no room");
        assert_eq!(format!("{:#}", once(&anyhow::anyhow!("inner").context("outer"))), "outer: inner");
    }
}
