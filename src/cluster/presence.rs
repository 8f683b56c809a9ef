//! Presence in Redis: a set for each user, of the seats where they have a session. Announced in pipelines, asked in
//! pipelines; an entry counts only while its seat is held, so nothing has to be kept alive for each user.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::{Pipeline, pipe};
use tokio::sync::mpsc;

use super::here::{Change, Here};
use super::nodes::{Nodes, Seat};
use super::redis::{Error, Redis};
use crate::ids::{Slot, UserId};

/// Users in one pipeline.
const PIPELINE: usize = 1000;
/// Time before what could not be announced is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Entries of seats that nobody holds, remembered to be taken out; more are found again by whoever reads them next.
const MAX_STALE: usize = 10_000;

/// Presence in Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Presence {
    redis: Redis,
    prefix: Arc<str>,
    stale: Arc<Mutex<HashSet<(UserId, Seat)>>>,
    left_behind: mpsc::Sender<UserId>,
}

/// Which other nodes are to be told, and of whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// These are told of everything.
    pub everything: HashSet<Slot>,
    /// These of what concerns these users.
    pub some: HashMap<Slot, HashSet<UserId>>,
}

impl Route {
    /// Every slot that is told anything.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.everything.iter().chain(self.some.keys().filter(|slot| !self.everything.contains(slot))).copied()
    }

    /// Whether `slot` is told of what concerns `user`.
    #[must_use]
    pub fn concerns(&self, slot: Slot, user: UserId) -> bool {
        self.everything.contains(&slot) || self.some.get(&slot).is_some_and(|users| users.contains(&user))
    }
}

impl Presence {
    /// Presence under keys that begin with `prefix`, and who was left behind under seats that nobody holds, as their entries
    /// are taken out.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str) -> (Self, mpsc::Receiver<UserId>) {
        let (left_behind, receiver) = mpsc::channel(MAX_STALE);
        (Self { redis, prefix: prefix.into(), stale: Arc::default(), left_behind }, receiver)
    }

    fn key(&self, user: UserId) -> String {
        format!("{}:on:{user}", self.prefix)
    }

    /// Announces who comes and goes, for as long as the task is not aborted.
    pub async fn announce(self, here: Here) {
        loop {
            if !self.redis.up() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let changes = here.work(PIPELINE).await;
            match self.tell(&changes).await {
                Ok(()) => here.done(&changes),
                Err(error) => {
                    tracing::debug!(%error, users = changes.len(), "who came and went is not announced; it is tried again");
                    here.failed(&changes);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn tell(&self, changes: &[Change]) -> Result<(), Error> {
        let mut commands = pipe();
        for change in changes {
            let key = self.key(change.user);
            if let Some(seat) = change.remove {
                commands.cmd("SREM").arg(&key).arg(seat.to_string()).ignore();
            }
            if let Some(seat) = change.add {
                commands.cmd("SADD").arg(&key).arg(seat.to_string()).ignore();
            }
        }
        self.redis.ask::<()>(&commands).await
    }

    /// Whom Redis has where. `lease` is the key of this node's own: if that is gone, Redis was emptied, and what it says
    /// about users means nothing.
    ///
    /// # Errors
    /// [`Error::Away`].
    pub async fn seats(&self, users: &[UserId], lease: Option<&str>) -> Result<Vec<(UserId, Vec<Seat>)>, Error> {
        let mut seats = Vec::with_capacity(users.len());
        for users in users.chunks(PIPELINE) {
            let mut question = Pipeline::with_capacity(users.len() + 1);
            if let Some(lease) = lease {
                question.cmd("EXISTS").arg(lease);
            }
            for user in users {
                question.cmd("SMEMBERS").arg(self.key(*user));
            }
            seats.extend(users.iter().copied().zip(self.read(&question, lease.is_some()).await?));
        }
        Ok(seats)
    }

    async fn read(&self, question: &Pipeline, lease: bool) -> Result<Vec<Vec<Seat>>, Error> {
        use deadpool_redis::redis::{FromRedisValue as _, Value};
        let answers: Vec<Value> = self.redis.ask_quickly(question).await?;
        let mut answers = answers.into_iter();
        if lease && !matches!(answers.next(), Some(Value::Int(1))) {
            return Err(Error::Away("it has lost this node's lease, so it was emptied".into()));
        }
        answers
            .map(|answer| {
                let entries =
                    Vec::<String>::from_redis_value(answer).map_err(|error| Error::Away(error.to_string().into()))?;
                Ok(entries.iter().filter_map(|entry| Seat::read(entry)).collect())
            })
            .collect()
    }

    /// Who of all nodes but `own` is to be told, by what [`Presence::seats`] found. An entry whose seat is not known to be
    /// held is told all the same: it may be newer than `nodes`. It is remembered, to be taken out if it is older.
    #[must_use]
    pub fn route(&self, found: &[(UserId, Vec<Seat>)], nodes: &Nodes, own: Option<Slot>) -> Route {
        let mut route = Route { everything: nodes.incomplete().collect(), some: HashMap::new() };
        for (user, seats) in found {
            for seat in seats {
                if Some(seat.slot) != own {
                    route.some.entry(seat.slot).or_default().insert(*user);
                }
                if !nodes.holds(*seat) {
                    self.suspect(*user, *seat);
                }
            }
        }
        if let Some(own) = own {
            route.everything.remove(&own);
        }
        route
    }

    fn suspect(&self, user: UserId, seat: Seat) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        if stale.len() < MAX_STALE {
            stale.insert((user, seat));
        }
    }

    /// What was found under seats that nobody held. To be asked before the nodes are read again, and given to
    /// [`Presence::clean`] after.
    #[must_use]
    pub fn suspects(&self) -> HashSet<(UserId, Seat)> {
        std::mem::take(&mut self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes out what stands under seats that nobody holds in `nodes`, which must have been read after the suspects were.
    /// Such a seat is never held again: whoever lost it takes a new one.
    ///
    /// # Errors
    /// [`Error::Away`]: the next reader finds them again.
    pub async fn clean(&self, suspects: HashSet<(UserId, Seat)>, nodes: &Nodes) -> Result<(), Error> {
        let stale: Vec<_> = suspects.into_iter().filter(|(_, seat)| !nodes.holds(*seat)).collect();
        for stale in stale.chunks(PIPELINE) {
            let mut commands = pipe();
            for (user, seat) in stale {
                commands.cmd("SREM").arg(self.key(*user)).arg(seat.to_string());
            }
            let removed: Vec<u32> = self.redis.ask(&commands).await?;
            crate::metrics::presence_cleaned(stale.len() as u64);
            // Whoever took it out is one node alone. When too many wait, the rest are told of by nobody.
            for ((user, _), _) in stale.iter().zip(removed).filter(|(_, removed)| *removed > 0) {
                let _ = self.left_behind.try_send(*user);
            }
        }
        Ok(())
    }
}
