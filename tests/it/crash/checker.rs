//! Says whether the promises were kept: told of everything that was sent, accepted, read and streamed, in the order in
//! which it happened, it names each violation. Pure: the tests below show that it sees what it is there to see.

use std::collections::{BTreeMap, HashMap, HashSet};

/// A user's id.
pub(crate) type User = i64;

/// A message as its sender knows it: who, and the how many-eth of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) sender: User,
    pub(crate) number: u64,
}

/// A message as somebody found it in an inbox or on a socket.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) seq: i64,
    pub(crate) uid: String,
    pub(crate) sender: User,
    pub(crate) body: String,
}

/// What must hold of one sender's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// They stand in the order of their numbers: nothing was rejected while later ones were under way.
    Strict,
    /// One that was tried for the last time before another was tried for the first time stands before it. For senders
    /// whose later messages may be accepted although an earlier one was rejected.
    AsTried,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    Lost { owner: User, key: Key },
    Doubled { owner: User, key: Key, seq: i64 },
    Reordered { owner: User, key: Key, seq: i64 },
    Gap { owner: User, expected: i64, found: i64 },
    Renumbered { owner: User, seq: i64 },
    Vanished { owner: User, seq: i64 },
    NotSent { owner: User, seq: i64 },
    NotAddressed { owner: User, key: Key },
    Altered { owner: User, key: Key },
    OtherUid { key: Key },
    StreamGap { socket: usize, expected: i64, found: i64 },
    StreamShort { socket: usize, last: i64, head: i64 },
}

struct Sent {
    owners: Vec<User>,
    body: String,
    first_try: u64,
    last_try: u64,
    accepted: bool,
    uid: Option<String>,
}

#[derive(Default)]
struct Inbox {
    length: i64,
    /// For each sender, how far their messages have come: a number, or a try.
    reached: HashMap<User, u64>,
    holds: HashSet<Key>,
}

struct Socket {
    owner: User,
    last: i64,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: usize,
    pub(crate) tries: u64,
    pub(crate) accepted: usize,
    pub(crate) places: i64,
    pub(crate) streamed: u64,
}

/// Keeps the book.
pub(crate) struct Checker {
    order: Order,
    sent: BTreeMap<Key, Sent>,
    inboxes: BTreeMap<User, Inbox>,
    sockets: Vec<Socket>,
    /// What anybody was ever told stands at a place.
    names: HashMap<(User, i64), String>,
    tries: u64,
    streamed: u64,
    violations: Vec<Violation>,
}

/// What every body begins with, so that a message can be told wherever it turns up.
pub(crate) fn body(key: Key, rest: &str) -> String {
    format!("{} {} {rest}", key.sender, key.number)
}

fn key_of(found: &Found) -> Option<Key> {
    let number = found.body.strip_prefix(&format!("{} ", found.sender))?.split(' ').next()?.parse().ok()?;
    Some(Key { sender: found.sender, number })
}

impl Checker {
    pub(crate) fn new(order: Order) -> Self {
        Self {
            order,
            sent: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            sockets: Vec::new(),
            names: HashMap::new(),
            tries: 0,
            streamed: 0,
            violations: Vec::new(),
        }
    }

    /// A message goes out, for the first time or again.
    pub(crate) fn sending(&mut self, key: Key, recipients: &[User], body: &str) {
        self.tries += 1;
        let tried = self.tries;
        let sent = self.sent.entry(key).or_insert_with(|| {
            let mut owners: Vec<User> = recipients.iter().copied().chain([key.sender]).collect();
            owners.sort_unstable();
            owners.dedup();
            Sent { owners, body: body.to_owned(), first_try: tried, last_try: tried, accepted: false, uid: None }
        });
        sent.last_try = tried;
    }

    /// Its sender was told that it is accepted.
    pub(crate) fn accepted(&mut self, key: Key, uid: &str) {
        if let Some(sent) = self.sent.get_mut(&key) {
            sent.accepted = true;
        }
        self.named(key, uid);
    }

    /// A message has one uid, whoever says it.
    fn named(&mut self, key: Key, uid: &str) {
        let Some(sent) = self.sent.get_mut(&key) else { return };
        if sent.uid.get_or_insert_with(|| uid.to_owned()) != uid {
            self.violations.push(Violation::OtherUid { key });
        }
    }

    /// A socket of `owner`'s that is to see everything, over as many connections as it takes; its name.
    pub(crate) fn socket(&mut self, owner: User) -> usize {
        self.sockets.push(Socket { owner, last: 0 });
        self.sockets.len() - 1
    }

    /// The `after` with which a socket resumes.
    pub(crate) fn last(&self, socket: usize) -> i64 {
        self.sockets[socket].last
    }

    /// A `message` frame came.
    pub(crate) fn streamed(&mut self, socket: usize, found: &Found) {
        self.streamed += 1;
        let Socket { owner, last } = self.sockets[socket];
        if found.seq != last + 1 {
            self.violations.push(Violation::StreamGap { socket, expected: last + 1, found: found.seq });
        }
        self.sockets[socket].last = found.seq.max(last);
        self.name(owner, found);
    }

    /// The next message of an inbox that is read page by page.
    pub(crate) fn paged(&mut self, owner: User, found: &Found) {
        self.name(owner, found);
        let inbox = self.inboxes.entry(owner).or_default();
        inbox.length += 1;
        if found.seq != inbox.length {
            self.violations.push(Violation::Gap { owner, expected: inbox.length, found: found.seq });
            inbox.length = found.seq;
        }
        let Some((key, sent)) = key_of(found).and_then(|key| Some((key, self.sent.get(&key)?))) else {
            self.violations.push(Violation::NotSent { owner, seq: found.seq });
            return;
        };
        if !sent.owners.contains(&owner) {
            self.violations.push(Violation::NotAddressed { owner, key });
        }
        if sent.body != found.body {
            self.violations.push(Violation::Altered { owner, key });
        }
        let new = inbox.holds.insert(key);
        let reached = inbox.reached.entry(key.sender).or_default();
        let (latest, earliest) = match self.order {
            Order::Strict => (key.number, key.number),
            Order::AsTried => (sent.last_try, sent.first_try),
        };
        if !new {
            self.violations.push(Violation::Doubled { owner, key, seq: found.seq });
        } else if latest < *reached {
            self.violations.push(Violation::Reordered { owner, key, seq: found.seq });
        }
        *reached = earliest.max(*reached);
        self.named(key, &found.uid);
    }

    fn name(&mut self, owner: User, found: &Found) {
        let name = self.names.entry((owner, found.seq)).or_insert_with(|| found.uid.clone());
        if *name != found.uid {
            self.violations.push(Violation::Renumbered { owner, seq: found.seq });
        }
    }

    /// How far an inbox has been read.
    pub(crate) fn read_to(&self, owner: User) -> i64 {
        self.inboxes.get(&owner).map_or(0, |inbox| inbox.length)
    }

    /// Begins to read all inboxes anew; what was ever found at which place stays known.
    pub(crate) fn forget_inboxes(&mut self) {
        self.inboxes.clear();
    }

    /// Accepted messages that were not found yet in an inbox in which they must stand.
    pub(crate) fn missing(&self) -> Vec<(User, Key)> {
        let accepted = self.sent.iter().filter(|(_, sent)| sent.accepted);
        let owed = accepted.flat_map(|(key, sent)| sent.owners.iter().map(|owner| (*owner, *key)));
        owed.filter(|(owner, key)| !self.inboxes.get(owner).is_some_and(|inbox| inbox.holds.contains(key))).collect()
    }

    /// Whether all that was sent is accepted and found, and every socket has seen what its owner's inbox holds.
    pub(crate) fn all_has_come(&self) -> bool {
        self.sent.values().all(|sent| sent.accepted)
            && self.missing().is_empty()
            && self.sockets.iter().all(|socket| socket.last >= self.read_to(socket.owner))
    }

    /// What [`Checker::all_has_come`] waits for, in words.
    pub(crate) fn what_is_missing(&self) -> String {
        let open = self.sent.iter().filter(|(_, sent)| !sent.accepted);
        let open: Vec<_> = open.map(|(key, sent)| (key, sent.first_try, sent.last_try)).take(5).collect();
        let missing: Vec<_> = self.missing().into_iter().take(5).collect();
        let sockets: Vec<_> = self.sockets.iter().map(|s| (s.owner, s.last, self.read_to(s.owner))).collect();
        let tries = self.tries;
        format!("not accepted: {open:?} of {tries}; not in an inbox: {missing:?}; owner, seen, head: {sockets:?}")
    }

    /// What was found so far, without what may still come.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What was found, now that nothing is under way and all inboxes are read to their end.
    pub(crate) fn finish(&self) -> Vec<Violation> {
        let mut all = self.violations.clone();
        all.extend(self.missing().into_iter().map(|(owner, key)| Violation::Lost { owner, key }));
        for (number, socket) in self.sockets.iter().enumerate() {
            let head = self.read_to(socket.owner);
            if socket.last != head {
                all.push(Violation::StreamShort { socket: number, last: socket.last, head });
            }
        }
        let gone = self.names.keys().filter(|(owner, seq)| *seq > self.read_to(*owner));
        all.extend(gone.map(|&(owner, seq)| Violation::Vanished { owner, seq }));
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            sent: self.sent.len(),
            tries: self.tries,
            accepted: self.sent.values().filter(|sent| sent.accepted).count(),
            places: self.inboxes.values().map(|inbox| inbox.length).sum(),
            streamed: self.streamed,
        }
    }
}

#[test]
fn a_run_without_fault_is_found_so() {
    let mut run = Run::new();
    run.deliver(&[1, 2, 3]);
    assert_eq!(run.checker.finish(), []);
    let counts = run.checker.counts();
    assert_eq!((counts.sent, counts.tries, counts.accepted, counts.places, counts.streamed), (3, 3, 3, 6, 6));
}

#[test]
fn a_lost_message_is_found_in_each_inbox() {
    let mut run = Run::new();
    run.deliver(&[1, 3]);
    let lost = |owner| Violation::Lost { owner, key: key(2) };
    assert_eq!(run.checker.finish(), [lost(7), lost(8)]);
}

#[test]
fn a_message_that_was_never_accepted_may_be_there_or_not() {
    let mut run = Run::new();
    run.checker.sending(key(4), &[8], &body(key(4), "x"));
    run.deliver(&[1, 2, 3]);
    assert_eq!(run.checker.finish(), []);
    run.deliver(&[4]);
    assert_eq!(run.checker.finish(), []);
}

#[test]
fn a_doubled_message_is_found() {
    let mut run = Run::new();
    run.deliver(&[1, 2, 2, 3]);
    let doubled = |owner| Violation::Doubled { owner, key: key(2), seq: 3 };
    assert_eq!(run.checker.finish(), [doubled(7), doubled(8)]);
}

#[test]
fn a_changed_order_is_found() {
    let mut run = Run::new();
    run.deliver(&[1, 3, 2]);
    let reordered = |owner| Violation::Reordered { owner, key: key(2), seq: 3 };
    assert_eq!(run.checker.finish(), [reordered(7), reordered(8)]);
}

#[test]
fn as_tried_a_message_stands_where_one_of_its_tries_could_have_put_it_and_nowhere_else() {
    // 1 is rejected, 2 accepted, 1 sent again, then 3.
    for (order, fine) in [([2, 1, 3], true), ([1, 2, 3], true), ([2, 3, 1], false), ([3, 2, 1], false)] {
        let mut checker = Checker::new(Order::AsTried);
        for number in [1, 2, 1, 3] {
            checker.sending(key(number), &[8], &body(key(number), "x"));
        }
        for (seq, number) in (1..).zip(order) {
            checker.paged(8, &found(seq, number));
        }
        assert_eq!(checker.violations().is_empty(), fine, "{order:?}");
    }
}

#[test]
fn a_gap_in_an_inbox_is_found() {
    let mut run = Run::new();
    for (seq, number) in [(1, 1), (2, 2), (4, 3)] {
        run.checker.paged(8, &found(seq, number));
    }
    assert_eq!(run.checker.violations(), [Violation::Gap { owner: 8, expected: 3, found: 4 }]);
}

#[test]
fn a_place_that_names_another_message_later_is_found() {
    let mut run = Run::new();
    run.checker.streamed(run.sockets[1], &found(1, 1));
    run.checker.streamed(run.sockets[1], &found(2, 2));
    run.checker.paged(8, &found(1, 1));
    run.checker.paged(8, &found(2, 3));
    assert_eq!(run.checker.violations(), [Violation::Renumbered { owner: 8, seq: 2 }]);
}

#[test]
fn a_place_that_was_seen_and_is_gone_is_found() {
    let mut run = Run::new();
    run.deliver(&[1, 2, 3]);
    run.checker.forget_inboxes();
    for (owner, number) in [(7, 1), (7, 2), (7, 3), (8, 1), (8, 2)] {
        run.checker.paged(owner, &found(number as i64, number));
    }
    let violations = run.checker.finish();
    assert!(violations.contains(&Violation::Vanished { owner: 8, seq: 3 }), "{violations:?}");
    assert!(violations.contains(&Violation::Lost { owner: 8, key: key(3) }), "{violations:?}");
}

#[test]
fn a_repeat_and_a_gap_on_a_socket_are_found_and_one_that_lags_too() {
    let mut run = Run::new();
    run.deliver(&[1, 2, 3]);
    let again = run.sockets[0];
    run.checker.streamed(again, &found(3, 3));
    assert_eq!(run.checker.violations(), [Violation::StreamGap { socket: again, expected: 4, found: 3 }]);
    let behind = run.checker.socket(8);
    run.checker.streamed(behind, &found(2, 2));
    let violations = run.checker.finish();
    assert!(violations.contains(&Violation::StreamGap { socket: behind, expected: 1, found: 2 }), "{violations:?}");
    assert!(violations.contains(&Violation::StreamShort { socket: behind, last: 2, head: 3 }), "{violations:?}");
}

#[test]
fn what_nobody_sent_or_addressed_or_wrote_so_is_found() {
    let mut run = Run::new();
    run.checker.paged(9, &found(1, 1));
    run.checker.paged(8, &found(1, 4));
    run.checker.paged(8, &Found { body: body(key(1), "y"), ..found(2, 1) });
    run.checker.paged(8, &Found { uid: "another".into(), ..found(3, 2) });
    let expected = [
        Violation::NotAddressed { owner: 9, key: key(1) },
        Violation::NotSent { owner: 8, seq: 1 },
        Violation::Altered { owner: 8, key: key(1) },
        Violation::OtherUid { key: key(2) },
    ];
    assert_eq!(run.checker.violations(), expected);
}

/// User 7 has sent three messages to user 8, and both have a socket.
struct Run {
    checker: Checker,
    sockets: [usize; 2],
    seq: i64,
}

impl Run {
    fn new() -> Self {
        let mut checker = Checker::new(Order::Strict);
        let sockets = [checker.socket(7), checker.socket(8)];
        for number in 1..=3 {
            checker.sending(key(number), &[8], &body(key(number), "x"));
            checker.accepted(key(number), &number.to_string());
        }
        Self { checker, sockets, seq: 0 }
    }

    fn deliver(&mut self, numbers: &[u64]) {
        for &number in numbers {
            self.seq += 1;
            for (owner, socket) in [7, 8].into_iter().zip(self.sockets) {
                self.checker.streamed(socket, &found(self.seq, number));
                self.checker.paged(owner, &found(self.seq, number));
            }
        }
    }
}

fn key(number: u64) -> Key {
    Key { sender: 7, number }
}

fn found(seq: i64, number: u64) -> Found {
    Found { seq, uid: number.to_string(), sender: 7, body: body(key(number), "x") }
}
