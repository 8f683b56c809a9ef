//! Histories: clients write and read on through one fault after another, and in the end every promise was kept (G1 to G4).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::fault::{Event, deck};
use super::seed;
use super::world::World;
use crate::crash::checker::Order;
use crate::crash::load::{Habits, Load};

const NODES: usize = 3;
const BROKERS: usize = 3;
const USERS: usize = 5;
/// Of a deck, so many are played in `make test`; the seed says which. A soak plays all.
const EVENTS: usize = 12;
/// After each fault, so many messages are accepted before the next.
const BETWEEN: usize = 40;

fn habits() -> Habits {
    Habits {
        // A node that has no Kafka for a while says `unavailable`.
        order: Order::AsTried,
        rate: 20,
        silence: Duration::from_secs(5),
        patience: Duration::from_secs(180),
        leaves_when_told: true,
        ..Habits::default()
    }
}

#[tokio::test]
async fn whatever_dies_stops_or_is_cut_off_no_accepted_message_is_lost_doubled_or_out_of_order() {
    let seed = seed("faults");
    let soak = std::env::var("PARLOR_SOAK_SECONDS").ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    let events = if soak.is_some() { usize::MAX } else { EVENTS };
    let begun = Instant::now();
    let mut world = World::breakable(NODES, &[]).await;
    eprintln!("{:?}: three nodes, three brokers, Postgres and Redis are up", begun.elapsed());
    let mut load = Load::start(world.server(0), USERS, habits(), seed).await;
    load.servers_are(world.servers());
    load.until_accepted(BETWEEN).await;
    let begun = Instant::now();
    let mut happened = 0;
    for round in 0.. {
        for event in deck(seed.wrapping_add(round), NODES, BROKERS).into_iter().take(events) {
            happen(&event, &mut world, &load, begun).await;
            happened += event.faults.len();
        }
        if soak.is_none_or(|soak| begun.elapsed() > soak) {
            break;
        }
    }
    let violations = load.settle(world.server(0)).await;
    eprintln!("{:?}: {happened} faults, {}", begun.elapsed(), told(&load));
    assert!(violations.is_empty(), "{} violations, the first: {:?}", violations.len(), violations.first());
    assert!(happened >= 10 && load.checker().counts().accepted > happened * BETWEEN / 2, "hardly anything was tested");
    world.stop().await;
}

/// One event, and what must be right after it.
async fn happen(event: &Event, world: &mut World, load: &Load, begun: Instant) {
    tokio::time::sleep(event.after).await;
    let at = begun.elapsed();
    let before = load.checker().counts().accepted;
    event.happen(world).await;
    let meanwhile = load.checker().counts().accepted - before;
    let mended = Instant::now();
    load.servers_are(world.servers());
    load.until_accepted(BETWEEN).await;
    let accepting = mended.elapsed();
    world.until_ready().await;
    load.read_inboxes(world.server(0)).await;
    load.expect_well();
    let rejected = load.heard().rejected.load(Ordering::Relaxed);
    eprintln!(
        "{:.1} s: {:?} for {:?}: {meanwhile} accepted meanwhile; accepting {accepting:?}, ready {:?} after it; {rejected} \
         rejected so far",
        at.as_secs_f64(),
        event.faults,
        event.lasts,
        mended.elapsed(),
    );
}

fn told(load: &Load) -> String {
    let (counts, heard) = (load.checker().counts(), load.heard());
    format!(
        "{} connections, {} messages sent in {} tries, {} accepted, {} rejected, {} places, {} streamed",
        heard.connections.load(Ordering::Relaxed),
        counts.sent,
        counts.tries,
        counts.accepted,
        heard.rejected.load(Ordering::Relaxed),
        counts.places,
        counts.streamed,
    )
}
