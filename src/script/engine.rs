//! What a worker asks of an interpreter: check a source, run a function of one.

use super::call::{Diagnostic, Direction, Failure, Input, Ran, SourceHash};
use crate::ids::UserId;

/// One run, as the engine sees it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose script: two owners never share an interpreter state.
    pub owner: UserId,
    /// Which source.
    pub hash: SourceHash,
    /// The source itself, when the server sent it along.
    pub source: Option<&'a str>,
    /// Which function.
    pub direction: Direction,
    /// The message.
    pub input: &'a Input,
    /// What random numbers begin with.
    pub seed: u64,
}

/// An interpreter with its states, all within the limits that it was made with.
pub trait Engine {
    /// Compiles a source apart from everything else, runs its main chunk and sees whether it defines the function.
    ///
    /// # Errors
    /// [`Failure`] when it could not be found out, such as when the main chunk uses too much of something.
    fn check(&mut self, direction: Direction, source: &str) -> Result<Vec<Diagnostic>, Failure>;

    /// Makes a run that sees nothing of any run before it. `None`: the source is not here, and did not come along.
    fn run(&mut self, call: Call<'_>) -> Option<Ran>;

    /// Whether it must not be used any more: then its worker ends, and another takes its place.
    fn is_spent(&self) -> bool {
        false
    }
}
