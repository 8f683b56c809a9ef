//! The door: from a draft to an envelope that is durable on the bus. Sockets and HTTP come in by the same one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use quick_cache::sync::Cache;

use crate::clock::{Clock, monotonic};
use crate::cluster::rates::{Rate, Rates};
use crate::config::session::SessionOptions;
use crate::envelope::Envelope;
use crate::ids::{MessageUid, SessionId, UserId};
use crate::pipeline::bus::{self, Bus, Receipt, Topic};
use crate::protocol::session::Draft;
use crate::store::{self, Store};

/// Users remembered to exist; about 60 bytes each. One that was forgotten costs a look-up.
const KNOWN_USERS: usize = 100_000;
/// Users whose rate is remembered before those at rest are forgotten.
const RATES_KEPT: usize = 50_000;
/// What an envelope has beside its body and its ids, roughly: for the bound on unfinished bytes.
const ENVELOPE_OVERHEAD: usize = 512;

/// Why a message was not taken. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The body is over the limit.
    #[error("`messageBody` has {bytes} bytes, at most {limit} are allowed")]
    MessageTooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// Nobody is addressed.
    #[error("`recipientIds` is empty: name at least one recipient")]
    NoRecipients,
    /// Too many are addressed.
    #[error("`recipientIds` names {count} recipients, at most {limit} are allowed")]
    TooManyRecipients {
        /// How many.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Somebody is addressed who does not exist.
    #[error("`recipientIds` names {0}, and there is no such user")]
    UnknownRecipient(UserId),
    /// The sender sends more than anybody may.
    #[error("too many messages: try again in {} ms", .0.as_millis())]
    RateLimited(Duration),
    /// This node is about to stop.
    #[error("this node stops: send it again when you are connected again, with the same clientMessageId")]
    Stopping,
    /// The bus did not take it.
    #[error("the message could not be kept: {0}; send it again with the same clientMessageId")]
    Bus(#[from] bus::Error),
    /// The store could not be asked who exists.
    #[error("the store does not answer; send it again with the same clientMessageId")]
    Store(#[from] store::Error),
}

impl Rejection {
    /// The stable code of `rejected` frames and HTTP problems.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MessageTooLarge { .. } => "message_too_large",
            Self::NoRecipients => "no_recipients",
            Self::TooManyRecipients { .. } => "too_many_recipients",
            Self::UnknownRecipient(_) => "unknown_recipient",
            Self::RateLimited(_) => "rate_limited",
            Self::Stopping => "stopping",
            Self::Bus(bus::Error::TooLarge { .. }) => "message_too_large",
            Self::Bus(_) | Self::Store(_) => "unavailable",
        }
    }
}

/// Takes messages in.
pub struct Intake {
    bus: Arc<dyn Bus>,
    store: Store,
    clock: Clock,
    options: SessionOptions,
    pipeline: Vec<Topic>,
    known: Cache<UserId, ()>,
    rates: DefaultKeyedRateLimiter<UserId>,
    /// The same limit over all nodes, when there are others.
    everywhere: Option<Rates>,
    stopping: AtomicBool,
}

/// A message in line on the bus.
pub struct Admitted {
    /// Its uid.
    pub message_uid: MessageUid,
    receipt: Receipt,
    /// When the draft came to the door.
    since: Instant,
}

impl Admitted {
    /// Waits until the message is durable: now it may be called accepted.
    ///
    /// # Errors
    /// [`Rejection::Bus`]: it is not. After a failed sync it may still be in the file, and be delivered when the node is
    /// started again: sending it again is safe with a `clientMessageId`.
    pub async fn durable(self) -> Result<MessageUid, Rejection> {
        let place = self.receipt.await?;
        let took = monotonic().saturating_duration_since(self.since).as_secs_f64();
        tracing::debug!(
            target: "parlor::message", step = "accept", message_uid = %self.message_uid, %place, took_ms = took * 1e3,
            "a message is durable"
        );
        crate::metrics::accept().record(took);
        Ok(self.message_uid)
    }
}

impl Intake {
    /// A door to the first topic of `pipeline`.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, store: Store, clock: Clock, options: SessionOptions, pipeline: Vec<Topic>) -> Self {
        let per_second = NonZeroU32::new(options.messages_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(options.message_burst).unwrap_or(NonZeroU32::MIN);
        let rates = RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst));
        let known = Cache::new(KNOWN_USERS);
        let stopping = AtomicBool::new(false);
        Self { bus, store, clock, options, pipeline, known, rates, everywhere: None, stopping }
    }

    /// Has what a user sends count over all nodes.
    #[must_use]
    pub fn count_everywhere(mut self, rates: Rates) -> Self {
        self.everywhere = Some(rates);
        self
    }

    /// From now on nothing is taken.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the door is shut.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Checks a draft and puts it in line. Waits while the bus is full: that is where a slow stage is felt. Call it
    /// for one session's drafts one after the other, and they stand in that order.
    ///
    /// # Errors
    /// Each case of [`Rejection`].
    pub async fn admit(&self, sender: UserId, session: SessionId, draft: Draft) -> Result<Admitted, Rejection> {
        let since = monotonic();
        let recipients = self.check(sender, &draft)?;
        if let Some(everywhere) = &self.everywhere {
            everywhere.message(sender, self.rate()).await.map_err(Rejection::RateLimited)?;
        }
        self.check_known(&recipients).await?;
        let bytes = draft.message_body.len() + recipients.len() * 20 + ENVELOPE_OVERHEAD;
        let room = self.bus.room(bytes).await?;
        if self.stopping() {
            return Err(Rejection::Stopping);
        }
        let message_uid = match &draft.client_message_id {
            Some(id) => MessageUid::from_client(sender, id),
            None => MessageUid::fresh(),
        };
        let envelope = Envelope {
            message_uid,
            session_id: session,
            message_body: draft.message_body,
            sender_id: sender,
            participant_ids: Some(recipients.clone()),
            recipient_ids: recipients,
            from_auto_reply: false,
            event_destinations: self.pipeline.clone(),
            sent_at: Some(self.clock.now()),
            hops: 0,
            cause_uid: None,
            made_by: None,
            filtered_ids: Vec::new(),
            answered_by: Vec::new(),
            other: std::collections::BTreeMap::new(),
        };
        let Some(first) = self.pipeline.first() else { return Err(Rejection::Stopping) };
        tracing::debug!(
            target: "parlor::message", %message_uid, user_id = %sender, session_id = %session, "a message is at the door"
        );
        let receipt = self.bus.publish(room, first, key(sender), envelope.to_bytes().into());
        Ok(Admitted { message_uid, receipt, since })
    }

    /// What can be told without asking anybody. Returns the recipients without repeats, in the order named.
    fn check(&self, sender: UserId, draft: &Draft) -> Result<Vec<UserId>, Rejection> {
        if self.stopping() {
            return Err(Rejection::Stopping);
        }
        let (bytes, limit) = (draft.message_body.len(), self.options.max_message_bytes);
        if bytes > limit {
            return Err(Rejection::MessageTooLarge { bytes, limit });
        }
        if draft.recipient_ids.is_empty() {
            return Err(Rejection::NoRecipients);
        }
        let (count, limit) = (draft.recipient_ids.len(), self.options.max_recipients);
        if count > limit {
            return Err(Rejection::TooManyRecipients { count, limit });
        }
        if let Err(not_until) = self.rates.check_key(&sender) {
            return Err(Rejection::RateLimited(not_until.wait_time_from(DefaultClock::default().now())));
        }
        if self.rates.len() > RATES_KEPT {
            self.rates.retain_recent();
        }
        let mut seen = std::collections::HashSet::with_capacity(count);
        Ok(draft.recipient_ids.iter().copied().filter(|id| seen.insert(*id)).collect())
    }

    fn rate(&self) -> Rate {
        let interval = Duration::from_secs(1) / self.options.messages_per_second.max(1);
        Rate { burst: self.options.message_burst.max(1), interval }
    }

    async fn check_known(&self, recipients: &[UserId]) -> Result<(), Rejection> {
        let unknown: Vec<UserId> = recipients.iter().copied().filter(|id| self.known.get(id).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        if let Some(missing) = self.store.missing_users(&unknown).await?.first() {
            return Err(Rejection::UnknownRecipient(*missing));
        }
        for id in unknown {
            self.known.insert(id, ());
        }
        Ok(())
    }
}

/// The key of a sender's records: what keeps them in order.
#[must_use]
pub fn key(sender: UserId) -> Bytes {
    Bytes::copy_from_slice(sender.to_string().as_bytes())
}
