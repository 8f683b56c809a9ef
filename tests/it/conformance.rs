//! The contract that both languages have in common: each case is data, with a script in Luau and one in Jolie, and both
//! must come to the same.
//!
//! A folder of `tests/conformance` has `cases.json`, `script.luau` and `script.ol`. A case is a message, as `try` takes
//! it, and what it gives: what would be sent, or a kind of failure.

use std::path::Path;

use chrono::DateTime;
use parlor::config::jolie::JolieOptions;
use parlor::config::scripts::ScriptsOptions;
use parlor::ids::UserId;
use parlor::script::call::{Direction, Language, SourceHash};
use parlor::script::pool::{Job, Lane, Workers};
use parlor::script::trial::{Sample, Tried};
use serde_json::{Map, Value, json};

use crate::app::listed;

/// The owner of all scripts here.
const OWNER: UserId = UserId(2);
const BODY: usize = 65_536;

struct Case {
    name: String,
    direction: Direction,
    message: Value,
    gives: Value,
}

fn cases(folder: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    let data: Value = serde_json::from_str(&text).unwrap();
    let direction = data["direction"].as_str().unwrap().parse().unwrap();
    let case = |(n, case): (usize, &Value)| Case {
        name: format!("{} {n}", folder.file_name().unwrap().to_str().unwrap()),
        direction,
        message: case["message"].clone(),
        gives: case["gives"].clone(),
    };
    data["cases"].as_array().unwrap().iter().enumerate().map(case).collect()
}

/// What came of it, in the words of the cases.
fn given(tried: &Tried) -> Value {
    if let Some(failure) = &tried.failure {
        return json!({"failed": failure.kind});
    }
    let mut given = Map::new();
    match &tried.message_body {
        Some(body) => _ = given.insert("messageBody".to_owned(), json!(body)),
        None => _ = given.insert("action".to_owned(), json!(tried.verdict.to_uppercase())),
    }
    for (name, replies) in [("reply", &tried.replies), ("unanswered", &tried.unanswered)] {
        if !replies.is_empty() {
            given.insert(name.to_owned(), json!(replies));
        }
    }
    if !tried.prints.is_empty() {
        given.insert("prints".to_owned(), json!(tried.prints));
    }
    Value::Object(given)
}

async fn conforms(workers: &Workers, language: Language) {
    let options = ScriptsOptions::default();
    let mut objections = Vec::new();
    let mut count = 0;
    for folder in listed("tests/conformance") {
        let source = std::fs::read_to_string(folder.join(format!("script.{}", language.ending()))).unwrap();
        for case in cases(&folder) {
            count += 1;
            let found = workers.check(OWNER, language, case.direction, &source).await.unwrap();
            assert!(found.is_empty(), "{}: {found:?}", case.name);
            let sample: Sample = serde_json::from_value(case.message).unwrap();
            let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
            let input = sample.input(OWNER, case.direction, now).unwrap();
            let job = Job {
                owner: OWNER,
                language,
                hash: SourceHash::of(&source),
                source: source.as_str().into(),
                direction: case.direction,
                input: input.clone(),
                seed: 1,
                lane: Lane::Trial,
            };
            let tried = Tried::of(&input, workers.run(job).await, &options.effect_limits(BODY), None);
            let given = given(&tried);
            if given != case.gives {
                objections.push(format!("{}: {given} instead of {} ({:?})", case.name, case.gives, tried.failure));
            }
        }
    }
    assert!(count >= 30, "{count} cases");
    assert!(objections.is_empty(), "{language:?}: {}", objections.join("\n"));
}

#[tokio::test]
async fn luau_conforms() {
    let options = ScriptsOptions::default();
    let setup = parlor::script::pool::Setup::of(env!("CARGO_BIN_EXE_parlor").into());
    let workers = Workers::start_as(setup, &options, options.run_limits(BODY)).await;
    conforms(&workers, Language::Luau).await;
    workers.stop().await;
}

#[tokio::test]
async fn jolie_conforms() {
    let workers = crate::jolie::workers(&ScriptsOptions {
        jolie: JolieOptions { wall_ms: 60_000, ..JolieOptions::default() },
        ..ScriptsOptions::default()
    })
    .await;
    conforms(&workers, Language::Jolie).await;
    workers.stop().await;
}
