//! `parlor backup` and `parlor restore`: a copy of a data folder, with the server stopped or running, and the way back.

use std::path::PathBuf;

use clap::Args;

use super::say;
use crate::backup::{self, Manifest};
use crate::clock::Clock;

/// What to copy, and where to.
#[derive(Debug, Args)]
#[command(
    after_help = "All that was accepted before the copy began is in it. A cluster has no data folder: back Postgres up by its \
    own means (docs/operations.md).\n\nExample:\n  parlor backup /backups/monday --data /var/lib/parlor"
)]
pub struct BackupArgs {
    /// The folder to make; there must be none of its name, or an empty one
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// The data folder
    #[arg(long = "data", value_name = "DIR", default_value = "parlor-data", env = "PARLOR_DATA")]
    data: PathBuf,
}

/// Which copy, and where to.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  parlor restore /backups/monday --data /var/lib/parlor")]
pub struct RestoreArgs {
    /// What `parlor backup` made
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
    /// The data folder to make; there must be none of its name, or an empty one
    #[arg(long = "data", value_name = "DIR", env = "PARLOR_DATA")]
    data: PathBuf,
}

/// Makes a copy.
///
/// # Errors
/// When there is none.
pub async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let made = backup::take(&args.data, &args.to, &Clock::system()).await?;
    say(&format!("{} is in {}: {}", args.data.display(), args.to.display(), describe(&made)))
}

/// Makes a data folder of a copy.
///
/// # Errors
/// When there is none.
pub async fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    let made = backup::restore(&args.from, &args.data).await?;
    say(&format!("{} is as it was at {}: {}", args.data.display(), made.begun_at.to_rfc3339(), describe(&made)))
}

fn describe(made: &Manifest) -> String {
    format!(
        "tables of {} KiB, {} files of the journal, {} sources of scripts",
        made.table_bytes / 1024,
        made.journal_files,
        made.sources
    )
}
