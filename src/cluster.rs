//! A node among others: its slot, who else is there, who has a session where, and limits that hold over all nodes.
//!
//! All of it is in Redis, and none of it is the truth: what is lost there is made anew, and until then it costs speed only.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub mod doubt;
pub mod here;
pub mod leases;
pub mod membership;
pub mod nodes;
pub mod presence;
pub mod rates;
pub mod redis;

use self::doubt::{Doubt, Reason};
use self::here::Here;
use self::leases::Leases;
use self::membership::{Membership, Sitting, Wish};
use self::nodes::{NodeRecord, Nodes, Seat};
use self::presence::{Presence, Route};
use self::rates::{Counting, Rates};
use self::redis::Redis;
use crate::config::cluster::ClusterOptions;
use crate::config::redis::RedisOptions;
use crate::config::secret::Secret;
use crate::ids::{Slot, UserId};

/// Why a node cannot be one of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis cannot be used as it is named.
    #[error(transparent)]
    Redis(#[from] redis::Error),
    /// The host's name has no number.
    #[error("settings: slot: {0:?} is this host's name, and no number below cluster.slots stands at its end")]
    HostName(String),
    /// Nothing says which slot this is.
    #[error("settings: slot: must be set when redis_url is not")]
    NoSlot,
}

/// What a node needs to know to be one of many.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where Redis is, if there is one.
    pub redis_url: Option<Secret>,
    /// How long it may take.
    pub redis: RedisOptions,
    /// Slots and leases.
    pub cluster: ClusterOptions,
    /// What all keys begin with.
    pub prefix: String,
    /// Which slot it wants.
    pub wish: Wish,
    /// What it says about itself.
    pub record: NodeRecord,
}

/// A node's view of its cluster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    setup: Setup,
    slots: u16,
    redis: Redis,
    membership: Membership,
    presence: Presence,
    left_behind: Mutex<Option<mpsc::Receiver<UserId>>>,
    here: Here,
    doubt: Doubt,
    rates: Rates,
    counting: Mutex<Option<Counting>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// The number at the end of a host's name, as a StatefulSet gives it: 3 of `parlor-3`.
#[must_use]
pub fn ordinal(host: &str) -> Option<u16> {
    let name = host.split('.').next().unwrap_or(host);
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name[name.len() - digits..].parse().ok()
}

impl Cluster {
    /// A node that has not begun yet.
    ///
    /// # Errors
    /// [`Error`] names the setting.
    pub fn new(setup: Setup) -> Result<Self, Error> {
        let slots = u16::try_from(setup.cluster.slots).unwrap_or(u16::MAX);
        let redis = match &setup.redis_url {
            Some(url) => Redis::new(url, &setup.redis)?,
            None => Redis::absent(&setup.redis)?,
        };
        let (here, doubt) = (Here::default(), Doubt::none());
        let (presence, left_behind) = Presence::new(redis.clone(), &setup.prefix);
        let leases = Leases::new(redis.clone(), &setup.prefix, slots, setup.cluster.lease());
        let (rates, counting) = Rates::new(redis.clone(), &setup.prefix);
        let membership = Membership::new(
            leases,
            presence.clone(),
            here.clone(),
            doubt.clone(),
            setup.wish,
            slots,
            setup.record.clone(),
        );
        if setup.redis_url.is_none() {
            let Wish::This { slot, .. } = setup.wish else { return Err(Error::NoSlot) };
            membership.sit_alone(slot);
        }
        let (counting, left_behind) = (Mutex::new(Some(counting)), Mutex::new(Some(left_behind)));
        Ok(Self(Arc::new(Inner {
            setup,
            slots,
            redis,
            membership,
            presence,
            left_behind,
            here,
            doubt,
            rates,
            counting,
            tasks: Mutex::default(),
        })))
    }

    /// Begins: connects to Redis, takes a slot, announces who comes. Once.
    pub fn start(&self) {
        let inner = &self.0;
        let Some(counting) = inner.counting.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if inner.setup.redis_url.is_none() {
            return;
        }
        let tasks = [
            tokio::spawn(inner.redis.clone().keep_connected()),
            tokio::spawn(inner.membership.clone().keep()),
            tokio::spawn(inner.presence.clone().announce(inner.here.clone())),
            tokio::spawn(counting.run()),
        ];
        inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    /// Ends: gives the slot back. Nothing is asked any more.
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // The connection goes last: it is needed to say goodbye.
        tasks.iter().skip(1).for_each(JoinHandle::abort);
        self.0.membership.leave().await;
        tasks.iter().for_each(JoinHandle::abort);
    }

    /// Slots that there are.
    #[must_use]
    pub fn slots(&self) -> u16 {
        self.0.slots
    }

    /// Where this node sits.
    #[must_use]
    pub fn seat(&self) -> Option<Seat> {
        self.0.membership.seat()
    }

    /// Where this node sits, and every change of it.
    #[must_use]
    pub fn seats(&self) -> watch::Receiver<Option<Sitting>> {
        self.0.membership.seats()
    }

    /// What is sent to this seat is being read from now on.
    pub fn listening(&self, seat: Seat) {
        self.0.membership.listening(seat);
    }

    /// Who has a session here.
    #[must_use]
    pub fn here(&self) -> &Here {
        &self.0.here
    }

    /// Limits that hold over all nodes.
    #[must_use]
    pub fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// Users whose entry under a seat that nobody holds was taken out by this node. For one listener.
    #[must_use]
    pub fn left_behind(&self) -> Option<mpsc::Receiver<UserId>> {
        self.0.left_behind.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What gives reason to ask the store.
    #[must_use]
    pub fn doubt(&self) -> &Doubt {
        &self.0.doubt
    }

    /// The nodes as they were read last; at most a second old while Redis answers.
    #[must_use]
    pub fn nodes(&self) -> Arc<Nodes> {
        self.0.membership.nodes()
    }

    /// What this node says about itself.
    #[must_use]
    pub fn record(&self) -> NodeRecord {
        self.0.membership.record()
    }

    /// Changes what this node says about itself; `now`: others are to see it at once, and not within seconds.
    pub fn say(&self, change: impl FnOnce(&mut NodeRecord), now: bool) {
        self.0.membership.say(change, now);
    }

    /// Whether Redis answers.
    #[must_use]
    pub fn redis_up(&self) -> bool {
        self.0.redis.up()
    }

    /// What speaks against sending clients here: `ok` when the node has a slot.
    #[must_use]
    pub fn slot_check(&self) -> String {
        match self.seat() {
            Some(_) => "ok".to_owned(),
            None => self.0.membership.why().to_string(),
        }
    }

    /// How Redis does, in words. It never makes a node unready: without it things are slower, and right.
    #[must_use]
    pub fn redis_note(&self) -> String {
        if self.redis_up() {
            return "ok".to_owned();
        }
        format!(
            "away: every node is told of every message, and limits count on each node for itself ({})",
            self.0.redis.why()
        )
    }

    /// A user's first session joins: returns when Redis knows, or at the latest after `redis.announce_ms`. Whoever reads
    /// the user's inbox after that misses nothing that is not pushed.
    pub async fn joined(&self, user: UserId) {
        let within = self.0.setup.redis.announce();
        if self.0.setup.redis_url.is_some() && !self.0.here.known(user, within).await {
            self.0.doubt.set(Reason::Presence, true);
            crate::metrics::presence_late();
        }
    }

    /// Which other nodes are to be told of what concerns `users`. Waits for Redis no longer than a message may.
    pub async fn whom(&self, users: &[UserId]) -> Route {
        let (nodes, own) = (self.nodes(), self.seat().map(|seat| seat.slot));
        let lease = self.0.membership.lease_key();
        match self.0.presence.seats(users, lease.as_deref()).await {
            Ok(found) => {
                crate::metrics::presence_lookup("answered");
                self.0.presence.route(&found, &nodes, own)
            }
            Err(error) => {
                crate::metrics::presence_lookup("unanswered");
                tracing::debug!(%error, "every node is told");
                self.everybody()
            }
        }
    }

    /// Every node that may be there, but this one.
    #[must_use]
    pub fn everybody(&self) -> Route {
        let own = self.seat().map(|seat| seat.slot);
        let all = self.nodes().everybody().unwrap_or_else(|| (0..self.slots()).map(Slot).collect());
        Route { everything: all.into_iter().filter(|slot| Some(*slot) != own).collect(), ..Route::default() }
    }

    /// Which of `users` have a session on another node, as far as Redis says.
    pub async fn online_elsewhere(&self, users: &[UserId]) -> HashSet<UserId> {
        let own = self.seat().map(|seat| seat.slot);
        let Ok(found) = self.0.presence.seats(users, None).await else { return HashSet::new() };
        let nodes = self.nodes();
        // For what it remembers to be taken out.
        let _ = self.0.presence.route(&found, &nodes, own);
        // The slot of a node that has just come is not known yet: who sits there counts until the entry is found to be old.
        let there = |seat: &Seat| Some(seat.slot) != own && nodes.get(seat.slot).is_none_or(|node| node.seat == *seat);
        found.into_iter().filter(|(_, seats)| seats.iter().any(there)).map(|(user, _)| user).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_at_the_end_of_a_hosts_name_is_its_slot() {
        for (host, slot) in [
            ("parlor-0", Some(0)),
            ("parlor-17", Some(17)),
            ("parlor-3.parlor.chat.svc", Some(3)),
            ("parlor", None),
            ("", None),
            ("node5x", None),
            ("7", Some(7)),
            ("parlor-99999", None),
        ] {
            assert_eq!(ordinal(host), slot, "{host}");
        }
    }
}
