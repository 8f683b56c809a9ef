//! Faults, by causing them: the real program is killed, stopped, frozen, starved of disk and given damaged folders.
//!
//! `PARLOR_SEED` replays a run's choices (not the machine's timing); `PARLOR_SOAK_SECONDS` has the kills go on so long.

mod backup;
pub(crate) mod checker;
mod command_line;
mod disk;
mod drain;
mod holder;
mod kills;
pub(crate) mod load;
mod refusals;
pub(crate) mod server;
mod slow_store;

/// Of this run, and said, so that it can be had again.
fn seed(of: &str) -> u64 {
    let seed = std::env::var("PARLOR_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("{of}: PARLOR_SEED={seed}");
    seed
}
