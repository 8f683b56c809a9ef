//! The Luau engine: one interpreter state for each owner, a fresh environment for each run.
//!
//! A state keeps only what costs time to make: the frozen library and the owner's compiled chunks. A run gets its own
//! globals and its own copy of the main chunk, and everything it made is garbage when it ends. So a state can be thrown
//! away at any time, and is, whenever a limit was hit in it.

mod budget;
mod check;
mod clock;
mod environment;
mod errors;
mod result;
mod warnings;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::DateTime;
use mlua::chunk::ChunkMode;
use mlua::{Function, Value};

use self::budget::Budget;
use self::environment::Environment;
use super::call::{Diagnostic, Direction, Failure, FailureKind, Ran, SourceHash, Wanted};
use super::engine::{Call, Engine};
use super::protocol::RunLimits;
use crate::envelope::rfc3339;
use crate::ids::UserId;

/// Fixes of this release that are switched off in it: a table of 2^31 places, `table.move` that is not interrupted, a
/// table that is broken by a failed allocation, and a metatable that all vectors share.
const FLAGS: [&str; 4] =
    ["LuauTableArrayAdjustCheck", "LuauTableMoveTimeoutFix", "LuauTableRobustOom", "LuauSandboxFreezesVectorMetatable"];
/// Sources that one owner's state keeps: both directions, and a version that is being replaced.
const CHUNKS: usize = 4;
/// What a state counts less than its heap, in bytes: the interpreter gives every size of object a page of 16 KiB, most of
/// which stays untouched in a small state. As measured: 520 KiB of heap with a small script in it, 280 KiB resident, and
/// some more when runs have left garbage here and there: rather too little than too much is taken off.
const UNTOUCHED_BYTES: u64 = 192 * 1024;
/// Garbage that is collected between runs, in bytes. Small, because it is cheap (some 20 µs for a small state), because
/// many states have theirs at once, and because none of it may be left to make the next run fail.
const GARBAGE_BYTES: usize = 64 * 1024;
/// The part of the heap limit that may be left when garbage was collected; a state with more is thrown away.
const LEFT_PART: usize = 4;

/// The engine.
#[derive(Debug)]
pub struct Luau {
    limits: RunLimits,
    budget: Arc<Budget>,
    states: HashMap<UserId, State>,
    /// Bytes of all states.
    bytes: u64,
    /// Counts runs: the clock of "unused for longest".
    runs: u64,
}

#[derive(Debug)]
struct State {
    environment: Environment,
    chunks: HashMap<SourceHash, Function>,
    /// Heap without garbage.
    settled: usize,
    /// What it counts in `Luau::bytes`.
    bytes: u64,
    last_run: u64,
}

/// What became of a run, and whether its state may be used again.
struct Outcome {
    result: Result<Wanted, Failure>,
    spoilt: bool,
}

impl Luau {
    /// An engine without states.
    ///
    /// # Errors
    /// The interpreter is not the one that this was written for.
    pub fn new(limits: RunLimits) -> Result<Self, Failure> {
        for flag in FLAGS {
            let unknown = |()| Failure::new(FailureKind::Unavailable, format!("the interpreter has no flag {flag}"));
            mlua::Lua::set_fflag(flag, true).map_err(unknown)?;
        }
        let budget = Arc::new(Budget::new(limits));
        Ok(Self { limits, budget, states: HashMap::new(), bytes: 0, runs: 0 })
    }

    /// How many states there are, and how many bytes they count.
    #[must_use]
    pub fn states(&self) -> (usize, u64) {
        (self.states.len(), self.bytes)
    }

    /// Sees to it that the owner's state has the chunk; `None`: the source is not here.
    fn load(&mut self, call: &Call<'_>) -> Option<Result<(), Failure>> {
        let held = self.states.get(&call.owner);
        if held.is_some_and(|state| state.chunks.contains_key(&call.hash)) {
            return Some(Ok(()));
        }
        let source = call.source?;
        if held.is_some_and(|state| state.chunks.len() >= CHUNKS) {
            self.throw_away(call.owner);
        }
        let state = match self.states.remove(&call.owner) {
            Some(state) => {
                self.bytes -= state.bytes;
                Ok(state)
            }
            None => State::new(&self.budget),
        };
        let loaded = state.and_then(|mut state| {
            state.load(call.hash, source, &self.limits)?;
            Ok(state)
        });
        Some(loaded.map(|state| {
            self.bytes += state.bytes;
            self.states.insert(call.owner, state);
            self.evict(call.owner);
        }))
    }

    fn throw_away(&mut self, owner: UserId) {
        if let Some(state) = self.states.remove(&owner) {
            self.bytes -= state.bytes;
        }
    }

    /// Throws the states away that were unused for longest, an eighth of the room at once so that not every run pays.
    fn evict(&mut self, but: UserId) {
        if self.bytes <= self.limits.states_bytes {
            return;
        }
        let mut owners: Vec<(u64, UserId)> =
            self.states.iter().map(|(owner, state)| (state.last_run, *owner)).collect();
        owners.sort_unstable();
        let enough = self.limits.states_bytes - self.limits.states_bytes / 8;
        for (_, owner) in owners.into_iter().filter(|(_, owner)| *owner != but) {
            if self.bytes <= enough {
                break;
            }
            self.throw_away(owner);
        }
    }
}

impl Engine for Luau {
    fn check(&mut self, direction: Direction, source: &str) -> Result<Vec<Diagnostic>, Failure> {
        check::check(&self.limits, &self.budget, direction, source)
    }

    fn run(&mut self, call: Call<'_>) -> Option<Ran> {
        self.budget.begin(call.input.sent_at);
        if let Err(failure) = self.load(&call)? {
            return Some(Ran { cpu_micros: self.budget.cpu_micros(), ..Ran::not(failure) });
        }
        // Compiling has its own guard, the parent's: what it took is not the run's.
        self.budget.begin(call.input.sent_at);
        self.runs += 1;
        let state = self.states.get_mut(&call.owner)?;
        state.last_run = self.runs;
        let outcome = state.run(&call, &self.limits, &self.budget);
        let cpu_micros = self.budget.cpu_micros();
        let heap_bytes = self.budget.peak().max(state.environment.lua.used_memory() as u64);
        if outcome.spoilt || !state.tidy(&self.limits) {
            self.throw_away(call.owner);
        } else {
            self.bytes = self.bytes - state.bytes + state.measure();
            self.evict(call.owner);
        }
        let prints = self.budget.take_prints();
        Some(Ran { outcome: outcome.result, prints, cpu_micros, wall_micros: 0, heap_bytes })
    }
}

impl State {
    fn new(budget: &Arc<Budget>) -> Result<Self, Failure> {
        let environment = Environment::new(budget).map_err(|error| errors::host(&error))?;
        Ok(Self { environment, chunks: HashMap::new(), settled: 0, bytes: 0, last_run: 0 })
    }

    /// Compiles a source into this state.
    fn load(&mut self, hash: SourceHash, source: &str, limits: &RunLimits) -> Result<(), Failure> {
        let lua = &self.environment.lua;
        let heap_failure = |error: mlua::Error| errors::host(&error);
        lua.set_memory_limit(heap_limit(limits)).map_err(heap_failure)?;
        self.chunks.insert(hash, compile(&self.environment, source)?);
        lua.gc_collect().map_err(heap_failure)?;
        self.settled = lua.used_memory();
        self.measure();
        Ok(())
    }

    fn run(&mut self, call: &Call<'_>, limits: &RunLimits, budget: &Budget) -> Outcome {
        let Some(chunk) = self.chunks.get(&call.hash) else {
            let failure = Failure::new(FailureKind::Unavailable, "the source is not here");
            return Outcome { result: Err(failure), spoilt: true };
        };
        // Garbage of earlier runs does not count against this one.
        let garbage = self.environment.lua.used_memory().saturating_sub(self.settled);
        let limited = self.environment.lua.set_memory_limit(heap_limit(limits) + garbage);
        let returned = limited.and_then(|_| execute(&self.environment, chunk, call.direction, Some(call)));
        let result = judge(returned, call.direction, limits, budget);
        let limit_was_hit =
            matches!(&result, Err(Failure { kind: FailureKind::CpuLimit | FailureKind::HeapLimit, .. }));
        Outcome { result, spoilt: limit_was_hit }
    }

    /// Collects what earlier runs left, when it is worth it. False: the state is to be thrown away.
    fn tidy(&self, limits: &RunLimits) -> bool {
        let lua = &self.environment.lua;
        let left = || lua.used_memory().saturating_sub(self.settled);
        left() <= GARBAGE_BYTES || (lua.gc_collect().is_ok() && left() <= heap_limit(limits) / LEFT_PART)
    }

    /// What it counts from now on.
    fn measure(&mut self) -> u64 {
        self.bytes = (self.environment.lua.used_memory() as u64).saturating_sub(UNTOUCHED_BYTES);
        self.bytes
    }
}

fn heap_limit(limits: &RunLimits) -> usize {
    usize::try_from(limits.heap_bytes).unwrap_or(usize::MAX / 2)
}

/// Text into a chunk; never bytecode, which can break the interpreter.
fn compile(environment: &Environment, source: &str) -> Result<Function, Failure> {
    check::is_text(source)?;
    let chunk = environment.lua.load(source).set_name(errors::CHUNK).set_mode(ChunkMode::Text);
    chunk.into_function().map_err(|error| check::compile_failure(&error))
}

/// The main chunk in a fresh environment, then the function on the message, if there is one.
fn execute(
    environment: &Environment,
    chunk: &Function,
    direction: Direction,
    call: Option<&Call<'_>>,
) -> mlua::Result<(u8, Value, Option<u32>)> {
    let Environment { lua, inherits, trampoline, seed } = environment;
    let globals = lua.create_table()?;
    globals.set_metatable(Some(inherits.clone()))?;
    // Nothing can change what it inherits, so the compiler's short cuts hold.
    globals.set_safeenv(true);
    let main = chunk.deep_clone()?;
    main.set_environment(globals.clone())?;
    let Some(Call { input, seed: number, .. }) = call else {
        seed.call::<()>(0)?;
        return trampoline.call((main, globals, direction.name()));
    };
    seed.call::<()>((number ^ (number >> 32)) as u32 as i32)?;
    let recipients = lua.create_sequence_from(input.recipient_ids.iter().map(|id| id.0))?;
    let conversation = input.conversation_id.to_string();
    // As in frames and envelopes; for reckoning there is `os.time`.
    let sent_at = rfc3339(DateTime::from_timestamp_millis(input.sent_at).unwrap_or_default());
    trampoline.call((
        main,
        globals,
        direction.name(),
        &*input.message_body,
        input.own_id.0,
        input.sender_id.0,
        recipients,
        input.from_auto_reply,
        conversation,
        input.first_contact,
        sent_at,
    ))
}

/// What it came to. A limit that was hit counts before everything that the script made of it.
fn judge(
    returned: mlua::Result<(u8, Value, Option<u32>)>,
    direction: Direction,
    limits: &RunLimits,
    budget: &Budget,
) -> Result<Wanted, Failure> {
    let result = match returned {
        Ok((0, value, _)) => result::wanted(direction, &value, limits),
        Ok((1, value, line)) => Err(errors::raised(&value, line)),
        Ok((_, found, _)) => Err(check::no_function(direction, &found)),
        Err(error) => Err(errors::host(&error)),
    };
    if budget.is_over() {
        let line = result.err().and_then(|failure| failure.line);
        return Err(Failure { kind: FailureKind::CpuLimit, detail: budget.over_words(), line });
    }
    match result {
        Err(failure) if failure.kind == FailureKind::HeapLimit => {
            let kib = limits.heap_bytes / 1024;
            Err(Failure { detail: format!("used more than {kib} KiB of memory"), ..failure })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
