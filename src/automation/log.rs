//! What automation did and why, for its owner: gathered here, written to the tables a little later, a few at once.

mod allowance;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use self::allowance::{Allowances, Taken};
use crate::ids::{MessageUid, UserId};
use crate::script::call::{Direction, Reply};
use crate::store::Store;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The script on incoming messages.
    Incoming,
    /// The script on outgoing messages.
    Outgoing,
    /// The standing auto-reply.
    AutoReply,
}

impl Source {
    /// The word for it, in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
            Self::AutoReply => "auto-reply",
        }
    }
}

impl From<Direction> for Source {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Incoming => Self::Incoming,
            Direction::Outgoing => Self::Outgoing,
        }
    }
}

/// The verdict of an entry that says that the server switched a script off.
pub const SWITCHED_OFF: &str = "switched_off";
/// The verdict of an entry that says how many others are missing before it.
pub const LEFT_OUT: &str = "left_out";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Whose automation.
    pub user_id: UserId,
    /// Which.
    pub source: Source,
    /// When.
    pub at: DateTime<Utc>,
    /// Which version of the script; `None` for the auto-reply.
    pub version: Option<u32>,
    /// Over which message; `None`: it is not about one (`switched_off`).
    pub message_uid: Option<MessageUid>,
    /// `forward`, `drop`, `edited`, `failed`; `switched_off`; `answered`, `not_answered`; [`LEFT_OUT`].
    pub verdict: &'static str,
    /// The rest.
    pub details: Details,
}

/// What else is to be said; what does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// A stable code: of a failure, or why nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The line of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What was printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prints: Vec<String>,
    /// Whether more was printed than is kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub prints_cut: bool,
    /// What was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Reply>,
    /// What was wanted and not sent, because the message was an automatic one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Reply>,
    /// Processor time, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_micros: Option<u64>,
    /// Wall time, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_micros: Option<u64>,
    /// Heap, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_bytes: Option<u64>,
}

impl Details {
    /// Takes away what a script said, which may quote messages: not for administrators to read.
    pub fn without_its_words(&mut self, verdict: &str) {
        if verdict == "failed" {
            self.detail = None;
        }
        self.prints.clear();
        for reply in self.replies.iter_mut().chain(&mut self.unanswered) {
            reply.message_body.clear();
        }
    }
}

/// Entries that wait to be written at most, of all users. One more is left out and counted.
const QUEUE: usize = 10_000;
/// How long entries gather.
const GATHER: Duration = Duration::from_millis(200);
/// Entries of one transaction: the router's transactions wait for it.
const BATCH: usize = 100;
/// Logs that one transaction trims; the others wait for their next entry.
const TRIMS: usize = 10;
/// Time between two transactions when there is more: the router's get in between.
const PAUSE: Duration = Duration::from_millis(20);
/// Logs of which is known how many entries came since they were last trimmed; the others are trimmed when one comes.
const KNOWN_LOGS: usize = 50_000;

/// The log. Cheap to clone. When the last clone is dropped, what waits is written.
#[derive(Clone, Debug)]
pub struct AutomationLog {
    queue: mpsc::Sender<Item>,
    allowances: Arc<Mutex<Allowances>>,
}

#[derive(Debug)]
enum Item {
    Entry(Box<LogEntry>),
    /// All before it is to be written now.
    Flush(oneshot::Sender<()>),
}

impl AutomationLog {
    /// A log into these tables that keeps so many entries for each user and source.
    #[must_use]
    pub fn start(store: Store, keep: u32) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let allowances = Arc::new(Mutex::new(Allowances::default()));
        let writer = Writer { store, keep, since_trim: Cache::new(KNOWN_LOGS), allowances: allowances.clone() };
        tokio::spawn(writer.run(items));
        Self { queue, allowances }
    }

    /// Notes an entry. Never waits: what comes too fast, of one owner or of all, is left out and counted. What is left
    /// out of one owner's log is told there, as soon as there is room for that.
    pub fn note(&self, entry: LogEntry) {
        let told = match lock(&self.allowances).take(&entry, Instant::now()) {
            Taken::Yes(told) => told,
            Taken::TooMany => return crate::metrics::automation_log_left_out("owner"),
            Taken::TooManyOwners => return crate::metrics::automation_log_left_out("owners"),
        };
        for entry in told.into_iter().chain([entry]) {
            if self.queue.try_send(Item::Entry(Box::new(entry))).is_err() {
                crate::metrics::automation_log_left_out("queue");
            }
        }
    }

    /// Comes to an end when everything noted before is in the tables, or cannot be written now.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            // A writer that is gone writes no more.
            let _ = written.await;
        }
    }
}

fn lock(allowances: &Mutex<Allowances>) -> MutexGuard<'_, Allowances> {
    allowances.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one task that writes.
struct Writer {
    store: Store,
    keep: u32,
    since_trim: Cache<(UserId, Source), u32>,
    allowances: Arc<Mutex<Allowances>>,
}

impl Writer {
    async fn run(self, mut items: mpsc::Receiver<Item>) {
        let mut gathered = Vec::with_capacity(BATCH);
        while let Some(first) = items.recv().await {
            let mut flush = self.sort(first, &mut gathered);
            let gathering = tokio::time::sleep(GATHER);
            tokio::pin!(gathering);
            while flush.is_none() && gathered.len() < BATCH {
                tokio::select! {
                    // A closed queue is nothing more to wait for.
                    item = items.recv() => match item {
                        Some(item) => flush = self.sort(item, &mut gathered),
                        None => break,
                    },
                    () = &mut gathering => break,
                }
            }
            self.write(&gathered).await;
            let more = gathered.len() >= BATCH;
            gathered.clear();
            if let Some(done) = flush {
                // Whoever asked may have gone.
                let _ = done.send(());
            } else if more {
                tokio::time::sleep(PAUSE).await;
            }
            lock(&self.allowances).forget(Instant::now());
        }
    }

    fn sort(&self, item: Item, gathered: &mut Vec<LogEntry>) -> Option<oneshot::Sender<()>> {
        match item {
            Item::Entry(entry) => {
                gathered.push(*entry);
                None
            }
            Item::Flush(done) => Some(done),
        }
    }

    async fn write(&self, entries: &[LogEntry]) {
        if entries.is_empty() {
            return;
        }
        let trim = self.to_trim(entries);
        if let Err(error) = self.store.write_automation_log(entries, &trim, self.keep).await {
            tracing::warn!(%error, entries = entries.len(), "what automation did cannot be logged for its owners");
            entries.iter().for_each(|_| crate::metrics::automation_log_left_out("store"));
            for log in &trim {
                self.since_trim.remove(log);
            }
        }
    }

    /// The logs to be trimmed: those that grew by a quarter since, and those of which nothing is known.
    fn to_trim(&self, entries: &[LogEntry]) -> Vec<(UserId, Source)> {
        let slack = (self.keep / 4).max(1);
        let mut grown: HashMap<(UserId, Source), u32> = HashMap::new();
        for entry in entries {
            *grown.entry((entry.user_id, entry.source)).or_default() += 1;
        }
        let mut trim = Vec::new();
        for (log, by) in grown {
            let since = self.since_trim.get(&log).map_or(slack, |before| before + by);
            let now = since >= slack && trim.len() < TRIMS;
            if now {
                trim.push(log);
            }
            self.since_trim.insert(log, if now { 0 } else { since });
        }
        trim
    }
}

#[cfg(test)]
mod tests;
