//! The command line: what `parlor` can be told to do, one command, one file.

use clap::{Parser, Subcommand};

pub mod migrate;
pub mod serve;
pub mod user;

/// A chat server whose users program their own messages.
#[derive(Debug, Parser)]
#[command(
    name = "parlor",
    version,
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
    /// Bring the tables of a data folder up to date, or say how they stand
    Migrate(migrate::MigrateArgs),
    /// Look after accounts, with the server stopped or running
    #[command(subcommand)]
    User(user::UserCommand),
    /// Chat in this terminal
    Chat(crate::chat::ChatArgs),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// What went wrong, in words for people.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Migrate(args) => migrate::run(args).await,
            Command::User(command) => command.run().await,
            Command::Chat(args) => crate::chat::run(args).await,
        }
    }
}
