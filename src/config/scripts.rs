//! The settings of scripts, `[scripts]`: what one run may use, what may come of it, and who is switched off.

use std::time::Duration;

use serde::Deserialize;

use crate::config::jolie::JolieOptions;
use crate::script::call::Language;
use crate::script::effects::EffectLimits;
use crate::script::protocol::RunLimits;

/// What is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scripts.{key}: {detail}")]
pub struct Error {
    /// The key, without its section.
    pub key: &'static str,
    /// What it must be.
    pub detail: String,
}

/// How scripts are run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptsOptions {
    /// Worker processes that scripts share; 0: one for every two processors, at least one. Two more stand beside them:
    /// one for new scripts, one for those that misbehave.
    pub workers: usize,
    /// Runs scripts although the kernel cannot confine their workers: a script that breaks out of the interpreter then
    /// is this server's user.
    pub run_unconfined: bool,
    /// Bytes of one source.
    pub max_source_bytes: usize,
    /// Versions kept of each script; the oldest that is not active goes when another comes.
    pub max_versions: u32,
    /// Heap of one owner's interpreter state, in bytes.
    pub heap_bytes: u64,
    /// Milliseconds of processor time that one run may use.
    pub cpu_ms: u64,
    /// Milliseconds of wall time after which a worker that does not answer is killed.
    pub wall_ms: u64,
    /// Milliseconds that a message waits for a script; then it goes on without. Enough for a worker that is killed, and
    /// for those who were in it to be run again. When half of `in_flight` is taken, the time that it waited behind others
    /// of its sender counts too.
    pub wait_ms: u64,
    /// Messages of one owner that may wait for their script; one more goes on without it.
    pub waiting: usize,
    /// Replies of one run.
    pub max_replies: u32,
    /// Different recipients of these replies.
    pub max_reply_recipients: usize,
    /// Lines that one run may print.
    pub print_lines: u32,
    /// Bytes of all lines that one run prints.
    pub print_bytes: u32,
    /// Entries kept in each of an owner's logs.
    pub log_entries: u32,
    /// Seconds over which a script's processor time is summed.
    pub budget_seconds: u64,
    /// Milliseconds of processor time that a script may use in that time before it is switched off.
    pub budget_cpu_ms: u64,
    /// Runs that may fail one after the other before a script is switched off.
    pub max_failures: u32,
    /// Seconds without a message after which an owner's runner goes to sleep.
    pub idle_seconds: u64,
    /// Megabytes of interpreter states that the workers keep together; those unused for longest go first, and cost less
    /// than a millisecond when they are needed again.
    pub states_mib: u64,
    /// Uploads and tries of one user in a minute.
    pub requests_per_minute: u32,
    /// `[scripts.jolie]`.
    pub jolie: JolieOptions,
}

/// What holds against a script, by its language.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// Time over which processor time is summed.
    pub window: Duration,
    /// Processor time in it before the script is switched off, in microseconds.
    pub budget_micros: u64,
    /// A run that uses more than this counts as one that hit a limit, in microseconds.
    pub heavy_micros: u64,
    /// What a run has used whose worker had to be killed, in microseconds.
    pub wall_micros: u64,
    /// Runs that may fail one after the other.
    pub max_failures: u32,
}

/// A run in Luau that uses more processor time than this, in microseconds, holds up whoever waits for the same worker.
const HEAVY_MICROS: u64 = 20_000;

impl Default for ScriptsOptions {
    fn default() -> Self {
        Self {
            workers: 0,
            run_unconfined: false,
            max_source_bytes: 64 * 1024,
            max_versions: 100,
            heap_bytes: 8 * 1024 * 1024,
            cpu_ms: 50,
            wall_ms: 1000,
            wait_ms: 3000,
            waiting: 256,
            max_replies: 8,
            max_reply_recipients: 4,
            print_lines: 50,
            print_bytes: 8 * 1024,
            log_entries: 200,
            budget_seconds: 60,
            budget_cpu_ms: 3000,
            max_failures: 10,
            idle_seconds: 60,
            states_mib: 1536,
            requests_per_minute: 60,
            jolie: JolieOptions::default(),
        }
    }
}

impl ScriptsOptions {
    /// Whether scripts can be run by these.
    ///
    /// # Errors
    /// The first key that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        within(&[
            ("workers", self.workers as u64, 0, 256),
            ("max_source_bytes", self.max_source_bytes as u64, 1, 1024 * 1024),
            ("max_versions", self.max_versions.into(), 2, 10_000),
            ("heap_bytes", self.heap_bytes, 2 * 1024 * 1024, 1 << 30),
            ("cpu_ms", self.cpu_ms, 1, 10_000),
            ("wall_ms", self.wall_ms, 10, 60_000),
            ("wait_ms", self.wait_ms, 10, 600_000),
            ("waiting", self.waiting as u64, 1, 100_000),
            ("max_replies", self.max_replies.into(), 0, 1000),
            ("max_reply_recipients", self.max_reply_recipients as u64, 0, 1000),
            ("print_lines", self.print_lines.into(), 0, 10_000),
            ("print_bytes", self.print_bytes.into(), 0, 1024 * 1024),
            ("log_entries", self.log_entries.into(), 1, 100_000),
            ("budget_seconds", self.budget_seconds, 1, 3600),
            ("budget_cpu_ms", self.budget_cpu_ms, 1, 3_600_000),
            ("max_failures", self.max_failures.into(), 1, 10_000),
            ("idle_seconds", self.idle_seconds, 1, 86_400),
            ("states_mib", self.states_mib, 16, 1 << 20),
            ("requests_per_minute", self.requests_per_minute.into(), 1, 10_000),
        ])?;
        if self.wall_ms <= self.cpu_ms {
            return Err(Error { key: "wall_ms", detail: format!("must be over scripts.cpu_ms, {}", self.cpu_ms) });
        }
        self.jolie.check()
    }

    /// What holds against a script in that language.
    #[must_use]
    pub fn conduct(&self, language: Language) -> Conduct {
        let (window, max_failures) = (Duration::from_secs(self.budget_seconds), self.max_failures);
        let (budget_ms, heavy_micros, wall_ms) = match language {
            Language::Luau => (self.budget_cpu_ms, HEAVY_MICROS, self.wall_ms),
            // Nobody waits for the same worker but its owner.
            Language::Jolie => (self.jolie.budget_cpu_ms, u64::MAX, self.jolie.wall_ms),
        };
        Conduct { window, budget_micros: budget_ms * 1000, heavy_micros, wall_micros: wall_ms * 1000, max_failures }
    }

    /// What a worker is told. `max_message_bytes` is the bound of every body.
    #[must_use]
    pub fn run_limits(&self, max_message_bytes: usize) -> RunLimits {
        RunLimits {
            heap_bytes: self.heap_bytes,
            cpu_micros: self.cpu_ms * 1000,
            message_bytes: max_message_bytes as u64,
            replies: self.max_replies,
            print_lines: self.print_lines,
            print_bytes: self.print_bytes,
            states_bytes: self.states_mib * 1024 * 1024,
        }
    }

    /// What may come of a run. `max_message_bytes` is the bound of every body.
    #[must_use]
    pub fn effect_limits(&self, max_message_bytes: usize) -> EffectLimits {
        EffectLimits {
            message_bytes: max_message_bytes,
            replies: self.max_replies as usize,
            recipients: self.max_reply_recipients,
        }
    }

    /// When a worker that does not answer is killed.
    #[must_use]
    pub fn wall_limit(&self) -> Duration {
        Duration::from_millis(self.wall_ms)
    }

    /// How long a message waits for scripts at one stage.
    #[must_use]
    pub fn wait_limit(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    /// How many workers scripts share, on a machine of so many processors.
    #[must_use]
    pub fn shared_workers(&self, processors: usize) -> usize {
        if self.workers == 0 { (processors / 2).max(1) } else { self.workers }
    }
}

/// Whether each key's value is from the first to the last of its bounds.
pub(super) fn within(bounds: &[(&'static str, u64, u64, u64)]) -> Result<(), Error> {
    match bounds.iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
        Some((key, _, least, most)) => Err(Error { key, detail: format!("must be from {least} to {most}") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_and_each_bound_is_named() {
        assert_eq!(ScriptsOptions::default().check(), Ok(()));
        let refused = |options: ScriptsOptions| options.check().unwrap_err().to_string();
        assert!(refused(ScriptsOptions { cpu_ms: 0, ..Default::default() }).starts_with("scripts.cpu_ms: "));
        assert!(refused(ScriptsOptions { heap_bytes: 1, ..Default::default() }).contains("heap_bytes"));
        let (cpu_ms, wall_ms) = (100, 100);
        assert!(refused(ScriptsOptions { cpu_ms, wall_ms, ..Default::default() }).contains("scripts.cpu_ms"));
        assert!(ScriptsOptions { cpu_ms, wall_ms: 101, ..Default::default() }.check().is_ok());
    }
}
