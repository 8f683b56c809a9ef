//! Members of a group that come, go and die: nothing is lost, only what was in flight runs again, and each key's records
//! begin in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, Write as _};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use parlor::pipeline::bus::{Bus, Topic};
use parlor::pipeline::tracker::Tracker;
use rustix::process::Signal;
use tokio::sync::Semaphore;

use super::{open, prefix, quick, until};
use crate::app::Process;
use crate::app::kafka::Kafka;

/// Records in work at once in each member.
const WINDOW: usize = 64;
const KEYS: usize = 24;
const EACH: u32 = 150;
/// How long finished records may wait until the brokers know, and what a busy machine adds.
const UNTOLD_MILLIS: u128 = 1_000;

/// A member of the group, in a process of its own.
fn member(prefix: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "bus_kafka::rebalance::child", "--ignored", "--nocapture"]);
    command.env("TEST_BROKERS", Kafka::shared().bootstrap()).env("TEST_PREFIX", prefix);
    Process::start(command)
}

/// Milliseconds on a clock that all processes share.
fn now() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000 + u128::try_from(now.tv_nsec).unwrap() / 1_000
}

/// Works on what it is given until its standard input ends; then it takes its leave.
#[tokio::test]
#[ignore = "a member of the test below, in a process of its own"]
async fn child() {
    let (brokers, prefix) = (std::env::var("TEST_BROKERS").unwrap(), std::env::var("TEST_PREFIX").unwrap());
    let bus = Arc::new(open(&brokers, &prefix, &quick()));
    let topic = Topic::from(format!("{prefix}.work").as_str());
    let feeding = tokio::spawn(feed(bus.clone(), topic));
    tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new())).await.unwrap().unwrap();
    bus.drain().await;
    say("left");
    bus.close().await;
    assert!(feeding.await.is_ok());
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).unwrap();
}

async fn feed(bus: Arc<dyn Bus>, topic: Topic) {
    let mut consumer = bus.subscribe(&topic).unwrap();
    let tracker = Tracker::new(consumer.committer(), Arc::new(Semaphore::new(WINDOW)));
    let mut lanes = BTreeMap::new();
    loop {
        let max = tracker.room(WINDOW).await;
        let Ok(records) = consumer.receive(max).await else { return };
        for record in records {
            let Some(ticket) = tracker.begin(record.clone()).await else { continue };
            // One key's records one after the other, as a stage has them.
            let lane = lanes.entry(record.key.clone()).or_insert_with(|| {
                let (lane, mut work) = tokio::sync::mpsc::unbounded_channel();
                tokio::spawn(async move {
                    while let Some((ticket, what)) = work.recv().await {
                        let ticket: parlor::pipeline::tracker::Ticket = ticket;
                        say(&format!("begin {what} {}", now()));
                        tokio::time::sleep(Duration::from_millis(4)).await;
                        say(&format!("end {what} {}", now()));
                        ticket.finish();
                    }
                });
                lane
            });
            let words = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            lane.send((ticket, format!("{} {}", words(&record.key), words(&record.payload)))).unwrap();
        }
    }
}

/// A line that a member said: what, of which key, which number, when.
struct Said {
    begin: bool,
    key: String,
    number: u32,
    at: u128,
}

fn said(member: &Process) -> Vec<Said> {
    let read = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let [what @ ("begin" | "end"), key, number, at] = words.as_slice() else { return None };
        let (key, number, at) = ((*key).to_owned(), number.parse().unwrap(), at.parse().unwrap());
        Some(Said { begin: *what == "begin", key, number, at })
    };
    member.out().iter().filter_map(read).collect()
}

fn ended(member: &Process) -> usize {
    said(member).iter().filter(|said| !said.begin).count()
}

#[tokio::test]
async fn members_come_go_and_die_and_only_what_was_in_flight_runs_again() {
    const LONG: Duration = Duration::from_secs(90);
    let (kafka, prefix) = (Kafka::shared(), prefix());
    kafka.make_topic(&format!("{prefix}.work"), 6, &[]);
    let topic = Topic::from(format!("{prefix}.work").as_str());
    let bus = Arc::new(open(&kafka.bootstrap(), &prefix, &quick()));
    let publishing = {
        let (bus, topic) = (bus.clone(), topic.clone());
        tokio::spawn(async move {
            for number in 0..EACH {
                for key in 0..KEYS {
                    let receipt =
                        bus.publish(bus.room_inside(), &topic, format!("k{key}").into(), number.to_string().into());
                    receipt.await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        })
    };
    let first = member(&prefix);
    until("the first works", LONG, || ended(&first) > 100).await;
    let second = member(&prefix);
    until("the second works", LONG, || ended(&second) > 50).await;
    let third = member(&prefix);
    until("the third works", LONG, || ended(&third) > 50).await;
    second.end_input();
    until("the second has left", LONG, || second.out().iter().any(|line| line == "left")).await;
    first.signal(Signal::KILL);
    let killed = now();
    publishing.await.unwrap();
    let members = [&first, &second, &third];
    let finished = || -> BTreeSet<(String, u32)> {
        let all = members.iter().flat_map(|member| said(member)).filter(|said| !said.begin);
        all.map(|said| (said.key, said.number)).collect()
    };
    let all = KEYS * EACH as usize;
    until("everything is finished", LONG, || finished().len() == all).await;
    judge(&members, killed);
    third.end_input();
    third.exited(LONG).await;
    bus.close().await;
}

/// Per key, first beginnings are in order; and what ran twice was in the hands of the one that was killed.
fn judge(members: &[&Process; 3], killed: u128) {
    let mut begun: BTreeMap<(String, u32), u128> = BTreeMap::new();
    let mut runs: BTreeMap<(String, u32), usize> = BTreeMap::new();
    for said in members.iter().flat_map(|member| said(member)).filter(|said| said.begin) {
        let at = begun.entry((said.key.clone(), said.number)).or_insert(said.at);
        *at = said.at.min(*at);
        *runs.entry((said.key, said.number)).or_default() += 1;
    }
    for key in 0..KEYS {
        let key = format!("k{key}");
        let times: Vec<u128> = (0..EACH).map(|number| begun[&(key.clone(), number)]).collect();
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "{key} did not begin in order: {times:?}");
    }
    let of_killed = said(members[0]);
    let told: BTreeSet<(String, u32)> = of_killed
        .iter()
        .filter(|said| !said.begin && said.at + UNTOLD_MILLIS * 1000 < killed)
        .map(|said| (said.key.clone(), said.number))
        .collect();
    let held: BTreeSet<(String, u32)> = of_killed.iter().map(|said| (said.key.clone(), said.number)).collect();
    let again: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).map(|(what, _)| what).collect();
    for what in &again {
        assert!(held.contains(*what), "{what:?} ran again, and the one that was killed never had it");
        assert!(!told.contains(*what), "{what:?} ran again, and was finished long before the kill");
    }
    say(&format!("{} of {} records ran again", again.len(), runs.len()));
}
