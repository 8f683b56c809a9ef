//! A load generator for Parlor that checks what it sends. See `README.md` beside `Cargo.toml`.

mod accounts;
mod book;
mod check;
mod cli;
mod connect;
mod connection;
mod figures;
mod hub;
mod line;
mod machine;
mod meter;
#[cfg(test)]
mod mock;
mod pace;
mod progress;
mod report;
mod scenario;
mod server;
mod table;
mod wire;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;

use crate::{
    cli::{Cli, Scenario},
    progress::say,
    report::Report,
    scenario::{Stage, chat::Plan, handover, idle, storm},
    server::Server,
};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// True if the check was clean.
fn run(cli: Cli) -> anyhow::Result<bool> {
    machine::raise_file_limit();
    // One thread: all state is in plain cells, and the generator takes one processor at most.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let json = cli.json.clone();
    let report = tokio::task::LocalSet::new().block_on(&runtime, perform(cli))?;
    show(&report, json.as_deref())?;
    Ok(report.check.passed)
}

async fn perform(cli: Cli) -> anyhow::Result<Report> {
    let server = Server::find(&cli.target).await?;
    let stage = Stage { server: &server, drain: Duration::from_secs(cli.drain) };
    let report = tokio::select! {
        report = play(cli.scenario, &stage) => report,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let stopped = server.stop().await;
    let report = report?;
    if let Err(error) = stopped {
        // What was measured stands; that the server does not stop is worth a word of its own.
        say(&format!("warning: {error:#}"));
    }
    Ok(report)
}

async fn play(scenario: Scenario, stage: &Stage<'_>) -> anyhow::Result<Report> {
    match scenario {
        Scenario::Pairs(pairs) => Plan::pairs(pairs).run(stage).await,
        Scenario::Groups(groups) => Plan::groups(groups).run(stage).await,
        Scenario::Soak(soak) => Plan::soak(soak).run(stage).await,
        Scenario::Idle(idle) => idle::run(idle, stage).await,
        Scenario::Storm(storm) => storm::run(storm, stage).await,
        Scenario::Drain(plan) => handover::run(plan, handover::End::Drain, stage).await,
        Scenario::Death(plan) => handover::run(plan, handover::End::Death, stage).await,
    }
}

#[allow(clippy::print_stdout, reason = "the result is what this program is for")]
fn show(report: &Report, json: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = json else {
        print!("{report}");
        return Ok(());
    };
    let text = serde_json::to_string_pretty(report)?;
    if path == Path::new("-") {
        say(&report.to_string());
        println!("{text}");
    } else {
        print!("{report}");
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
