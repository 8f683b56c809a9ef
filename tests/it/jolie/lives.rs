//! Who has which interpreter, and for how long.

use std::time::{Duration, Instant};

use parlor::config::jolie::JolieOptions;
use parlor::config::scripts::ScriptsOptions;
use parlor::ids::UserId;
use parlor::script::call::{Direction, FailureKind, Language, Wanted};
use parlor::script::pool::{Setup, Workers};

use super::{BODY, answer, answering, failure, incoming, job, options, workers};

/// The workers that this process has started and that host an interpreter with so much memory, and their Java. Each test
/// has its own number of megabytes, because others run beside it.
fn processes(memory_mib: u64) -> Vec<(u32, Vec<u32>)> {
    processes_of(std::process::id(), memory_mib)
}

/// The same of another process.
pub(super) fn processes_of(server: u32, memory_mib: u64) -> Vec<(u32, Vec<u32>)> {
    let bytes = format!("--memory\0{}", memory_mib * 1024 * 1024);
    let children = |parent: u32| -> Vec<u32> {
        let stat = |entry: std::fs::DirEntry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let after = stat.rsplit_once(") ")?.1.to_owned();
            let of: u32 = after.split(' ').nth(1)?.parse().ok()?;
            (of == parent && !after.starts_with('Z')).then_some(pid)
        };
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(stat).collect()
    };
    let is_jolie = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains("--jolie") && line.contains(&bytes))
    };
    let found = children(server).into_iter().filter(is_jolie);
    found.map(|pid| (pid, children(pid))).collect()
}

/// How many processors a process may run on.
fn processors(pid: u32) -> usize {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
    usize::try_from(rustix::thread::sched_getaffinity(pid).unwrap().count()).unwrap()
}

/// How much a process yields to others.
fn niceness(pid: u32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name: state, parent, … and the niceness as the 17th.
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().parse().unwrap()
}

/// Waits until a process has ended; it may be there still, until it is reaped.
pub(super) async fn gone(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z") {
            return;
        }
        assert!(Instant::now() < deadline, "{pid} lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Where processors are short, nothing that is right must be killed.
fn patient() -> JolieOptions {
    JolieOptions { wall_ms: 60_000, ..Default::default() }
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn the_same_seed_and_clock_give_the_same_in_another_interpreter() {
    let workers = workers(&options(JolieOptions { workers: 2, runs: 1, ..patient() })).await;
    let source = answering("include \"math.iol\"\ninclude \"time.iol\"", "r + t")
        .replace("result.action", "random@Math()( r ); getCurrentDateTime@Time()( t );\n  result.action");
    let first = incoming(&workers, 2, &source).await;
    // One run a worker: this is another.
    let second = incoming(&workers, 2, &source).await;
    assert_eq!(answer(&first), answer(&second));
    workers.stop().await;
}

#[tokio::test]
async fn more_owners_than_places_are_all_served_and_none_in_anothers_interpreter() {
    let workers = workers(&options(JolieOptions { workers: 2, ..patient() })).await;
    for owner in [2, 3, 4, 2, 4, 3] {
        let ran = incoming(&workers, owner, &answering("", &format!("\"for {owner}\""))).await;
        assert_eq!(answer(&ran), format!("for {owner}"));
    }
    let all: Vec<_> = (10..14).map(|owner| (owner, answering("", &format!("\"for {owner}\"")))).collect();
    let runs = all.iter().map(|(owner, source)| incoming(&workers, *owner, source));
    for (ran, (owner, _)) in futures_util::future::join_all(runs).await.iter().zip(&all) {
        assert_eq!(answer(ran), format!("for {owner}"));
    }
    workers.stop().await;
}

#[tokio::test]
async fn a_run_that_ends_its_interpreter_is_told_and_the_next_one_is_fine() {
    let workers = workers(&options(JolieOptions { workers: 2, cpu_ms: 400, ..patient() })).await;
    let good = answering("", "\"here\"");
    let spin = incoming(&workers, 2, "main { while( true ) { i++ } }").await;
    assert_eq!(failure(&spin).0, FailureKind::CpuLimit, "{spin:?}");
    assert!(spin.cpu_micros >= 400_000 && spin.cpu_micros < 2_000_000, "{}", spin.cpu_micros);
    assert_eq!(answer(&incoming(&workers, 2, &good).await), "here");
    workers.stop().await;
}

#[tokio::test]
async fn a_run_that_takes_all_memory_is_told_and_the_next_one_is_fine() {
    let workers = workers(&options(JolieOptions { workers: 2, cpu_ms: 20_000, ..patient() })).await;
    let greedy = incoming(&workers, 2, "main { s = \"0123456789\"; while( true ) { s = s + s } }").await;
    assert_eq!(failure(&greedy).0, FailureKind::HeapLimit, "{greedy:?}");
    assert!(greedy.cpu_micros >= 10_000, "what it used counts: {greedy:?}");
    assert_eq!(answer(&incoming(&workers, 2, &answering("", "\"here\"")).await), "here");
    workers.stop().await;
}

#[tokio::test]
async fn a_run_that_does_nothing_is_killed_at_the_wall_limit_and_its_java_goes_with_it() {
    let workers = workers(&options(JolieOptions { workers: 1, memory_mib: 131, ..Default::default() })).await;
    let begin = Instant::now();
    let hangs = "main { linkIn( never ) }";
    let (hang, before) = tokio::join!(incoming(&workers, 2, hangs), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let found = processes(131);
        assert!(found.iter().flat_map(|(_, java)| java).all(|java| niceness(*java) == 10), "{found:?}");
        let half = processors(std::process::id()).div_ceil(2);
        assert!(found.iter().flat_map(|(_, java)| java).all(|java| processors(*java) == half), "{found:?}");
        found
    });
    assert_eq!(failure(&hang).0, FailureKind::WorkerKilled);
    assert!(begin.elapsed() >= Duration::from_secs(3));
    assert!(before.iter().any(|(_, java)| !java.is_empty()), "{before:?}");
    for java in before.iter().flat_map(|(_, java)| java) {
        gone(*java).await;
    }
    workers.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_killed_in_the_middle_of_a_run_has_it_made_once_more_and_its_java_goes_with_it() {
    let workers = workers(&options(JolieOptions { workers: 1, memory_mib: 129, cpu_ms: 20_000, ..patient() })).await;
    let slow = answering("", "\"made \" + i").replace("result.action", "while( i < 200000 ) { i++ };\n  result.action");
    assert!(incoming(&workers, 2, &answering("", "\"here\"")).await.outcome.is_ok());
    let before = processes(129);
    assert_eq!(before.len(), 1, "{before:?}");
    let killer = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        kill(before[0].0);
    };
    let (ran, ()) = tokio::join!(incoming(&workers, 2, &slow), killer);
    assert_eq!(answer(&ran), "made 200000");
    let after = processes(129);
    assert!(after.len() == 1 && after[0].0 != before[0].0, "{before:?} {after:?}");
    for java in &before[0].1 {
        gone(*java).await;
    }
    workers.stop().await;
    assert_eq!(processes(129), [], "nothing is left");
}

#[tokio::test]
async fn an_owner_who_rests_gives_the_interpreter_back_and_the_spare_stays() {
    let workers = workers(&options(JolieOptions { workers: 2, memory_mib: 130, idle_seconds: 1, ..patient() })).await;
    assert!(incoming(&workers, 2, &answering("", "\"here\"")).await.outcome.is_ok());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    // First a spare is started beside it, then it ends.
    let mut most = 0;
    loop {
        let now = processes(130).len();
        most = most.max(now);
        if most == 2 && now == 1 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{:?}", processes(130));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    workers.stop().await;
}

#[tokio::test]
async fn a_message_of_any_length_goes_in_and_an_output_has_a_bound() {
    let workers = workers(&options(patient())).await;
    let length = answering("include \"string_utils.iol\"", "string( n )").replace(
        "result.action",
        "getJsonValue@JsonUtils( args[0] )( m ); length@StringUtils( m.messageBody )( n );\n  result.action",
    );
    // No argument of a program could be so long: all of it control characters, six bytes each in JSON.
    let ran = workers.run(job(2, Direction::Incoming, &length, &"\u{1}".repeat(BODY))).await;
    assert_eq!(answer(&ran), BODY.to_string());
    // What docs/scripts.md says: six times a message, and 72 KiB. All lines count, and what ends them.
    let result = r#"{"action":"FORWARD","reply":{"to":1,"message":"here"}}"#;
    let filler = BODY * 6 + 72 * 1024 - 2 - result.len();
    let printing = |filler: usize| {
        let result = result.replace('"', "\\\"");
        format!(
            "include \"console.iol\"\ninclude \"string_utils.iol\"\nmain {{ s = \"0123456789\"; while( i < 16 ) {{ s = s + s; \
             i++ }}; substring@StringUtils( s {{ .begin = 0, .end = {filler} }} )( f ); println@Console( f )(); \
             println@Console( \"{result}\" )() }}"
        )
    };
    let ran = incoming(&workers, 2, &printing(filler)).await;
    assert_eq!(answer(&ran), "here");
    let ran = incoming(&workers, 2, &printing(filler + 1)).await;
    let (kind, detail) = failure(&ran);
    assert!(kind == FailureKind::BadResult && detail.starts_with("it printed more than"), "{ran:?}");
    workers.stop().await;
}

#[tokio::test]
async fn where_there_is_no_interpreter_everybody_is_told_why_and_luau_runs() {
    let options = ScriptsOptions { workers: 1, ..ScriptsOptions::default() };
    let setup = Setup::of(env!("CARGO_BIN_EXE_parlor").into());
    let why = "this server has no Jolie".to_owned();
    let workers = Workers::start_with(setup, Err(why.clone()), &options, options.run_limits(BODY)).await;
    assert_eq!(workers.lacks(Language::Jolie), Some(why.clone()));
    assert_eq!(workers.lacks(Language::Luau), None);
    let ran = incoming(&workers, 2, "main {}").await;
    assert_eq!(failure(&ran), (FailureKind::Unavailable, why.as_str()));
    let luau = parlor::script::pool::Job {
        language: Language::Luau,
        ..job(2, Direction::Incoming, "function incoming() return { action = 'DROP' } end", "hello")
    };
    assert_eq!(workers.run(luau).await.outcome, Ok(Wanted::Incoming { drop: true, replies: Vec::new() }));
    workers.stop().await;
}

#[tokio::test]
async fn an_interpreter_that_cannot_be_started_is_told_of_and_tried_again() {
    let options = ScriptsOptions { workers: 1, ..ScriptsOptions::default() };
    let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_parlor"));
    let mut broken = Setup::of("/bin/false".into());
    broken.language = Language::Jolie;
    let workers = Workers::start_with(Setup::of(program), Ok(broken), &options, options.run_limits(BODY)).await;
    let found = workers.check(UserId(2), Language::Jolie, Direction::Incoming, "main {}").await;
    assert_eq!(found.unwrap_err().kind, FailureKind::Unavailable);
    assert!(workers.lacks(Language::Jolie).is_some_and(|why| why.contains("no interpreter can be started")));
    workers.stop().await;
}
