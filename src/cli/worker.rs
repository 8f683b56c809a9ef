//! `parlor worker`: hosts script engines for the server that started it. Not for people.

use clap::Args;

use crate::script::{confine, worker};

/// What `parlor worker` can be told.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Confine this process, try this, and say whether it was stopped
    #[arg(long)]
    attempt: Option<confine::attempt::Attempt>,
}

/// Confines this process and answers its standard input until that ends.
///
/// # Errors
/// In words: the other end does not speak as it should, or is gone.
pub fn run(args: &WorkerArgs) -> anyhow::Result<()> {
    let confined = confine::confine();
    match args.attempt {
        Some(attempt) => anyhow::bail!("not stopped: {}", attempt.make()),
        None => Ok(worker::serve(confined)?),
    }
}
