//! What is switched on for whom: the standing auto-reply and the active scripts, remembered so that a message to
//! somebody who has none costs no question to the store.

pub mod log;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::ids::{ConversationId, MessageUid, UserId};
use crate::script::call::{Direction, Language, SourceHash};
use crate::store::{self, Store};

/// Users remembered; most have nothing switched on and take about 60 bytes.
const REMEMBERED: usize = 200_000;

/// A standing auto-reply that is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoReply {
    /// What is answered.
    pub text: String,
    /// How long the same sender is not answered again, in seconds; 0: every message is answered.
    pub repeat_after_seconds: u32,
}

/// A version of a script that is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveScript {
    /// Which version.
    pub version: u32,
    /// What it is written in.
    pub language: Language,
    /// Which source.
    pub hash: SourceHash,
}

/// What one user has switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchedOn {
    /// Answers for them.
    pub auto_reply: Option<AutoReply>,
    /// Sees what comes in.
    pub incoming: Option<ActiveScript>,
    /// Sees what goes out.
    pub outgoing: Option<ActiveScript>,
}

impl SwitchedOn {
    /// The script of that direction.
    #[must_use]
    pub fn script(&self, direction: Direction) -> Option<ActiveScript> {
        match direction {
            Direction::Incoming => self.incoming,
            Direction::Outgoing => self.outgoing,
        }
    }
}

/// The memory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Automation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// `None`: nothing is switched on.
    known: Cache<UserId, Option<Arc<SwitchedOn>>>,
    /// Conversations that somebody has written in, and by which message as far as that is known here: the same message
    /// again is the first one again.
    begun: Cache<ConversationId, Option<MessageUid>>,
    /// Counts changes: what was read before one is not remembered after it.
    changes: AtomicU64,
}

impl Automation {
    /// An empty memory over these tables.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let known = Cache::new(REMEMBERED);
        let begun = Cache::new(REMEMBERED);
        Self(Arc::new(Inner { store, known, begun, changes: AtomicU64::new(0) }))
    }

    /// What is remembered of a user without asking the store: outer `None`, nothing is known.
    #[must_use]
    pub fn remembered(&self, user: UserId) -> Option<Option<Arc<SwitchedOn>>> {
        self.0.known.get(&user)
    }

    /// What these users have switched on, in their order; `None` for nothing.
    ///
    /// # Errors
    /// [`store::Error`] when the tables cannot be read now.
    pub async fn of(&self, users: &[UserId]) -> Result<Vec<Option<Arc<SwitchedOn>>>, store::Error> {
        let known: Vec<_> = users.iter().map(|user| self.remembered(*user)).collect();
        let unknown = users.iter().zip(&known).filter(|(_, known)| known.is_none());
        let unknown: Vec<UserId> = unknown.map(|(user, _)| *user).collect();
        let mut read = std::collections::HashMap::new();
        if !unknown.is_empty() {
            let before = self.0.changes.load(Ordering::Acquire);
            read = self.0.store.switched_on(&unknown).await?;
            for user in unknown {
                let found = read.get(&user).cloned();
                self.0.known.insert(user, found);
            }
            // Whoever changed something meanwhile has taken it out before this put it in.
            if self.0.changes.load(Ordering::Acquire) != before {
                users.iter().for_each(|user| drop(self.0.known.remove(user)));
            }
        }
        // Not what is remembered now: who was known may have been forgotten while the others were read.
        let of = |(user, known): (&UserId, Option<_>)| known.unwrap_or_else(|| read.get(user).cloned());
        Ok(users.iter().zip(known).map(of).collect())
    }

    /// Whether `message` is the first of its conversation. Asked again for the same message, it says the same as long as
    /// this is remembered: a second message does not count as the first although that one is still on its way.
    ///
    /// # Errors
    /// [`store::Error`] when the tables cannot be read now.
    pub async fn is_first_contact(&self, of: ConversationId, message: MessageUid) -> Result<bool, store::Error> {
        if let Some(first) = self.0.begun.get(&of) {
            return Ok(first == Some(message));
        }
        let first = if self.0.store.has_conversation(of).await? { None } else { Some(message) };
        self.0.begun.insert(of, first);
        Ok(first.is_some())
    }

    /// Somebody's settings were changed in the tables: they are read again. To be called after the change is committed,
    /// before it is answered.
    pub fn changed(&self, user: UserId) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        self.0.known.remove(&user);
    }
}
