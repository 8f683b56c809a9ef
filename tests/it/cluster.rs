//! Several nodes as one server: what their users see of one another, and what becomes of it all when parts of it die.
//!
//! `PARLOR_FAULT_SEED` replays a run's faults (not the machine's timing); `PARLOR_SOAK_SECONDS` has them go on so long.

use std::time::Duration;

use crate::crash::checker::Order;
use crate::crash::load::Habits;

mod backing;
mod chat;
mod fault;
mod faults;
mod handover;
mod ingress;
mod nginx;
mod outages;
mod upgrade;
mod watched;
mod wire;
mod world;

/// A node that is told to stop has ended within this time: its drain limit, and what a busy machine needs.
const STOP: Duration = Duration::from_secs(40);

/// Of clients whose nodes go and come on purpose: nothing is broken, they drop nothing, and leave when they are told.
fn habits(order: Order) -> Habits {
    Habits {
        order,
        rate: 20,
        drop_one_in: None,
        patience: Duration::from_secs(90),
        leaves_when_told: true,
        ..Habits::default()
    }
}

/// Of this run, and said, so that it can be had again.
fn seed(of: &str) -> u64 {
    let seed = std::env::var("PARLOR_FAULT_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("{of}: PARLOR_FAULT_SEED={seed}");
    seed
}
