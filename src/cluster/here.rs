//! Who has a session on this node, and how much of that Redis knows: the part of presence without I/O.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::nodes::Seat;
use crate::ids::UserId;

/// The users with a session here. Cheap to clone; the registry writes, the announcer reads.
#[derive(Clone, Debug, Default)]
pub struct Here(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Something is to be announced.
    work: Notify,
    /// Something was announced.
    done: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The seat under which users are announced; `None`: not now.
    seat: Option<Seat>,
    users: HashMap<UserId, Standing>,
    /// Users about whom Redis is to be told.
    dirty: HashSet<UserId>,
    /// Users whose sessions were opened although Redis does not know of them.
    unknown: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Whether they have a session.
    here: bool,
    /// The entry that Redis has of them, or may have.
    entry: Option<Seat>,
    /// Whether Redis said that it has it.
    known: bool,
    /// Whether a session of theirs is open without it.
    unknown: bool,
    /// Counts comings and goings: what was said of an earlier one is not the last word.
    turn: u32,
}

/// One user about whom Redis is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub user: UserId,
    /// The entry to be added.
    pub add: Option<Seat>,
    /// The entry to be taken out.
    pub remove: Option<Seat>,
    turn: u32,
}

impl Here {
    /// A user's first session joined.
    pub fn came(&self, user: UserId) {
        self.turn(user, true);
    }

    /// A user's last session left.
    pub fn went(&self, user: UserId) {
        self.turn(user, false);
    }

    fn turn(&self, user: UserId, here: bool) {
        let mut state = self.lock();
        let standing = state.users.entry(user).or_default();
        standing.here = here;
        standing.turn = standing.turn.wrapping_add(1);
        let forgotten = !here && std::mem::take(&mut standing.unknown);
        let never_told = !here && standing.entry.is_none();
        state.unknown -= usize::from(forgotten);
        if never_told {
            state.users.remove(&user);
            state.dirty.remove(&user);
        } else {
            state.dirty.insert(user);
        }
        drop(state);
        self.0.work.notify_one();
        if forgotten {
            // Whoever tells Redis that all are known looks again.
            self.0.done.notify_waiters();
        }
    }

    /// Waits until Redis knows of a user who has just come. `false`: not within this time; from then on the node counts as
    /// incomplete until Redis knows.
    pub async fn known(&self, user: UserId, within: Duration) -> bool {
        let wait = async {
            loop {
                let done = self.0.done.notified();
                tokio::pin!(done);
                // Before looking: what is done from here on is heard.
                done.as_mut().enable();
                if self.lock().is_known(user) {
                    return;
                }
                done.await;
            }
        };
        if tokio::time::timeout(within, wait).await.is_ok() {
            return true;
        }
        let mut state = self.lock();
        if state.is_known(user) {
            return true;
        }
        state.let_through(user);
        drop(state);
        self.0.done.notify_waiters();
        false
    }

    /// Whether Redis knows everybody whose session is open.
    #[must_use]
    pub fn complete(&self) -> bool {
        let state = self.lock();
        state.unknown == 0 && (state.seat.is_some() || state.users.is_empty())
    }

    /// Users with a session here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().users.values().filter(|standing| standing.here).count()
    }

    /// Whether nobody has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this user has.
    #[must_use]
    pub fn has(&self, user: UserId) -> bool {
        self.lock().users.get(&user).is_some_and(|standing| standing.here)
    }

    /// How many of `users` have none.
    pub fn absent(&self, users: impl Iterator<Item = UserId>) -> usize {
        let state = self.lock();
        users.filter(|user| !state.users.get(user).is_some_and(|standing| standing.here)).count()
    }

    /// From now on users are announced under this seat; all who are here, anew. `None`: nobody is announced for now.
    pub fn sit(&self, seat: Option<Seat>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.seat == seat {
            return;
        }
        state.seat = seat;
        if seat.is_some() {
            for (user, standing) in &mut state.users {
                if standing.here && !standing.is_known(seat) {
                    state.unknown += usize::from(!std::mem::replace(&mut standing.unknown, true));
                }
                state.dirty.insert(*user);
            }
        }
        drop(guard);
        self.0.work.notify_one();
        self.0.done.notify_waiters();
    }

    /// Waits until there is something to announce, and returns up to `most` of it.
    pub async fn work(&self, most: usize) -> Vec<Change> {
        loop {
            let work = self.0.work.notified();
            let changes = self.take(most);
            if !changes.is_empty() {
                return changes;
            }
            work.await;
        }
    }

    /// Waits until something was announced, or may not be any more.
    pub async fn changed(&self) {
        self.0.done.notified().await;
    }

    fn take(&self, most: usize) -> Vec<Change> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(seat) = state.seat else { return Vec::new() };
        let users: Vec<UserId> = state.dirty.iter().copied().take(most).collect();
        let mut changes = Vec::with_capacity(users.len());
        for user in users {
            state.dirty.remove(&user);
            let Some(standing) = state.users.get_mut(&user) else { continue };
            let add = (standing.here && !standing.is_known(Some(seat))).then_some(seat);
            let remove = standing.entry.filter(|entry| !standing.here || *entry != seat);
            if add.is_some() || remove.is_some() {
                // From here on nobody knows what Redis has, until it answers.
                standing.known = false;
                standing.entry = add.or(standing.entry);
                changes.push(Change { user, add, remove, turn: standing.turn });
            }
        }
        changes
    }

    /// Redis has been told of these.
    pub fn done(&self, changes: &[Change]) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for change in changes {
            let Some(standing) = state.users.get_mut(&change.user) else { continue };
            standing.entry = change.add;
            standing.known = change.add.is_some();
            if standing.here && standing.is_known(state.seat) {
                state.unknown -= usize::from(std::mem::take(&mut standing.unknown));
            } else if !standing.here && standing.entry.is_none() {
                state.users.remove(&change.user);
                continue;
            }
            if standing.turn != change.turn || (standing.here && !standing.is_known(state.seat)) {
                state.dirty.insert(change.user);
            }
        }
        drop(guard);
        self.0.done.notify_waiters();
        self.0.work.notify_one();
    }

    /// Redis may or may not have been told of these: they are told again.
    pub fn failed(&self, changes: &[Change]) {
        let mut state = self.lock();
        for change in changes {
            if state.users.contains_key(&change.user) {
                state.dirty.insert(change.user);
            }
        }
        drop(state);
        self.0.work.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether Redis knows of a user; of one who is gone there is nothing to know.
    fn is_known(&self, user: UserId) -> bool {
        let Some(standing) = self.users.get(&user) else { return true };
        !standing.here || standing.is_known(self.seat)
    }

    fn let_through(&mut self, user: UserId) {
        let Some(standing) = self.users.get_mut(&user) else { return };
        self.unknown += usize::from(!std::mem::replace(&mut standing.unknown, true));
    }
}

impl Standing {
    fn is_known(&self, seat: Option<Seat>) -> bool {
        self.known && self.entry.is_some() && self.entry == seat
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::cluster::nodes::Epoch;
    use crate::ids::Slot;

    const NOW: Duration = Duration::ZERO;

    fn seat(epoch: u64) -> Seat {
        Seat { slot: Slot(3), epoch: Epoch(epoch) }
    }

    #[tokio::test]
    async fn a_session_waits_until_redis_knows_and_no_longer_than_it_may() {
        let here = Here::default();
        here.sit(Some(seat(1)));
        here.came(UserId(7));
        assert!(!here.known(UserId(7), NOW).await);
        assert!(!here.complete(), "it was let through");
        let changes = here.work(10).await;
        assert_eq!((changes[0].add, changes[0].remove), (Some(seat(1)), None));
        here.done(&changes);
        assert!(here.known(UserId(7), NOW).await && here.complete());
        here.went(UserId(7));
        let changes = here.work(10).await;
        assert_eq!((changes[0].add, changes[0].remove), (None, Some(seat(1))));
        here.done(&changes);
        assert!(here.lock().users.is_empty());
    }

    #[tokio::test]
    async fn another_seat_announces_all_anew_and_until_then_not_all_are_known() {
        let here = Here::default();
        here.sit(Some(seat(1)));
        here.came(UserId(1));
        here.came(UserId(2));
        here.done(&here.work(10).await);
        here.sit(Some(seat(2)));
        assert!(!here.complete());
        let first = here.work(1).await;
        assert_eq!((first[0].add, first[0].remove), (Some(seat(2)), Some(seat(1))));
        here.done(&first);
        assert!(!here.complete());
        here.done(&here.work(1).await);
        assert!(here.complete());
    }

    #[tokio::test]
    async fn who_comes_back_while_the_entry_is_taken_out_is_not_known_until_it_is_there_again() {
        let here = Here::default();
        here.sit(Some(seat(1)));
        here.came(UserId(1));
        here.done(&here.work(10).await);
        here.went(UserId(1));
        let out = here.work(10).await;
        here.came(UserId(1));
        assert!(!here.lock().is_known(UserId(1)));
        here.done(&out);
        assert!(!here.lock().is_known(UserId(1)));
        let again = here.work(10).await;
        assert_eq!(again[0].add, Some(seat(1)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Came(i64),
        Went(i64),
        Sit(Option<u64>),
        Send(usize, Fate),
    }

    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Done,
        Lost,
        /// Redis did it, and the answer was lost.
        Silent,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0i64..4).prop_map(Step::Came),
            4 => (0i64..4).prop_map(Step::Went),
            1 => proptest::option::weighted(0.8, 0u64..3).prop_map(Step::Sit),
            6 => (1usize..4, prop_oneof![6 => Just(Fate::Done), 1 => Just(Fate::Lost), 1 => Just(Fate::Silent)])
                .prop_map(|(most, fate)| Step::Send(most, fate)),
        ]
    }

    fn apply(redis: &mut BTreeSet<(i64, u64)>, changes: &[Change]) {
        for change in changes {
            change.remove.map(|seat| redis.remove(&(change.user.0, seat.epoch.0)));
            change.add.map(|seat| redis.insert((change.user.0, seat.epoch.0)));
        }
    }

    proptest! {
        /// Whatever comes, goes, fails and changes: who is said to be known has an entry under the seat of the time; and
        /// when all is done, Redis has just the users who are here, under this seat.
        #[test]
        fn redis_has_whom_it_is_said_to_have(steps in proptest::collection::vec(step(), 0..80)) {
            let (here, mut redis) = (Here::default(), BTreeSet::new());
            let (mut users, mut epoch) = (BTreeSet::new(), None);
            for step in steps {
                match step {
                    Step::Came(user) => { users.insert(user); here.came(UserId(user)); }
                    Step::Went(user) => { users.remove(&user); here.went(UserId(user)); }
                    Step::Sit(now) => { epoch = now; here.sit(now.map(seat)); }
                    Step::Send(most, fate) => {
                        let changes = here.take(most);
                        if !matches!(fate, Fate::Lost) { apply(&mut redis, &changes); }
                        if matches!(fate, Fate::Done) { here.done(&changes) } else { here.failed(&changes) }
                    }
                }
                for user in &users {
                    let known = here.lock().is_known(UserId(*user));
                    prop_assert!(!known || epoch.is_some_and(|epoch| redis.contains(&(*user, epoch))), "{user}");
                }
            }
            let last = 9;
            here.sit(Some(seat(last)));
            for _ in 0..20 {
                let changes = here.take(2);
                apply(&mut redis, &changes);
                here.done(&changes);
            }
            prop_assert!(here.complete());
            prop_assert_eq!(here.lock().unknown, 0);
            prop_assert_eq!(here.len(), users.len());
            let wanted: BTreeSet<_> = users.iter().map(|user| (*user, last)).collect();
            redis.retain(|(_, epoch)| *epoch == last);
            prop_assert_eq!(redis, wanted);
        }
    }
}
