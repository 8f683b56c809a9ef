//! The command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

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
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::User(command) => command.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line for whoever typed it. Where nobody listens on standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "parlor: {error:#}");
            ExitCode::FAILURE
        }
    }
}
