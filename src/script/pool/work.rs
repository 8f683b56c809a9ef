//! What waits for a worker, and what comes back to whoever waits for it.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Job;
use crate::script::call::{Diagnostic, Direction, Failure, Language, Ran};
use crate::script::protocol::ToWorker;

/// A question for a worker, with all that it takes to ask it again elsewhere.
#[derive(Debug)]
pub(super) struct Work {
    /// As it is sent. Its number is set anew each time; a run's source is put in when the worker asks for it.
    pub(super) frame: ToWorker,
    /// The source of a run.
    pub(super) source: Arc<str>,
    /// Which function, for the metrics and to see that the answer fits.
    pub(super) direction: Direction,
}

impl Work {
    pub(super) fn run(job: Job) -> Self {
        let Job { owner, language, hash, source, direction, input, seed, lane: _ } = job;
        let frame = ToWorker::Run { number: 0, owner, language, hash, source: None, direction, input, seed };
        Self { frame, source, direction }
    }

    pub(super) fn check(language: Language, direction: Direction, source: &str) -> Self {
        let frame = ToWorker::Check { number: 0, language, direction, source: source.to_owned() };
        Self { frame, source: Arc::from(""), direction }
    }

    /// Names it for the next worker. That one has not been given the source yet.
    pub(super) fn name(&mut self, as_number: u64) {
        match &mut self.frame {
            ToWorker::Run { number, source, .. } => (*number, *source) = (as_number, None),
            ToWorker::Check { number, .. } => *number = as_number,
            ToWorker::Begin(_) => {}
        }
    }

    /// Puts the source in; false when it is in already, or there is none to put in.
    pub(super) fn add_source(&mut self) -> bool {
        match &mut self.frame {
            ToWorker::Run { source: source @ None, .. } => {
                *source = Some(self.source.as_ref().to_owned());
                true
            }
            _ => false,
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// A run was made.
    Ran(Ran),
    /// A source was checked.
    Checked(Result<Vec<Diagnostic>, Failure>),
    /// It came to nothing.
    Failed(Failure),
    /// Its worker came to an end while it was there, and others with it: it is to be done again, alone.
    Suspect(Work),
}

/// Work that waits for a worker.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) work: Work,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Since when.
    pub(super) since: Instant,
    /// Whether it is made once more already because somebody from outside killed its worker.
    pub(super) once_more: bool,
}

impl Order {
    /// Nobody may be waiting any more: then the answer is thrown away.
    pub(super) fn fail(self, failure: Failure) {
        let _ = self.answer.send(Answer::Failed(failure));
    }
}
