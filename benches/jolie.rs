//! What a run in Jolie costs, beside one Java process for each message, and what scripts in Luau notice of it.
//!
//! `cargo bench --bench jolie`, after `make jolie`; `PARLOR_JOLIE=FOLDER` names another folder.
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a measurement for a person to read")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parlor::config::jolie::JolieOptions;
use parlor::config::scripts::ScriptsOptions;
use parlor::ids::{ConversationId, UserId};
use parlor::script::call::{Direction, Input, Language, SourceHash};
use parlor::script::jolie::home::Home;
use parlor::script::pool::{Job, Lane, Setup, Workers};

const BODY: usize = 65_536;
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
    let input = Input {
        message_body: "Hello there, shall we meet tomorrow at noon?".into(),
        own_id: owner,
        sender_id: UserId(1),
        recipient_ids: vec![owner],
        from_auto_reply: false,
        conversation_id: ConversationId::of([owner, UserId(1)]),
        first_contact: false,
        sent_at: 1_700_000_000_000,
    };
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

/// Resident memory, proportionally shared, of all Java processes of ours, and of the greatest.
fn memory() -> (usize, u64) {
    let pss = |pid: &str| -> Option<u64> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        if !line.contains("parlor.jolie.Host") {
            return None;
        }
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find(|line| line.starts_with("Rss:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let found: Vec<u64> = entries.filter_map(|entry| pss(entry.file_name().to_str()?)).collect();
    (found.len(), found.into_iter().max().unwrap_or_default() / 1024)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let resident = workers(JolieOptions { runs: 1_000_000, ..JolieOptions::default() }).await;
    println!(
        "first run with no interpreter ready: {:.0} ms",
        run(&resident, 1, Language::Jolie).await.as_secs_f64() * 1e3
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!(
        "first run of an owner, the spare taken: {:.0} ms",
        run(&resident, 2, Language::Jolie).await.as_secs_f64() * 1e3
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    let warm = owners_at_once(&resident, 1, Duration::from_secs(10)).await;
    println!("warm, one owner: {:.0} runs/s; {}", warm.len() as f64 / 10.0, shown(warm));
    let mut paced = Vec::new();
    for _ in 0..200 {
        paced.push(run(&resident, 1, Language::Jolie).await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    println!("warm, one owner, a message now and then: {}", shown(paced));
    for owners in [2, 3] {
        let times = owners_at_once(&resident, owners, Duration::from_secs(10)).await;
        println!("warm, {owners} owners at once: {:.0} runs/s; {}", times.len() as f64 / 10.0, shown(times));
    }
    let (count, greatest) = memory();
    println!("memory after all of it: {count} Java processes, the greatest with {greatest} MiB resident");

    let luau = async |what: &str| {
        let mut times = Vec::new();
        for _ in 0..3000 {
            times.push(run(&resident, 9, Language::Luau).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("Luau, 1 run every ms or two, {what}: {}", shown(times));
    };
    luau("alone").await;
    tokio::join!(luau("beside Jolie at its limit"), owners_at_once(&resident, 4, Duration::from_secs(8)));
    resident.stop().await;

    let one_each = workers(JolieOptions { workers: 1, runs: 1, ..JolieOptions::default() }).await;
    let times = owners_at_once(&one_each, 1, Duration::from_secs(15)).await;
    println!("one Java for each message: {:.1} runs/s; {}", times.len() as f64 / 15.0, shown(times));
    one_each.stop().await;
}
