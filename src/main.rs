//! The command line.

use clap::{Parser, Subcommand};
use parlor::cli::user::UserCommand;

/// A chat server whose users program their own messages.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look after the accounts of a data folder
    #[command(subcommand)]
    User(UserCommand),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::User(command) => command.run().await,
    }
}
