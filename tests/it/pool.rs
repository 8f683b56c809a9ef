//! The pool of workers: with the real ones, and with ones that hang, die, lie, flood and do not read.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parlor::config::scripts::ScriptsOptions;
use parlor::ids::{ConversationId, UserId};
use parlor::script::call::{Direction, FailureKind, Input, Language, Ran, SourceHash, Wanted};
use parlor::script::pool::{Job, Lane, Setup, Workers};
use rustix::process::{Pid, Signal, kill_process};

mod alone;
mod faults;
mod illness;
mod real;

/// Bytes of one body in these tests.
const BODY: usize = 1000;
const FORWARD: &str = "function incoming(message) return { action = 'FORWARD' } end";

fn python() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    // A shim would need the environment that a worker does not get.
    let found = std::env::split_paths(&path).filter(|folder| !folder.ends_with("shims"));
    found.map(|folder| folder.join("python3")).find(|program| program.exists()).expect("python3")
}

fn options(wall_ms: u64) -> ScriptsOptions {
    ScriptsOptions { workers: 1, wall_ms, ..ScriptsOptions::default() }
}

/// Workers that behave as `mode` says.
async fn hostile_with(mode: &str, options: &ScriptsOptions) -> Workers {
    Workers::start_as(setup(mode), options, options.run_limits(BODY)).await
}

fn setup(mode: &str) -> Setup {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pool/hostile.py");
    let mut setup = Setup::of(python());
    setup.arguments = vec![script.into(), mode.into()];
    // Python on a machine with much else to do takes its time; those that never answer are waited for in vain.
    let silent = ["no-hello", "hangs-at-trial"].contains(&mode);
    setup.hello_limit = Duration::from_secs(if silent { 2 } else { 30 });
    setup.longest_wait = Duration::from_millis(200);
    setup
}

async fn hostile(mode: &str) -> Workers {
    hostile_with(mode, &options(500)).await
}

async fn real() -> Workers {
    let options = options(500);
    Workers::start_as(Setup::of(env!("CARGO_BIN_EXE_parlor").into()), &options, options.run_limits(BODY)).await
}

fn job(owner: i64, source: &str, body: &str) -> Job {
    let input = Input {
        message_body: body.into(),
        own_id: UserId(owner),
        sender_id: UserId(1_000_000),
        recipient_ids: vec![UserId(owner)],
        from_auto_reply: false,
        conversation_id: ConversationId::of([UserId(owner), UserId(1_000_000)]),
        first_contact: false,
        sent_at: 0,
    };
    Job {
        owner: UserId(owner),
        language: Language::Luau,
        hash: SourceHash::of(source),
        source: source.into(),
        direction: Direction::Incoming,
        input,
        seed: 0,
        lane: Lane::Shared,
    }
}

fn kind(ran: &Ran) -> Option<FailureKind> {
    ran.outcome.as_ref().err().map(|failure| failure.kind)
}

fn detail(ran: &Ran) -> &str {
    &ran.outcome.as_ref().expect_err("a failure").detail
}

/// The children of this process whose command line has `part`: their pids and whether they are zombies.
fn children(part: &str) -> Vec<(Pid, bool)> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let child = |pid: String| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?, fields.next()?);
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let ours = parent == own && (state == "Z" || line.replace('\0', " ").contains(part));
        ours.then(|| (Pid::from_raw(pid.parse().unwrap()).unwrap(), state == "Z"))
    };
    entries.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter_map(child).collect()
}
