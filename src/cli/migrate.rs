//! `parlor migrate`: the tables, brought up to date, or what that would do.

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::say;
use super::tables::{Place, TablesArgs};
use crate::store::migrations::{State, Step};

/// What to migrate.
#[derive(Debug, Args)]
#[command(after_help = "The server applies what is pending at its start, unless database.migrate_at_start is false. \
    Examples:\n  \
    parlor migrate --data /var/lib/parlor\n  \
    PARLOR_DATABASE_URL=postgres://… parlor migrate plan")]
pub struct MigrateArgs {
    /// What to do
    #[arg(value_enum, default_value_t = What::Apply)]
    what: What,
    #[command(flatten)]
    tables: TablesArgs,
}

/// What to do about migrations.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Print what would be applied, with its SQL, and change nothing; status 1 when a migration was changed
    Plan,
    /// Apply what is pending; several at once do it once
    Apply,
    /// List all, and how each stands to the tables
    Status,
}

/// Does what it says about the tables.
///
/// # Errors
/// When the folder or the tables cannot be used.
pub async fn run(args: MigrateArgs) -> anyhow::Result<()> {
    let place = args.tables.place()?;
    match args.what {
        What::Plan => plan(&place).await,
        What::Apply => apply(&place).await,
        What::Status => status(&place).await,
    }
}

async fn plan(place: &Place) -> anyhow::Result<()> {
    let steps = place.tables().steps().await?;
    let of = |state: State| steps.iter().filter(move |step| step.state == state);
    let changed: Vec<String> = of(State::Changed).map(label).collect();
    if !changed.is_empty() {
        bail!(
            "{}: not what was applied to {}. A migration is never changed once released; nothing can be applied",
            changed.join(", "),
            place.describe()
        );
    }
    let folder = match place {
        Place::Folder(_) => "migrations/sqlite",
        Place::Database(_) => "migrations/postgres",
    };
    for step in of(State::Pending) {
        say(&format!("-- {folder}/{}.sql\n{}", label(step).replace(' ', "_"), step.sql))?;
    }
    say(&match of(State::Pending).count() {
        0 => format!("-- nothing is to be applied to {}", place.describe()),
        n => format!("-- {n} to be applied to {}; nothing was changed", place.describe()),
    })
}

async fn apply(place: &Place) -> anyhow::Result<()> {
    // What it waits for, if it waits.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr);
    let _ = log.with_ansi(false).try_init();
    place.create().await?.close().await;
    for step in place.tables().steps().await? {
        say(&label(&step))?;
    }
    say(&format!("the tables in {} are up to date", place.describe()))
}

async fn status(place: &Place) -> anyhow::Result<()> {
    for step in place.tables().steps().await? {
        let state = match step.state {
            State::Applied => "applied",
            State::Pending => "pending",
            State::Changed => "changed since it was applied",
            State::Unknown => "applied by another version of Parlor",
        };
        say(&format!("{:<28} {state}", label(&step)))?;
    }
    Ok(())
}

/// Its number and name, as its file has them.
fn label(step: &Step) -> String {
    format!("{:04} {}", step.version, step.name).trim_end().to_owned()
}
