//! The Jolie engine: scripts in Jolie, each run in an interpreter of its own, in a Java process that serves one owner
//! and is then thrown away.
//!
//! A worker of this engine is two processes. The first is this program: it speaks with the server as every worker does,
//! makes the document that a script reads and judges what it printed ([`contract`]), and keeps the limits. The second
//! is Java with the interpreter ([`jvm`]), confined more than the first ([`sandbox`]): what a script may do to it stays
//! in it. Where the interpreter lies is found out by [`home`].

pub mod contract;
pub mod home;
pub mod jvm;
pub mod sandbox;
pub mod wire;

use std::time::Duration;

use self::jvm::{Jvm, Stop};
use self::wire::{Answer, Question, Status};
use super::call::{Diagnostic, Direction, Failure, FailureKind, Prints, Ran, Severity, SourceHash, bounded};
use super::engine::{Call, Engine};
use super::protocol::RunLimits;
use crate::ids::UserId;

/// Sources that are remembered: both directions, and a version that is being replaced.
const SOURCES: usize = 4;
/// Bytes of output for each byte of a body: JSON may take six, as in `\u0000`.
const JSON_BLOWS_UP: u64 = 6;
/// Bytes of a failure's words, at most.
const WORDS_BYTES: usize = 2000;

/// The engine. It serves one owner: whoever comes first.
#[derive(Debug)]
pub struct Jolie {
    limits: RunLimits,
    jvm: Jvm,
    owner: Option<UserId>,
    sources: Vec<(SourceHash, String)>,
}

impl Jolie {
    /// An engine with that Java.
    #[must_use]
    pub fn new(jvm: Jvm, limits: RunLimits) -> Self {
        Self { limits, jvm, owner: None, sources: Vec::new() }
    }

    /// What a run may print: a result of the longest replies, and lines for the log.
    fn output_bytes(&self) -> u32 {
        let result = self.limits.message_bytes.saturating_mul(JSON_BLOWS_UP);
        u32::try_from(result.saturating_add(u64::from(self.limits.print_bytes)).saturating_add(64 * 1024))
            .unwrap_or(u32::MAX / 4)
    }

    fn ask(&mut self, question: &Question<'_>) -> Result<Answer, Failure> {
        self.jvm.ask(question, Duration::from_micros(self.limits.cpu_micros)).map_err(|stop| self.stopped(stop))
    }

    fn stopped(&self, stop: Stop) -> Failure {
        match stop {
            Stop::Cpu => {
                let most = self.limits.cpu_micros / 1000;
                Failure::new(FailureKind::CpuLimit, format!("used more than {most} ms of processor time"))
            }
            Stop::Gone => Failure::new(FailureKind::WorkerKilled, "its interpreter came to an end"),
            Stop::Memory => {
                let mib = self.limits.heap_bytes / 1024 / 1024;
                Failure::new(FailureKind::HeapLimit, format!("used more than the {mib} MiB of memory that it may"))
            }
        }
    }

    fn judge(&self, direction: Direction, answer: &Answer) -> (Result<super::call::Wanted, Failure>, Prints) {
        let printed = contract::printed(&answer.printed, &self.limits);
        let words = bounded(answer.words.trim().as_bytes(), WORDS_BYTES);
        let outcome = match answer.status {
            Status::Done => contract::wanted(direction, printed.result, &self.limits),
            Status::Fault => Err(Failure::new(FailureKind::Error, contract::fault(&words))),
            Status::Refused => {
                let (detail, line) = contract::refusal(&words);
                Err(Failure { kind: FailureKind::Compile, detail, line })
            }
            Status::Output => {
                let most = self.output_bytes();
                Err(Failure::new(FailureKind::BadResult, format!("it printed more than {most} bytes")))
            }
        };
        (outcome, printed.prints)
    }
}

impl Engine for Jolie {
    fn check(&mut self, _: Direction, source: &str) -> Result<Vec<Diagnostic>, Failure> {
        let answer = self.ask(&Question::Check { source })?;
        if answer.status == Status::Done {
            return Ok(Vec::new());
        }
        let place = |n: i32| u32::try_from(n).unwrap_or(0).max(1);
        let (line, column) = (place(answer.line), place(answer.column));
        let message = bounded(answer.words.trim().as_bytes(), WORDS_BYTES);
        Ok(vec![Diagnostic { severity: Severity::Error, line, column, message }])
    }

    fn run(&mut self, call: Call<'_>) -> Option<Ran> {
        if *self.owner.get_or_insert(call.owner) != call.owner {
            // The server keeps owners apart. This is here so that an error of it could not be one of privacy.
            let words = "this interpreter belongs to somebody else";
            return Some(Ran::not(Failure::new(FailureKind::Error, words)));
        }
        if let Some(source) = call.source {
            self.sources.retain(|(hash, _)| *hash != call.hash);
            self.sources.truncate(SOURCES - 1);
            self.sources.insert(0, (call.hash, source.to_owned()));
        }
        let source = self.sources.iter().find(|(hash, _)| *hash == call.hash)?.1.clone();
        let argument = contract::argument(call.direction, call.input);
        let question = Question::Run {
            source: &source,
            argument: &argument,
            clock: call.input.sent_at,
            seed: call.seed,
            output_bytes: self.output_bytes(),
        };
        let answered = self.ask(&question);
        let cpu_micros = u64::try_from(self.jvm.used().as_micros()).unwrap_or(u64::MAX);
        Some(match answered {
            Ok(answer) => {
                let heap_bytes = answer.heap_bytes.min(self.limits.heap_bytes);
                let (outcome, prints) = self.judge(call.direction, &answer);
                Ran { outcome, prints, cpu_micros, wall_micros: 0, heap_bytes }
            }
            Err(failure) => Ran { cpu_micros, ..Ran::not(failure) },
        })
    }

    fn is_spent(&self) -> bool {
        self.jvm.is_spent()
    }
}
