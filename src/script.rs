//! Scripts: what one may want, who runs it, where its source lies, and what becomes of what it wanted.
//!
//! A script runs in a worker, a confined child process ([`worker`]); the server talks to it by [`protocol`], through
//! [`pool`]. What comes back is data, and hostile until [`effects`] has checked it.

pub mod call;
pub mod confine;
pub mod effects;
pub mod engine;
pub mod jolie;
pub mod luau;
pub mod pool;
pub mod protocol;
pub mod sources;
pub mod standing;
pub mod stats;
pub mod trial;
pub mod worker;

use crate::automation::Automation;
use crate::config::scripts::ScriptsOptions;

/// What the HTTP side needs to look after scripts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scripts {
    /// Where sources lie.
    pub sources: sources::Sources,
    /// Who compiles and runs them.
    pub workers: pool::Workers,
    /// What is switched on for whom; to be told of every change.
    pub automation: Automation,
    /// What they have done since the node started.
    pub stats: stats::Stats,
    /// The limits.
    pub options: ScriptsOptions,
    /// What may come of a run.
    pub effect_limits: effects::EffectLimits,
}
