//! What a run in Jolie costs, beside one Java process for each message, and what scripts in Luau notice of it.
//!
//! `cargo bench --bench jolie [-- warm luau java]`, after `make jolie`; `PARLOR_JOLIE=FOLDER` names another folder. With
//! `PARLOR_JOLIE_CLI=FILE`, the `jolie-cli` of Maven Central, Java as such is measured too.
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a measurement for a person to read")]

use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parlor::config::jolie::JolieOptions;
use parlor::config::scripts::ScriptsOptions;
use parlor::ids::UserId;
use parlor::script::call::{Direction, Language, SourceHash};
use parlor::script::jolie::home::Home;
use parlor::script::pool::{Job, Lane, Setup, Workers};

use self::input::input;

#[path = "shared/input.rs"]
mod input;

const BODY: usize = 65_536;
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(10);
/// How often Luau is measured alone and beside Jolie, and for how long each time.
const TURNS: u32 = 4;
const TURN: Duration = Duration::from_secs(4);
/// Runs with a pause before each.
const PACED_RUNS: usize = 300;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Runs of Java as such.
const PLAIN_RUNS: usize = 12;
const JOLIE: &str = r#"
include "console.iol"
include "json_utils.iol"
include "string_utils.iol"
main {
  getJsonValue@JsonUtils( args[0] )( message );
  contains@StringUtils( message.messageBody { .substring = "unsubscribe" } )( unwanted );
  if ( unwanted ) {
    result.action = "DROP"
  } else {
    result.action = "FORWARD";
    result.reply.to = message.senderID;
    result.reply.message = "Got it."
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}"#;
const LUAU: &str = r#"
function incoming(message)
  if message.messageBody:find("unsubscribe", 1, true) then return { action = "DROP" } end
  return { action = "FORWARD", reply = { { to = message.senderId, message = "Got it." } } }
end"#;

fn home() -> Home {
    let variables = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let named = variables("PARLOR_JOLIE");
    Home::find(named.as_deref(), &program(), variables).unwrap_or_else(|why| panic!("{why}"))
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_parlor"))
}

async fn workers(jolie: JolieOptions) -> Workers {
    let options = ScriptsOptions { jolie, ..ScriptsOptions::default() };
    let setup = Setup::jolie(program(), &home(), options.jolie.memory_bytes());
    Workers::start_with(Setup::of(program()), Ok(setup), &options, options.run_limits(BODY)).await
}

fn job(owner: i64, language: Language) -> Job {
    let owner = UserId(owner);
    let source = if language == Language::Jolie { JOLIE } else { LUAU };
    let input = input(owner);
    let (hash, source, direction) = (SourceHash::of(source), source.into(), Direction::Incoming);
    Job { owner, language, hash, source, direction, input, seed: 7, lane: Lane::Shared }
}

/// Makes a run; says how long it took.
async fn run(workers: &Workers, owner: i64, language: Language) -> Duration {
    let begin = Instant::now();
    let ran = workers.run(job(owner, language)).await;
    assert!(ran.outcome.is_ok(), "{ran:?}");
    begin.elapsed()
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms", at(50), at(99), at(100))
}

/// Runs of so many owners at once, one after the other for each.
async fn owners_at_once(workers: &Workers, owners: i64, duration: Duration) -> Vec<Duration> {
    let one = async |owner: i64| {
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < duration {
            times.push(run(workers, owner, Language::Jolie).await);
        }
        times
    };
    futures_util::future::join_all((1..=owners).map(one)).await.concat()
}

/// What one place of `server` takes at most, the worker and its Java, while something goes on: resident, and with what
/// is shared with others counted in parts (PSS).
async fn most_memory(server: u32, during: impl Future<Output = ()>) -> String {
    let (mut most, mut during) = ((0, 0), pin!(during));
    loop {
        for (resident, share) in memory(server) {
            most = (most.0.max(resident), most.1.max(share));
        }
        tokio::select! {
            () = &mut during => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    let mib = |kib: u64| kib.div_ceil(1024);
    format!("resident {} MiB, PSS {} MiB", mib(most.0), mib(most.1))
}

/// Of each worker for Jolie among the children of `parent`, with its own children, in KiB.
fn memory(parent: u32) -> Vec<(u64, u64)> {
    let is_jolie = |pid: &u32| command(*pid).contains("--jolie");
    let of_place = |worker: u32| {
        let all = [worker].into_iter().chain(children(worker)).filter_map(resident);
        all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    };
    children(parent).into_iter().filter(is_jolie).map(of_place).collect()
}

fn command(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_task = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let listed: Vec<String> = tasks.map(of_task).collect();
    listed.iter().flat_map(|pids| pids.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// Resident memory and PSS of a process, in KiB.
fn resident(pid: u32) -> Option<(u64, u64)> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((field("Rss:")?, field("Pss:")?))
}

/// One Java for each message, started plainly by the command line that the documentation of the language has.
async fn plain_java(home: &Home, cli: &str, heap: &str) -> String {
    let script = tempfile::NamedTempFile::with_suffix(".ol").unwrap();
    std::fs::write(script.path(), JOLIE).unwrap();
    let message = r#"{"messageBody": "Hello there", "ownID": 2, "senderID": 1, "recipientIDs": [2]}"#;
    let (mut times, mut most) = (Vec::new(), 0);
    for _ in 0..PLAIN_RUNS {
        let begin = Instant::now();
        let mut java = Command::new(home.path.join("runtime/bin/java"));
        let class_path = format!("{}:{cli}", home.class_path);
        java.current_dir(&home.path).args(["-Xshare:auto", heap, "-cp", &class_path, "jolie.Jolie"]);
        java.args(["-l", "./*", "-i", "include"]).arg(script.path()).arg(message);
        let mut java = java.stdout(Stdio::null()).spawn().unwrap();
        while java.try_wait().unwrap().is_none() {
            most = most.max(resident(java.id()).unwrap_or_default().0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(java.wait().unwrap().success());
        times.push(begin.elapsed());
    }
    let all: Duration = times.iter().sum();
    let rate = times.len() as f64 / all.as_secs_f64();
    format!("{rate:.1} runs/s; {}; resident {} MiB", shown(times), most / 1024)
}

async fn luau_for(workers: &Workers, duration: Duration) -> Vec<Duration> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while begin.elapsed() < duration {
        times.push(run(workers, 9, Language::Luau).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    times
}

/// Of interpreters that stay.
async fn warm(places: i64) {
    let resident = workers(JolieOptions { runs: 1_000_000, ..JolieOptions::default() }).await;
    let first = run(&resident, 1, Language::Jolie).await;
    println!("first run with no interpreter ready: {:.0} ms", first.as_secs_f64() * 1e3);
    tokio::time::sleep(TURN).await;
    let first = run(&resident, 2, Language::Jolie).await;
    println!("first run of an owner, the spare taken: {:.0} ms", first.as_secs_f64() * 1e3);
    tokio::time::sleep(TURN).await;
    let mut paced = Vec::new();
    for _ in 0..PACED_RUNS {
        paced.push(run(&resident, 1, Language::Jolie).await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    println!("warm, one owner, a message now and then: {}", shown(paced));
    for owners in [1, 2, places] {
        let mut times = Vec::new();
        let during = async { times = owners_at_once(&resident, owners, MEASURED).await };
        let memory = most_memory(std::process::id(), during).await;
        let rate = times.len() as f64 / MEASURED.as_secs_f64();
        println!("warm, owners at once {owners}: {rate:.0} runs/s; {}; a place: {memory}", shown(times));
    }
    resident.stop().await;
}

/// Luau by turns alone and beside Jolie at its limit, so that both meet the same machine.
async fn luau(places: i64) {
    let workers = workers(JolieOptions { runs: 1_000_000, ..JolieOptions::default() }).await;
    owners_at_once(&workers, places, TURN).await;
    let (mut alone, mut beside, mut jolie) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        alone.append(&mut luau_for(&workers, TURN).await);
        let (mut luau, runs) = tokio::join!(luau_for(&workers, TURN), owners_at_once(&workers, places, TURN));
        beside.append(&mut luau);
        jolie += runs.len();
    }
    println!("Luau, a run every millisecond or so, alone: {}", shown(alone));
    let rate = jolie as f64 / (f64::from(TURNS) * TURN.as_secs_f64());
    println!("the same beside Jolie at its limit ({rate:.0} runs/s): {}", shown(beside));
    workers.stop().await;
}

/// One Java for each message.
async fn java() {
    let one_each = workers(JolieOptions { workers: 1, runs: 1, ..JolieOptions::default() }).await;
    let times = owners_at_once(&one_each, 1, MEASURED).await;
    let rate = times.len() as f64 / MEASURED.as_secs_f64();
    println!("one Java for each message, confined as here: {rate:.1} runs/s; {}", shown(times));
    one_each.stop().await;
    if let Ok(cli) = std::env::var("PARLOR_JOLIE_CLI") {
        for heap in ["-Xmx32m", "-Xmx6g"] {
            println!("one Java for each message, plain, {heap}: {}", plain_java(&home(), &cli, heap).await);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let parts: Vec<String> = std::env::args().skip(1).filter(|part| !part.starts_with("--")).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let places = JolieOptions::default().places(std::thread::available_parallelism().unwrap().get());
    let places = i64::try_from(places).unwrap();
    if wanted("warm") {
        warm(places).await;
    }
    if wanted("luau") {
        luau(places).await;
    }
    if wanted("java") {
        java().await;
    }
}
