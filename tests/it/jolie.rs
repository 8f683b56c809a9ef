//! Jolie, as far as it is not what both languages have in common: what is not there, what is confined, what is recycled.
//!
//! Needs what `make jolie` makes; `tests/setup.sh` puts it beside what else the tests need.

use std::path::{Path, PathBuf};

use parlor::config::jolie::JolieOptions;
use parlor::config::scripts::ScriptsOptions;
use parlor::ids::UserId;
use parlor::script::call::{Direction, Failure, FailureKind, Language, Ran, SourceHash, Wanted};
use parlor::script::jolie::home::Home;
use parlor::script::pool::{Job, Lane, Setup, Workers};

use crate::hostile::input;

mod chat;
mod confined;
mod hostile;
mod lives;
mod services;

/// Bytes of a body.
const BODY: usize = 65_536;

/// Where `tests/setup.sh` put it.
pub(crate) fn home() -> PathBuf {
    crate::app::cache().join("jolie")
}

/// Real workers, of Jolie too.
pub(crate) async fn workers(options: &ScriptsOptions) -> Workers {
    workers_at(&home(), options).await
}

async fn workers_at(home: &Path, options: &ScriptsOptions) -> Workers {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_parlor"));
    let home = Home::open(home).expect("run tests/setup.sh");
    let jolie = Setup::jolie(program.clone(), &home, options.jolie.memory_bytes());
    Workers::start_with(Setup::of(program), Ok(jolie), options, options.run_limits(BODY)).await
}

/// Settings with these of Jolie.
fn options(jolie: JolieOptions) -> ScriptsOptions {
    ScriptsOptions { workers: 1, jolie, ..ScriptsOptions::default() }
}

fn job(owner: i64, direction: Direction, source: &str, body: &str) -> Job {
    let owner = UserId(owner);
    let input = input(owner, body);
    Job {
        owner,
        language: Language::Jolie,
        hash: SourceHash::of(source),
        source: source.into(),
        direction,
        input,
        seed: 7,
        lane: Lane::Trial,
    }
}

async fn incoming(workers: &Workers, owner: i64, source: &str) -> Ran {
    workers.run(job(owner, Direction::Incoming, source, "hello")).await
}

/// A script that prints an answer, the text of which is this expression.
fn answering(more: &str, text: &str) -> String {
    format!(
        "include \"console.iol\"\ninclude \"json_utils.iol\"\n{more}\nmain {{\n  result.action = \"FORWARD\";\n  \
         result.reply.to = 1;\n  result.reply.message = {text};\n  getJsonString@JsonUtils( result )( json );\n  \
         println@Console( json )()\n}}"
    )
}

/// What it answered.
fn answer(ran: &Ran) -> &str {
    match &ran.outcome {
        Ok(Wanted::Incoming { replies, .. }) if replies.len() == 1 => &replies[0].message_body,
        other => panic!("{other:?}"),
    }
}

fn failure(ran: &Ran) -> (FailureKind, &str) {
    match &ran.outcome {
        Err(Failure { kind, detail, .. }) => (*kind, detail),
        other => panic!("{other:?}"),
    }
}
