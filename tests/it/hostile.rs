//! Every script of `tests/hostile` against the real, confined worker: each comes to what it says of itself, and
//! afterwards the worker serves its owner and others as before.
//!
//! A case is a file. Its first lines say `-- direction:`, perhaps `-- body:`, and `-- expect:` kinds divided by `|`, then
//! perhaps how the detail begins. A line `--@repeat N TEXT` stands for so many of that text.

use std::fmt::Write as _;
use std::path::Path;

use parlor::ids::{ConversationId, UserId};
use parlor::script::call::{Direction, Failure, FailureKind, Input, Language, Ran, SourceHash, Wanted};
use parlor::script::protocol::{FromWorker, RunLimits, ToWorker};

use crate::app::listed;

mod confined;
mod server;
mod worker;

use worker::Worker;

const MIB: u64 = 1024 * 1024;
/// The owner of the hostile scripts, and somebody else.
const HOSTILE: UserId = UserId(66);
const OTHER: UserId = UserId(2);
/// Resident memory of a worker that has been through anything, with what the allocator keeps.
const RESIDENT_BYTES: u64 = 80 * MIB;
/// Finds what any run before it may have left, and that everything is in its place.
const GOOD: &str = r#"
local before = count
count = 1
function incoming(message)
	assert(before == nil and left_behind == nil and shared == nil)
	assert(string.find("abc", "b") == 2 and ("x"):rep(2) == "xx" and table.insert and pairs and print)
	return { action = "FORWARD", reply = { { to = message.senderId, message = tostring(math.random(1000)) } } }
end
"#;

fn limits() -> RunLimits {
    RunLimits {
        heap_bytes: 8 * MIB,
        cpu_micros: 50_000,
        message_bytes: 64 * 1024,
        replies: 8,
        print_lines: 50,
        print_bytes: 8 * 1024,
        states_bytes: 64 * MIB,
    }
}

struct Case {
    name: String,
    direction: Direction,
    body: String,
    kinds: Vec<String>,
    detail: String,
    source: String,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let head = |key: &str| {
            let prefix = format!("-- {key}: ");
            text.lines().take(5).find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned)
        };
        let expect = head("expect").unwrap_or_else(|| panic!("{name}: has no `-- expect:`"));
        let (kinds, detail) = expect.split_once(' ').unwrap_or((&expect, ""));
        let mut source = String::new();
        for line in text.lines() {
            match line.strip_prefix("--@repeat ").and_then(|rest| rest.split_once(' ')) {
                Some((times, what)) => writeln!(source, "{}", what.repeat(times.parse().unwrap())).unwrap(),
                None => writeln!(source, "{line}").unwrap(),
            }
        }
        Self {
            direction: head("direction").unwrap().parse().unwrap(),
            body: head("body").unwrap_or_else(|| "hello".into()),
            kinds: kinds.split('|').map(str::to_owned).collect(),
            detail: detail.to_owned(),
            source,
            name,
        }
    }

    /// Why that is not what was expected.
    fn objection(&self, ran: Option<&Ran>) -> Option<String> {
        let (kind, detail) = match ran.map(|ran| &ran.outcome) {
            None => ("worker_killed", String::new()),
            Some(Ok(Wanted::Incoming { drop: true, .. })) => ("drop", String::new()),
            Some(Ok(Wanted::Incoming { replies, .. })) => {
                ("forward", if replies.is_empty() { String::new() } else { replies.len().to_string() })
            }
            Some(Ok(Wanted::Outgoing { .. })) => ("edited", String::new()),
            Some(Err(failure)) => (failure.kind.name(), failure.detail.clone()),
        };
        let fits = self.kinds.iter().any(|expected| expected == kind) && detail.contains(&self.detail);
        (!fits)
            .then(|| format!("{}: expected {:?} {:?}, came to {kind} {detail:?}", self.name, self.kinds, self.detail))
    }
}

/// A message to `owner`, as the owner's script finds it.
pub(crate) fn input(owner: UserId, body: &str) -> Input {
    Input {
        message_body: body.into(),
        own_id: owner,
        sender_id: UserId(1),
        recipient_ids: vec![owner],
        from_auto_reply: false,
        conversation_id: ConversationId::of([owner, UserId(1)]),
        first_contact: false,
        sent_at: 1_700_000_000_000,
    }
}

fn run(number: u64, owner: UserId, direction: Direction, source: &str, body: &str) -> ToWorker {
    let input = input(owner, body);
    let (language, hash, source) = (Language::Luau, SourceHash::of(source), Some(source.to_owned()));
    ToWorker::Run { number, owner, language, hash, source, direction, input, seed: 7 }
}

fn all() -> Vec<Case> {
    listed("tests/hostile").iter().map(|path| Case::read(path)).collect()
}

#[test]
fn each_comes_to_what_it_says_and_harms_nobody() {
    let cases = all();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut worker = Worker::start();
    let mut objections = Vec::new();
    let good = |worker: &mut Worker, owner| worker.ran(run(1, owner, Direction::Incoming, GOOD, "hello"));
    let first = good(&mut worker, OTHER).expect("a good script runs").outcome;
    assert!(matches!(&first, Ok(Wanted::Incoming { drop: false, replies }) if replies.len() == 1), "{first:?}");
    for case in &cases {
        let ran = worker.ran(run(9, HOSTILE, case.direction, &case.source, &case.body));
        objections.extend(case.objection(ran.as_ref()));
        if ran.is_none() {
            worker = Worker::start();
        }
        if let Some(ran) = &ran {
            assert!(ran.prints.lines.len() <= 50 && ran.prints.lines.concat().len() <= 8 * 1024, "{}", case.name);
            assert!(ran.cpu_micros < 500_000, "{}: took {} µs", case.name, ran.cpu_micros);
            assert!(ran.heap_bytes <= 12 * MIB, "{}: held {} bytes", case.name, ran.heap_bytes);
        }
        for owner in [OTHER, HOSTILE] {
            // The same seed and the same clock: the same answer, whatever ran in between.
            let after = good(&mut worker, owner).map(|ran| ran.outcome);
            if after.as_ref() != Some(&first) {
                objections.push(format!("{}: afterwards {owner} has {after:?}", case.name));
            }
        }
        let resident = worker.resident_bytes();
        if resident > RESIDENT_BYTES {
            objections.push(format!("{}: {resident} bytes resident afterwards", case.name));
        }
    }
    assert!(objections.is_empty(), "{} of {}:\n{}", objections.len(), cases.len(), objections.join("\n"));
}

#[test]
fn no_answer_is_missing_and_their_order_is_that_of_the_runs() {
    let mut worker = Worker::start();
    let spin = "function incoming() while true do end end";
    let mut frames = Vec::new();
    for number in 0..300 {
        let source = if number % 50 == 0 { spin } else { GOOD };
        frames.push(run(number, UserId(100 + (number % 7) as i64), Direction::Incoming, source, "x"));
    }
    worker.send(&frames);
    for number in 0..300 {
        let Some(FromWorker::Ran { number: answered, ran }) = worker.receive() else { panic!("no answer to {number}") };
        assert_eq!(answered, number);
        let kind = ran.outcome.err().map(|failure| failure.kind);
        assert_eq!(kind, (number % 50 == 0).then_some(FailureKind::CpuLimit));
    }
}

#[test]
fn a_source_that_is_checked_is_confined_too() {
    let mut worker = Worker::start();
    for case in all().into_iter().filter(|case| !case.kinds.contains(&"worker_killed".to_owned())) {
        let (language, direction, source) = (Language::Luau, case.direction, case.source.clone());
        worker.send(&[ToWorker::Check { number: 5, language, direction, source }]);
        let Some(FromWorker::Checked { number: 5, found }) = worker.receive() else { panic!("{}", case.name) };
        match found {
            Ok(found) => assert_eq!(
                found.iter().any(|found| found.severity == parlor::script::call::Severity::Error),
                case.kinds.contains(&"compile".to_owned()),
                "{}: {found:?}",
                case.name
            ),
            Err(Failure { kind, .. }) => assert!(kind == FailureKind::CpuLimit, "{}: {kind:?}", case.name),
        }
    }
}
