//! What every bus promises, tested through the trait alone. A bus runs all of it by `bus_contract!(its_home)`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use parlor::pipeline::bus::{Bus, Consumer, Error, Offset, Place, Record, Term, Topic};

/// How long something may take that has to happen, a slow broker included.
const LONG: Duration = Duration::from_secs(30);
/// How long to look for something that must not happen.
const SHORT: Duration = Duration::from_millis(100);

/// What a bus lives in from one start to the next. Its limits are set for the tests: they fill them.
pub(crate) trait Home: Send + Sync {
    /// Starts a bus in it; the one before was closed.
    fn open(&self) -> BoxFuture<'_, Arc<dyn Bus>>;
    /// A topic that no other test uses.
    fn topic(&self, name: &str) -> Topic;
    /// The largest record, key and payload together.
    fn max_record_bytes(&self) -> usize;
    /// How much may be unfinished; at least three of the largest records.
    fn unfinished_bytes(&self) -> usize;
}

/// Makes a test of each promise for the bus that lives in `$home`, an expression.
#[macro_export]
macro_rules! bus_contract {
    ($home:expr) => {
        $crate::bus_contract!($home;
            records_of_a_key_stay_in_order,
            a_receipt_names_the_place_and_the_record_is_there,
            what_a_receipt_promised_survives_a_restart,
            positions_survive_a_restart,
            a_commit_covers_all_before_it_and_never_moves_back,
            a_second_consumer_is_refused_until_the_first_is_gone,
            a_new_consumer_gets_what_the_last_one_did_not_finish,
            partitions_are_finished_independently,
            room_that_is_given_up_comes_back,
            what_is_inside_moves_on_when_the_bus_is_full,
            a_record_over_the_limit_is_refused_and_one_at_the_limit_is_not,
            receive_waits_for_a_record_and_keeps_to_its_maximum,
            a_receive_that_is_given_up_loses_nothing,
            topics_do_not_see_each_other,
            a_closed_bus_says_so_to_everybody,
            close_makes_what_is_in_line_durable,
        );
    };
    ($home:expr; $($name:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::bus_contract::$name(&$home).await;
            }
        )+
    };
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it should have happened by now")
}

async fn not_yet(future: impl Future) -> bool {
    tokio::time::timeout(SHORT, future).await.is_err()
}

async fn put(bus: &dyn Bus, topic: &Topic, key: &str, payload: &str) -> Place {
    let room = soon(bus.room(key.len() + payload.len())).await.unwrap();
    soon(bus.publish(room, topic, Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(payload.as_bytes())))
        .await
        .unwrap()
}

async fn get(consumer: &mut dyn Consumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(soon(consumer.receive(count - records.len())).await.unwrap());
    }
    records
}

fn text(record: &Record) -> String {
    String::from_utf8(record.payload.to_vec()).unwrap()
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(text).collect()
}

fn finish(consumer: &dyn Consumer, records: &[Record]) {
    let committer = consumer.committer();
    for record in records {
        committer.commit(record.claim(), record.place.offset.next());
    }
}

pub(crate) async fn records_of_a_key_stay_in_order(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("order"));
    let mut receipts = Vec::new();
    for number in 0..50 {
        for key in ["alice", "bob", "carol"] {
            let room = soon(bus.room(32)).await.unwrap();
            receipts.push(bus.publish(room, &topic, key.into(), format!("{key} {number}").into()));
        }
    }
    // Nobody has to wait for a receipt to keep the order.
    let mut consumer = bus.subscribe(&topic).unwrap();
    let records = get(&mut *consumer, 150).await;
    for key in ["alice", "bob", "carol"] {
        let got: Vec<_> = records.iter().filter(|record| record.key == key).map(text).collect();
        let expected: Vec<_> = (0..50).map(|number| format!("{key} {number}")).collect();
        assert_eq!(got, expected);
        let partitions: Vec<_> = records.iter().filter(|r| r.key == key).map(|r| r.place.partition).collect();
        assert!(partitions.windows(2).all(|pair| pair[0] == pair[1]), "one key, one partition");
    }
    for receipt in soon(join_all(receipts)).await {
        receipt.unwrap();
    }
}

pub(crate) async fn a_receipt_names_the_place_and_the_record_is_there(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("place"));
    let first = put(&*bus, &topic, "alice", "one").await;
    let second = put(&*bus, &topic, "alice", "two").await;
    assert_eq!((second.partition, second.offset), (first.partition, first.offset.next()));
    let records = get(&mut *bus.subscribe(&topic).unwrap(), 2).await;
    assert_eq!(records.iter().map(|record| record.place.clone()).collect::<Vec<_>>(), [first, second]);
    assert_eq!(texts(&records), ["one", "two"]);
    assert_eq!(records[0].key, "alice");
}

pub(crate) async fn what_a_receipt_promised_survives_a_restart(home: &dyn Home) {
    let topic = home.topic("restart");
    let bus = home.open().await;
    let places = [put(&*bus, &topic, "alice", "one").await, put(&*bus, &topic, "bob", "two").await];
    soon(bus.close()).await;
    let bus = home.open().await;
    let records = get(&mut *bus.subscribe(&topic).unwrap(), 2).await;
    for (place, payload) in places.iter().zip(["one", "two"]) {
        let record = records.iter().find(|record| record.place == *place).expect("it is there");
        assert_eq!(record.payload, payload);
    }
    let next = put(&*bus, &topic, "alice", "three").await;
    assert_eq!(next.offset, places[0].offset.next(), "offsets go on where they stood");
}

pub(crate) async fn positions_survive_a_restart(home: &dyn Home) {
    let topic = home.topic("positions");
    let bus = home.open().await;
    for payload in ["one", "two", "three"] {
        put(&*bus, &topic, "alice", payload).await;
    }
    let mut consumer = bus.subscribe(&topic).unwrap();
    let records = get(&mut *consumer, 3).await;
    finish(&*consumer, &records[..2]);
    drop(consumer);
    soon(bus.close()).await;
    let bus = home.open().await;
    let mut consumer = bus.subscribe(&topic).unwrap();
    assert_eq!(texts(&get(&mut *consumer, 1).await), ["three"]);
    assert!(not_yet(consumer.receive(1)).await);
}

pub(crate) async fn a_commit_covers_all_before_it_and_never_moves_back(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("commit"));
    for payload in ["one", "two", "three"] {
        put(&*bus, &topic, "alice", payload).await;
    }
    let mut consumer = bus.subscribe(&topic).unwrap();
    let records = get(&mut *consumer, 3).await;
    let place = |index: usize| (records[index].claim(), records[index].place.offset);
    let committer = consumer.committer();
    committer.commit(place(1).0, place(1).1.next());
    committer.commit(place(0).0, place(0).1.next());
    committer.commit(place(0).0, Offset(0));
    drop(consumer);
    let mut consumer = bus.subscribe(&topic).unwrap();
    assert_eq!(texts(&get(&mut *consumer, 1).await), ["three"]);
    assert!(not_yet(consumer.receive(1)).await);
}

pub(crate) async fn a_second_consumer_is_refused_until_the_first_is_gone(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("one-consumer"));
    let first = bus.subscribe(&topic).unwrap();
    assert!(matches!(bus.subscribe(&topic), Err(Error::AlreadySubscribed(at)) if at == topic));
    drop(first);
    bus.subscribe(&topic).unwrap();
}

pub(crate) async fn a_new_consumer_gets_what_the_last_one_did_not_finish(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("again"));
    for payload in ["one", "two", "three"] {
        put(&*bus, &topic, "alice", payload).await;
    }
    let mut consumer = bus.subscribe(&topic).unwrap();
    let records = get(&mut *consumer, 2).await;
    finish(&*consumer, &records[..1]);
    drop(consumer);
    put(&*bus, &topic, "alice", "four").await;
    let mut consumer = bus.subscribe(&topic).unwrap();
    assert_eq!(texts(&get(&mut *consumer, 3).await), ["two", "three", "four"]);
}

pub(crate) async fn partitions_are_finished_independently(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("independent"));
    let mut by_partition: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for number in 0..40 {
        let place = put(&*bus, &topic, &format!("user {number}"), &number.to_string()).await;
        by_partition.entry(place.partition).or_default().push(number.to_string());
    }
    assert!(by_partition.len() > 1, "forty keys fall into several partitions");
    let mut consumer = bus.subscribe(&topic).unwrap();
    let records = get(&mut *consumer, 40).await;
    let done = records[0].place.partition;
    let of_done: Vec<_> = records.iter().filter(|record| record.place.partition == done).cloned().collect();
    finish(&*consumer, &of_done);
    drop(consumer);
    by_partition.remove(&done);
    let rest: usize = by_partition.values().map(Vec::len).sum();
    let mut consumer = bus.subscribe(&topic).unwrap();
    let mut again: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for record in get(&mut *consumer, rest).await {
        again.entry(record.place.partition).or_default().push(text(&record));
    }
    assert_eq!(again, by_partition);
}

pub(crate) async fn room_ends_at_the_bound_and_comes_back_with_the_commit(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("room"));
    let payload = "x".repeat(home.max_record_bytes() - 1);
    let mut left = home.unfinished_bytes();
    while left >= home.max_record_bytes() {
        put(&*bus, &topic, "k", &payload).await;
        left -= home.max_record_bytes();
    }
    assert!(not_yet(bus.room(left + 1)).await, "one byte over the bound waits");
    drop(soon(bus.room(left)).await.unwrap());
    let waiting = tokio::spawn(bus.room(home.max_record_bytes()));
    let mut consumer = bus.subscribe(&topic).unwrap();
    let records = get(&mut *consumer, 1).await;
    tokio::time::sleep(SHORT).await;
    assert!(!waiting.is_finished(), "to have received a record is not to have finished it");
    finish(&*consumer, &records);
    soon(waiting).await.unwrap().unwrap();
}

pub(crate) async fn room_that_is_given_up_comes_back(home: &dyn Home) {
    let bus = home.open().await;
    for _ in 0..2 {
        let mut rooms = Vec::new();
        for _ in 0..home.unfinished_bytes() / home.max_record_bytes() {
            rooms.push(soon(bus.room(home.max_record_bytes())).await.unwrap());
        }
        assert!(not_yet(bus.room(home.max_record_bytes())).await);
    }
}

pub(crate) async fn what_is_inside_moves_on_when_the_bus_is_full(home: &dyn Home) {
    let (bus, first, second) = (home.open().await, home.topic("first"), home.topic("second"));
    let payload = "x".repeat(home.max_record_bytes() - 1);
    let count = home.unfinished_bytes() / home.max_record_bytes();
    for _ in 0..count {
        put(&*bus, &first, "k", &payload).await;
    }
    let mut consumer = bus.subscribe(&first).unwrap();
    for record in get(&mut *consumer, count).await {
        let receipt = bus.publish(bus.room_inside(), &second, record.key.clone(), record.payload.clone());
        soon(receipt).await.expect("a full bus lets what is inside move on");
        finish(&*consumer, &[record]);
    }
    let mut consumer = bus.subscribe(&second).unwrap();
    let records = get(&mut *consumer, count).await;
    finish(&*consumer, &records);
    soon(bus.room(home.max_record_bytes())).await.unwrap();
}

pub(crate) async fn a_record_over_the_limit_is_refused_and_one_at_the_limit_is_not(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("large"));
    let limit = home.max_record_bytes();
    assert!(
        matches!(bus.room(limit + 1).await, Err(Error::TooLarge { bytes, limit: l }) if (bytes, l) == (limit + 1, limit))
    );
    let over = bus.publish(bus.room_inside(), &topic, "k".into(), vec![b'x'; limit].into());
    assert!(matches!(soon(over).await, Err(Error::TooLarge { .. })));
    let at = put(&*bus, &topic, "k", &"x".repeat(limit - 1)).await;
    let records = get(&mut *bus.subscribe(&topic).unwrap(), 1).await;
    assert_eq!((&records[0].place, records[0].payload.len()), (&at, limit - 1));
}

pub(crate) async fn receive_waits_for_a_record_and_keeps_to_its_maximum(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("receive"));
    let mut consumer = bus.subscribe(&topic).unwrap();
    let waiting = tokio::spawn(async move {
        let records = consumer.receive(10).await;
        (consumer, records)
    });
    tokio::time::sleep(SHORT).await;
    assert!(!waiting.is_finished());
    put(&*bus, &topic, "alice", "one").await;
    let (mut consumer, records) = soon(waiting).await.unwrap();
    assert_eq!(texts(&records.unwrap()), ["one"]);
    for number in 0..5 {
        put(&*bus, &topic, "alice", &number.to_string()).await;
    }
    assert!(soon(consumer.receive(2)).await.unwrap().len() <= 2);
}

pub(crate) async fn a_receive_that_is_given_up_loses_nothing(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("given-up"));
    let mut consumer = bus.subscribe(&topic).unwrap();
    assert!(consumer.receive(1).now_or_never().is_none());
    assert!(not_yet(consumer.receive(1)).await);
    put(&*bus, &topic, "alice", "one").await;
    assert_eq!(texts(&get(&mut *consumer, 1).await), ["one"]);
}

pub(crate) async fn topics_do_not_see_each_other(home: &dyn Home) {
    let (bus, ours, theirs) = (home.open().await, home.topic("ours"), home.topic("theirs"));
    put(&*bus, &theirs, "alice", "not for us").await;
    put(&*bus, &ours, "alice", "for us").await;
    let mut consumer = bus.subscribe(&ours).unwrap();
    assert_eq!(texts(&get(&mut *consumer, 1).await), ["for us"]);
    assert!(not_yet(consumer.receive(1)).await);
}

pub(crate) async fn a_closed_bus_says_so_to_everybody(home: &dyn Home) {
    let (bus, topic) = (home.open().await, home.topic("closed"));
    let mut consumer = bus.subscribe(&topic).unwrap();
    let record = Record {
        term: Term::default(),
        place: put(&*bus, &home.topic("closed-other"), "alice", "one").await,
        key: "alice".into(),
        payload: "one".into(),
    };
    let receiving = tokio::spawn(async move { consumer.receive(1).await });
    let mut rooms = Vec::new();
    while let Some(room) = bus.room(home.max_record_bytes()).now_or_never() {
        rooms.push(room.unwrap());
    }
    let waiting = tokio::spawn(bus.room(home.max_record_bytes()));
    tokio::task::yield_now().await;
    soon(bus.close()).await;
    soon(bus.close()).await;
    assert!(matches!(soon(receiving).await.unwrap(), Err(Error::Closed(_))));
    assert!(matches!(soon(waiting).await.unwrap(), Err(Error::Closed(_))));
    assert!(matches!(soon(bus.room(1)).await, Err(Error::Closed(_))));
    let late = bus.publish(bus.room_inside(), &topic, "alice".into(), "late".into());
    assert!(matches!(soon(late).await, Err(Error::Closed(_))));
    assert!(matches!(bus.subscribe(&home.topic("closed-new")), Err(Error::Closed(_))));
    assert!(matches!(soon(bus.dead_letter(&record, "late")).await, Err(Error::Closed(_))));
}

pub(crate) async fn close_makes_what_is_in_line_durable(home: &dyn Home) {
    let topic = home.topic("in-line");
    let bus = home.open().await;
    let mut receipts = Vec::new();
    for number in 0..20 {
        receipts.push(bus.publish(bus.room_inside(), &topic, "alice".into(), number.to_string().into()));
    }
    soon(bus.close()).await;
    for receipt in receipts {
        soon(receipt).await.unwrap();
    }
    let bus = home.open().await;
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(texts(&get(&mut *bus.subscribe(&topic).unwrap(), 20).await), expected);
}
