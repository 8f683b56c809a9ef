//! Several nodes as one server: what their users see of one another, and what becomes of it all when parts of it die.
//!
//! `PARLOR_FAULT_SEED` replays a run's faults (not the machine's timing); `PARLOR_SOAK_SECONDS` has them go on so long.

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

/// Of this run, and said, so that it can be had again.
fn seed(of: &str) -> u64 {
    let seed = std::env::var("PARLOR_FAULT_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("{of}: PARLOR_FAULT_SEED={seed}");
    seed
}
