//! Every script of `tests/hostile-jolie` against real workers: each comes to what it says of itself, and afterwards its
//! owner and others are served as before.
//!
//! A case begins with `// direction:` and `// expect:`, kinds divided by `|`, then perhaps how the detail begins.

use std::path::Path;
use std::time::Duration;

use parlor::config::jolie::JolieOptions;
use parlor::ids::UserId;
use parlor::script::call::{Language, Ran, Severity, Wanted};
use parlor::script::pool::Workers;

use super::{answer, answering, incoming, job, options, workers};

const HOSTILE: i64 = 66;
const OTHER: i64 = 2;
/// How long a case may take: the wall limit, and a Java that is started after it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Case {
    name: String,
    kinds: Vec<String>,
    detail: String,
    source: String,
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile-jolie");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let case = |path: &std::path::PathBuf| {
        let source = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expect = source.lines().find_map(|line| line.strip_prefix("// expect: ")).expect("// expect:").to_owned();
        let (kinds, detail) = expect.split_once(' ').unwrap_or((&expect, ""));
        Case { name, kinds: kinds.split('|').map(str::to_owned).collect(), detail: detail.to_owned(), source }
    };
    paths.iter().map(case).collect()
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

#[tokio::test]
async fn each_comes_to_what_it_says_and_harms_nobody() {
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let workers = workers(&options(JolieOptions { workers: 3, wall_ms: 4000, ..Default::default() })).await;
    let good = answering("include \"math.iol\"", "\"here\"");
    assert_eq!(answer(&incoming(&workers, OTHER, &good).await), "here");
    let mut objections = Vec::new();
    for case in &cases {
        let (kind, detail) = tokio::time::timeout(PATIENCE, comes_to(&workers, case)).await.expect(&case.name);
        if !case.kinds.contains(&kind) || !detail.contains(&case.detail) {
            objections
                .push(format!("{}: expected {:?} {:?}, came to {kind} {detail:?}", case.name, case.kinds, case.detail));
        }
        for leak in ["root:", "nobody:", "PATH=", "HOME="] {
            assert!(!detail.contains(leak), "{}: {detail}", case.name);
        }
        for owner in [OTHER, HOSTILE] {
            let ran = tokio::time::timeout(PATIENCE, incoming(&workers, owner, &good)).await.expect(&case.name);
            if !matches!(&ran.outcome, Ok(Wanted::Incoming { replies, .. }) if replies.len() == 1) {
                objections.push(format!("{}: afterwards {owner} has {:?}", case.name, ran.outcome));
            }
        }
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
    workers.stop().await;
}
