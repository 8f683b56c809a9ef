//! The settings of scripts in Jolie, `[scripts.jolie]`: where the interpreter is, how many there are, and what a run may
//! use. What is not here is as for all scripts.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::scripts::{Error, within};
use crate::script::protocol::RunLimits;

/// How scripts in Jolie are run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JolieOptions {
    /// The folder that `make jolie` made. Without it: `../lib/parlor/jolie` seen from the program, else `parlor/jolie` in
    /// the user's own data folder (`$XDG_DATA_HOME`, `~/.local/share`).
    pub home: Option<PathBuf>,
    /// Interpreters at most, each a Java process of one owner; 0: two for every processor. One is started ahead, others
    /// when they are needed.
    pub workers: usize,
    /// Megabytes of memory of one interpreter.
    pub memory_mib: u64,
    /// Milliseconds of processor time that one run may use, the interpreter's own work included.
    pub cpu_ms: u64,
    /// Milliseconds of wall time after which an interpreter that does not answer is killed.
    pub wall_ms: u64,
    /// Runs of one interpreter; then another takes its place.
    pub runs: u32,
    /// Seconds without a run after which an owner's interpreter is ended.
    pub idle_seconds: u64,
    /// Milliseconds of processor time that a script may use in `scripts.budget_seconds` before it is switched off.
    pub budget_cpu_ms: u64,
}

impl Default for JolieOptions {
    fn default() -> Self {
        Self {
            home: None,
            workers: 0,
            memory_mib: 128,
            cpu_ms: 500,
            wall_ms: 3000,
            runs: 2000,
            idle_seconds: 120,
            budget_cpu_ms: 30_000,
        }
    }
}

impl JolieOptions {
    /// Whether scripts can be run by these.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub(super) fn check(&self) -> Result<(), Error> {
        within(&[
            ("jolie.workers", self.workers as u64, 0, 256),
            ("jolie.memory_mib", self.memory_mib, 96, 4096),
            ("jolie.cpu_ms", self.cpu_ms, 20, 60_000),
            ("jolie.wall_ms", self.wall_ms, 100, 60_000),
            ("jolie.runs", self.runs.into(), 1, 1_000_000),
            ("jolie.idle_seconds", self.idle_seconds, 1, 86_400),
            ("jolie.budget_cpu_ms", self.budget_cpu_ms, 1, 3_600_000),
        ])?;
        if self.wall_ms <= self.cpu_ms {
            let detail = format!("must be over scripts.jolie.cpu_ms, {}", self.cpu_ms);
            return Err(Error { key: "jolie.wall_ms", detail });
        }
        Ok(())
    }

    /// Memory of one interpreter, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_mib * 1024 * 1024
    }

    /// What a worker is told; `of_all` is what holds in every language.
    #[must_use]
    pub fn run_limits(&self, of_all: &RunLimits) -> RunLimits {
        RunLimits { heap_bytes: self.memory_bytes(), cpu_micros: self.cpu_ms * 1000, states_bytes: 0, ..*of_all }
    }

    /// When an interpreter that does not answer is killed.
    #[must_use]
    pub fn wall_limit(&self) -> Duration {
        Duration::from_millis(self.wall_ms)
    }

    /// Interpreters at most, on a machine of so many processors.
    #[must_use]
    pub fn places(&self, processors: usize) -> usize {
        if self.workers == 0 { processors * 2 } else { self.workers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_each_bound_is_named() {
        assert_eq!(JolieOptions::default().check(), Ok(()));
        let refused = |options: JolieOptions| options.check().unwrap_err().to_string();
        for (memory_mib, fine) in [(95, false), (96, true), (4096, true), (4097, false)] {
            assert_eq!(JolieOptions { memory_mib, ..Default::default() }.check().is_ok(), fine, "{memory_mib}");
        }
        assert!(refused(JolieOptions { runs: 0, ..Default::default() }).starts_with("scripts.jolie.runs: "));
        let (cpu_ms, wall_ms) = (500, 500);
        assert!(refused(JolieOptions { cpu_ms, wall_ms, ..Default::default() }).contains("scripts.jolie.cpu_ms"));
        assert!(JolieOptions { cpu_ms, wall_ms: 501, ..Default::default() }.check().is_ok());
    }

    #[test]
    fn there_are_two_places_for_every_processor_unless_it_is_said() {
        assert_eq!(JolieOptions::default().places(3), 6);
        assert_eq!(JolieOptions { workers: 1, ..Default::default() }.places(3), 1);
    }
}
