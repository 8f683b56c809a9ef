//! The `auto-reply` stage: answers for recipients who have one switched on.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::made::MadeRoute;
use super::stages::{Outcome, Stage};
use crate::automation::Automation;
use crate::automation::log::AutomationLog;
use crate::clock::Clock;
use crate::envelope::Envelope;
use crate::store::Store;

/// The stage.
pub struct AutoReplyStage {
    /// What is switched on for whom.
    pub automation: Automation,
    /// What was answered, and what was not.
    pub log: AutomationLog,
    /// Whom was answered before.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Where answers go.
    pub route: MadeRoute,
}

impl Stage for AutoReplyStage {
    fn apply(&self, envelope: Envelope) -> BoxFuture<'_, Outcome> {
        std::future::ready(Outcome::pass(envelope)).boxed()
    }
}
