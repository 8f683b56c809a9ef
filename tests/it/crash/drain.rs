//! SIGTERM under load: clients are told, handed over, and neither lose nor repeat anything (G8).

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::load::{Habits, Load};
use super::seed;
use super::server::{Home, SETTINGS, Server};

/// With nothing in the way, stopping takes a moment.
const QUICK: Duration = Duration::from_secs(8);
/// `Load` opens so many for four users.
const SOCKETS: usize = 6;

fn habits() -> Habits {
    Habits { drop_one_in: None, ..Habits::default() }
}

async fn terminate(load: &Load, mut server: Server, home: &Home, signals: u32, pause: Duration) -> Duration {
    load.server_is(None);
    let begun = Instant::now();
    for n in 0..signals {
        if n > 0 {
            tokio::time::sleep(pause).await;
        }
        server.signal(Signal::TERM);
    }
    let status = server.ended(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0), "{status} {}", home.log());
    begun.elapsed()
}

#[tokio::test]
async fn sigterm_tells_every_client_when_to_come_back_closes_with_1012_and_loses_nothing() {
    let seed = seed("drain");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = Home::new();
    let mut server = home.start().await;
    let mut load = Load::start(&server, 4, habits(), seed).await;
    for round in 0..8 {
        // Everybody is there, and something is under way.
        load.until_connected(SOCKETS).await;
        load.until_accepted(20).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
        load.heard().reconnects.lock().unwrap().clear();
        load.heard().closes.lock().unwrap().clear();
        let took = terminate(&load, server, &home, 1, Duration::ZERO).await;
        assert!(took < QUICK, "{took:?}");
        load.until_connected(0).await;
        let mut told = load.heard().reconnects.lock().unwrap().clone();
        told.sort_unstable();
        let evenly: Vec<u64> = (0..SOCKETS as u64).map(|n| n * 1000 / SOCKETS as u64).collect();
        assert_eq!(told, evenly, "round {round}: spread over the second that is configured");
        assert_eq!(*load.heard().closes.lock().unwrap(), [1012; SOCKETS], "round {round}");
        server = home.start().await;
        load.server_is(Some(&server));
    }
    let violations = load.settle(&server).await;
    eprintln!("drain: 8 stops, {:?}, {} rejected", load.checker().counts(), load.rejected());
    assert_eq!(violations, []);
    server.stop().await;
}

#[tokio::test]
async fn a_second_sigterm_stops_at_once_and_loses_nothing() {
    let seed = seed("second");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = Home::with(&format!("drain_limit_seconds = 60\n{SETTINGS}"));
    let mut server = home.start().await;
    let mut load = Load::start(&server, 4, habits(), seed).await;
    for locked in [false, true, false, true, false] {
        load.until_accepted(20).await;
        // With the tables locked there is always something that draining would have to wait for.
        let holder = if locked { Some(super::holder::hold(&home.data).await) } else { None };
        load.until_accepted(20).await;
        let pause = Duration::from_millis(rng.random_range(if locked { 300..600 } else { 0..30 }));
        let took = terminate(&load, server, &home, 2, pause).await;
        assert!(took < QUICK, "locked {locked}: {took:?}");
        if let Some(holder) = holder {
            holder.release().await;
        }
        server = home.start().await;
        load.server_is(Some(&server));
    }
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    server.stop().await;
}

#[tokio::test]
async fn sigterm_right_after_the_start_is_a_clean_stop() {
    let home = Home::new();
    for _ in 0..8 {
        home.start().await.stop().await;
    }
}
