//! Every script of `tests/hostile-jolie` against real workers: each comes to what it says of itself, and afterwards its
//! owner and others are served as before.
//!
//! A case begins with `// direction:` and `// expect:`, kinds divided by `|`, then perhaps how the detail begins.

use std::path::PathBuf;
use std::time::Duration;

use parlor::config::jolie::JolieOptions;
use parlor::ids::UserId;
use parlor::script::call::{Language, Ran, Severity, Wanted};
use parlor::script::pool::Workers;

use super::{answering, incoming, job, options, workers};
use crate::app::listed;

const HOSTILE: i64 = 66;
const OTHER: i64 = 2;
/// Runs of one case, at most: where processors are short, one that does nothing wrong may not be done within the wall limit.
const TRIES: u32 = 4;
/// What is said then.
const HUNG: &str = "gave no answer";
/// How long a case may take: the wall limit, and a Java that is started after it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

struct Case {
    name: String,
    kinds: Vec<String>,
    detail: String,
    source: String,
}

fn cases() -> Vec<Case> {
    let case = |path: &PathBuf| {
        let source = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expect = source.lines().find_map(|line| line.strip_prefix("// expect: ")).expect("// expect:").to_owned();
        let (kinds, detail) = expect.split_once(' ').unwrap_or((&expect, ""));
        Case { name, kinds: kinds.split('|').map(str::to_owned).collect(), detail: detail.to_owned(), source }
    };
    listed("tests/hostile-jolie").iter().map(case).collect()
}

/// Uploads it as a server would, then runs it.
async fn comes_to(workers: &Workers, case: &Case) -> (String, String) {
    let (owner, direction) = (UserId(HOSTILE), parlor::script::call::Direction::Incoming);
    match workers.check(owner, Language::Jolie, direction, &case.source).await {
        Ok(found) => {
            if let Some(error) = found.into_iter().find(|found| found.severity == Severity::Error) {
                return ("compile".to_owned(), error.message);
            }
        }
        Err(failure) => return (failure.kind.name().to_owned(), failure.detail),
    }
    let Ran { outcome, prints, .. } = workers.run(job(HOSTILE, direction, &case.source, "hello")).await;
    assert!(prints.lines.len() <= 50 && prints.lines.concat().len() <= 8 * 1024, "{}", case.name);
    match outcome {
        Ok(Wanted::Incoming { drop: true, .. }) => ("drop".to_owned(), String::new()),
        Ok(Wanted::Incoming { replies, .. }) if replies.is_empty() => ("forward".to_owned(), String::new()),
        Ok(Wanted::Incoming { replies, .. }) => ("forward".to_owned(), replies.len().to_string()),
        Ok(Wanted::Outgoing { .. }) => ("edited".to_owned(), String::new()),
        Err(failure) => (failure.kind.name().to_owned(), failure.detail),
    }
}

/// What it comes to, and whether that is what it says of itself.
async fn fits(workers: &Workers, case: &Case) -> Result<(), String> {
    for time in 1.. {
        let (kind, detail) = comes_to(workers, case).await;
        for leak in ["root:", "nobody:", "PATH=", "HOME="] {
            assert!(!detail.contains(leak), "{}: {detail}", case.name);
        }
        if case.kinds.contains(&kind) && detail.contains(&case.detail) {
            return Ok(());
        }
        if !detail.contains(HUNG) || time == TRIES {
            let Case { name, kinds, detail: expected, .. } = case;
            return Err(format!("{name}: expected {kinds:?} {expected:?}, came to {kind} {detail:?}"));
        }
    }
    unreachable!("the loop ends by itself");
}

/// Whether an owner is served as before.
async fn serves(workers: &Workers, owner: i64, good: &str) -> Result<(), String> {
    for time in 1.. {
        let ran = incoming(workers, owner, good).await;
        match &ran.outcome {
            Ok(Wanted::Incoming { replies, .. }) if replies.len() == 1 => return Ok(()),
            Err(failure) if failure.detail.contains(HUNG) && time < TRIES => {}
            other => return Err(format!("{owner} has {other:?}")),
        }
    }
    unreachable!("the loop ends by itself");
}

#[tokio::test]
async fn each_comes_to_what_it_says_and_harms_nobody() {
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let workers =
        workers(&options(JolieOptions { workers: 3, cpu_ms: 250, wall_ms: 12_000, ..Default::default() })).await;
    let good = answering("include \"math.iol\"", "\"here\"");
    assert_eq!(serves(&workers, OTHER, &good).await, Ok(()));
    let mut objections = Vec::new();
    for case in &cases {
        let found = tokio::time::timeout(PATIENCE, fits(&workers, case)).await.expect(&case.name);
        objections.extend(found.err());
        for owner in [OTHER, HOSTILE] {
            let found = tokio::time::timeout(PATIENCE, serves(&workers, owner, &good)).await.expect(&case.name);
            objections.extend(found.err().map(|what| format!("{}: afterwards {what}", case.name)));
        }
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
    workers.stop().await;
}
