//! `parlor migrate`: the tables, brought up to date.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::store::{self, Store};

/// What to migrate.
#[derive(Debug, Args)]
#[command(after_help = "The server does the same at its start. Example:\n  parlor migrate --data /var/lib/parlor")]
pub struct MigrateArgs {
    /// The data folder; it is made, for its owner only, if there is none
    #[arg(long, value_name = "DIR", env = "PARLOR_DATA", default_value = "parlor-data")]
    data: PathBuf,
}

/// Brings the tables up to date.
///
/// # Errors
/// When the folder or the tables cannot be used.
pub async fn run(args: MigrateArgs) -> anyhow::Result<()> {
    let folder = args.data.display();
    store::make_folder(&args.data).with_context(|| format!("cannot make the data folder {folder}"))?;
    let store = Store::open(&args.data).await.with_context(|| format!("cannot open the data in {folder}"))?;
    let applied = store.migrations().await?;
    store.close().await;
    let mut out = std::io::stdout();
    for (version, name) in applied {
        writeln!(out, "{version:04} {name}")?;
    }
    writeln!(out, "the tables in {folder} are up to date")?;
    Ok(())
}
