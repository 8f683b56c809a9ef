//! Many nodes at once on one database.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::envelope::{Answered, TextHash};
use crate::ids::{ConversationId, MessageUid, Seq, UserId};
use crate::store::Store;
use crate::store::auto_reply::AutoReplySettings;
use crate::store::inbox::{Placed, Placement};
use crate::store::testing::{at, connect, database, user};
use crate::store::users::Role;

const NODES: usize = 4;
const SENDERS: i64 = 6;
const MESSAGES: i64 = 60;

/// The `n`-th message of a sender: to one or two of the others, some of whom keep some out or answer, for a while: then
/// whole batches have nothing special about them.
fn message(sender: i64, n: i64) -> Placement {
    let other = |step: i64| UserId((sender - 1 + step) % SENDERS + 1);
    let mut owners = vec![UserId(sender), other(1 + n % 3)];
    if n % 2 == 0 {
        owners.push(other(4 + n % 2));
    }
    owners.sort_unstable();
    owners.dedup();
    let mut participants = owners.clone();
    let plain = n % 30 < 20;
    let filtered: Vec<UserId> =
        if n % 5 == 0 && !plain { vec![UserId(SENDERS + 1), UserId(SENDERS + 2)] } else { Vec::new() };
    participants.extend(&filtered);
    let answered = owners.iter().filter(|owner| owner.0 != sender && !plain);
    let answered = answered.map(|owner| Answered { user_id: *owner, text_hash: TextHash::of("away") }).collect();
    Placement {
        message_uid: MessageUid::from_client(UserId(sender), &n.to_string()),
        conversation_id: ConversationId::of(participants.iter().copied()),
        participants,
        sender_id: UserId(sender),
        owners,
        filtered,
        answered,
        message_body: format!("{sender} {n}"),
        from_auto_reply: false,
        sent_at: at(n),
    }
}

/// All messages in batches: each sender's in their order, the senders mixed, some told twice, as a node sees them that
/// took over from another one.
fn batches(random: &mut StdRng) -> Vec<Vec<Placement>> {
    let mut next: BTreeMap<i64, i64> = (1..=SENDERS).map(|sender| (sender, 0)).collect();
    let mut batches = Vec::new();
    while !next.is_empty() {
        let mut batch = Vec::new();
        for _ in 0..random.random_range(1..20) {
            let senders: Vec<i64> = next.keys().copied().collect();
            let Some(sender) = senders.choose(random).copied() else { break };
            let n = next[&sender];
            batch.push(message(sender, n));
            if random.random_bool(0.1) {
                batch.push(message(sender, random.random_range(0..=n)));
            }
            if n + 1 == MESSAGES {
                next.remove(&sender)
            } else {
                next.insert(sender, n + 1)
            };
        }
        batches.push(batch);
    }
    batches
}

/// What a store said of each message that was new to it.
type Told = HashMap<MessageUid, Vec<(UserId, Seq)>>;

async fn deliver_all(store: Store, seed: u64) -> Told {
    let mut random = StdRng::seed_from_u64(seed);
    let mut told = Told::new();
    for batch in batches(&mut random) {
        let placed = store.deliver(&batch).await.unwrap();
        for (placement, placed) in batch.iter().zip(placed) {
            if let Placed::New(places) = placed {
                assert!(told.insert(placement.message_uid, places).is_none());
            }
        }
        tokio::task::yield_now().await;
    }
    told
}

/// Reads an inbox as a session does, for as long as something may come, and sees that it never has a gap.
async fn follow(store: Store, user: UserId, over: Arc<AtomicBool>) -> u64 {
    let mut seen = Seq(0);
    let mut read = 0;
    loop {
        let last_look = over.load(Ordering::Acquire);
        let page = store.inbox_after(user, seen, 50, usize::MAX).await.unwrap();
        for entry in &page {
            assert_eq!(entry.seq, seen.next(), "a place was seen before the one before it");
            seen = entry.seq;
            read += 1;
        }
        if last_look && page.is_empty() {
            return read;
        }
    }
}

#[actix::test]
async fn nodes_that_deliver_the_same_at_once_write_each_message_once_in_order_and_without_gaps() {
    for seed in 0..3 {
        let database = database().await;
        let mut stores = Vec::new();
        for _ in 0..NODES {
            stores.push(connect(&database.url()).await);
        }
        let over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> =
            (1..=SENDERS).map(|user| tokio::spawn(follow(stores[0].clone(), UserId(user), over.clone()))).collect();
        let nodes: Vec<_> =
            (seed * 100..).zip(&stores).map(|(seed, store)| tokio::spawn(deliver_all(store.clone(), seed))).collect();
        let mut told = Told::new();
        for node in nodes {
            for (uid, places) in node.await.unwrap() {
                assert!(told.insert(uid, places).is_none(), "{uid} was new to two nodes");
            }
        }
        over.store(true, Ordering::Release);
        assert_eq!(told.len() as i64, SENDERS * MESSAGES);
        let mut read = Vec::new();
        for reader in readers {
            read.push(reader.await.unwrap());
        }
        for user in 1..=SENDERS {
            let inbox = stores[1].inbox_after(UserId(user), Seq(0), 10_000, usize::MAX).await.unwrap();
            let wanted: usize = (1..=SENDERS)
                .flat_map(|sender| (0..MESSAGES).map(move |n| message(sender, n)))
                .filter(|placement| placement.owners.contains(&UserId(user)))
                .count();
            assert_eq!(inbox.len(), wanted);
            assert_eq!(read[user as usize - 1], wanted as u64);
            assert!(inbox.iter().zip(1..).all(|(entry, n)| entry.seq == Seq(n)), "gaps in {user}");
            let mut last: HashMap<UserId, i64> = HashMap::new();
            for entry in &inbox {
                assert!(told[&entry.message_uid].contains(&(UserId(user), entry.seq)));
                let n: i64 = entry.message_body.split(' ').nth(1).unwrap().parse().unwrap();
                let before = last.insert(entry.sender_id, n);
                assert!(before.is_none_or(|before| before < n), "{user}: {n} of {} behind {before:?}", entry.sender_id);
            }
            assert_eq!(stores[2].head_seq(UserId(user)).await.unwrap(), Seq(wanted as i64));
        }
        let disorder = "SELECT count(*) FROM inbox a JOIN inbox b ON b.user_id = a.user_id AND b.seq = a.seq + 1
                        WHERE b.message_id <= a.message_id";
        assert_eq!(database.sql(disorder), "0", "ids ascend with places");
        let kept_out = "SELECT count(*) FROM filtered f JOIN messages m ON m.id = f.message_id";
        assert_eq!(database.sql(kept_out), (SENDERS * MESSAGES / 15 * 2).to_string());
        let last_answers =
            "SELECT count(DISTINCT at) FROM auto_replies_sent WHERE at < (SELECT max(sent_at) - 5000 FROM messages)";
        assert_eq!(database.sql(last_answers), "0", "the last answer of each is remembered");
        for store in stores {
            store.close().await;
        }
    }
}

#[actix::test]
async fn a_message_that_is_restored_and_others_that_arrive_wait_for_each_other_in_one_order() {
    let database = database().await;
    let (one, two) = (connect(&database.url()).await, connect(&database.url()).await);
    let owner = UserId(SENDERS + 1);
    let kept_out: Vec<Placement> = (0..30).map(|n| message(1, 20 + n * 30)).collect();
    one.deliver(&kept_out).await.unwrap();
    let restoring = tokio::spawn({
        let (one, two) = (one.clone(), two.clone());
        let uids: Vec<MessageUid> = kept_out.iter().map(|placement| placement.message_uid).collect();
        async move {
            for uid in uids {
                let (left, right) = tokio::join!(one.restore(owner, uid), two.restore(owner, uid));
                let (left, right) = (left.unwrap().unwrap(), right.unwrap().unwrap());
                assert_eq!(left.seq, right.seq, "two who restore at once see it at one place");
            }
        }
    });
    for n in 0..100 {
        // A conversation that is new each time: its members are locked first, and then the ends of inboxes.
        let owners = vec![UserId(1), owner, UserId(100 + n)];
        let placement = Placement {
            owners: owners.clone(),
            participants: owners.clone(),
            conversation_id: ConversationId::of(owners),
            filtered: Vec::new(),
            ..message(1, 1000 + n)
        };
        two.deliver(&[placement]).await.unwrap();
    }
    restoring.await.unwrap();
    let inbox = one.inbox_after(owner, Seq(0), 1000, usize::MAX).await.unwrap();
    assert_eq!(inbox.len(), 130);
    assert!(inbox.iter().zip(1..).all(|(entry, n)| entry.seq == Seq(n)));
    assert_eq!(one.filtered(owner, None, 100).await.unwrap().unwrap().len(), 0);
    one.close().await;
    two.close().await;
}

/// Ids are given before a transaction commits, so without a lock a later one may be seen first.
#[actix::test]
async fn who_asks_for_what_comes_after_an_event_misses_none_of_many_nodes() {
    let database = database().await;
    let mut stores = Vec::new();
    for _ in 0..NODES {
        stores.push(connect(&database.url()).await);
    }
    let over = Arc::new(AtomicBool::new(false));
    let listener = tokio::spawn({
        let (store, over) = (stores[0].clone(), over.clone());
        async move {
            let (mut seen, mut last) = (Vec::new(), 0);
            loop {
                let last_look = over.load(Ordering::Acquire);
                let events = store.account_events_after(last, 7).await.unwrap();
                seen.extend(events.iter().map(|event| event.id));
                last = seen.last().copied().unwrap_or(0);
                if last_look && events.is_empty() {
                    return seen;
                }
            }
        }
    });
    let writers: Vec<_> = (1..)
        .zip(stores.iter().flat_map(|store| [store, store, store]))
        .map(|(user, store)| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..40 {
                    let settings = AutoReplySettings { text: n.to_string(), ..AutoReplySettings::default() };
                    store.set_auto_reply(UserId(user), &settings, at(n)).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    over.store(true, Ordering::Release);
    let seen = listener.await.unwrap();
    assert_eq!(seen.len(), NODES * 3 * 40);
    assert_eq!(stores[1].last_account_event_id().await.unwrap(), *seen.last().unwrap());
    for store in stores {
        store.close().await;
    }
}

#[actix::test]
async fn two_administrators_who_step_down_at_once_do_not_leave_nobody() {
    let database = database().await;
    let (one, two) = (connect(&database.url()).await, connect(&database.url()).await);
    let (ada, bob) = (user(&one, "ada", Role::Admin).await, user(&one, "bob", Role::Admin).await);
    for _ in 0..20 {
        let (left, right) =
            tokio::join!(one.set_role(ada.id, Role::User, at(1)), two.set_disabled(bob.id, true, at(1)));
        left.unwrap();
        right.unwrap();
        assert_eq!(database.sql("SELECT count(*) FROM users WHERE role = 'admin' AND NOT disabled"), "1");
        one.set_disabled(bob.id, false, at(2)).await.unwrap();
        one.set_role(ada.id, Role::Admin, at(2)).await.unwrap();
    }
    one.close().await;
    two.close().await;
}
