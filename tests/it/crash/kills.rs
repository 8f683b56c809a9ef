//! `kill -9` and power cuts at random moments under load: G1 to G4.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::load::{Habits, Load};
use super::seed;
use super::server::{Home, SETTINGS, Server};

/// Kills under load in `make test`.
const KILLS: u32 = 24;
/// How often a soak says where it stands.
const PROGRESS: Duration = Duration::from_secs(10);

/// A small journal, so that it rolls over and gives back its files all the time.
fn busy() -> String {
    format!("{SETTINGS}\n[bus]\nsegment_bytes = 65536\njournal_bytes = 262144\nposition_flush_millis = 20\n")
}

#[tokio::test]
async fn accepted_messages_survive_kill_9_at_any_moment_exactly_once_and_in_order() {
    let seed = seed("kills");
    let soak = std::env::var("PARLOR_SOAK_SECONDS").ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    let mut rng = StdRng::seed_from_u64(seed);
    let home = Home::with(&busy());
    let mut server = home.start().await;
    let mut load = Load::start(&server, 5, Habits::default(), seed).await;
    let (begun, mut said) = (Instant::now(), Instant::now());
    let mut kills = 0;
    while soak.map_or(kills < KILLS, |soak| begun.elapsed() < soak) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..1200))).await;
        load.server_is(None);
        server.kill_9();
        kills += 1;
        // One in four starts is killed too, at any moment of it.
        while rng.random_ratio(1, 4) {
            let starting = home.spawn();
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..250))).await;
            starting.kill_9();
            kills += 1;
        }
        server = home.start().await;
        load.server_is(Some(&server));
        load.read_inboxes(&server).await;
        load.expect_well();
        if soak.is_some() && said.elapsed() > PROGRESS {
            said = Instant::now();
            say(&load, kills, begun);
        }
    }
    let violations = load.settle(&server).await;
    say(&load, kills, begun);
    assert!(violations.is_empty(), "{} violations, the first: {:?}", violations.len(), violations.first());
    assert!(load.checker().counts().accepted > kills as usize, "hardly anything was tested");
    server.stop().await;
    assert_eq!(home.log().matches("panicked").count(), 0, "{}", home.log());
}

fn say(load: &Load, kills: u32, begun: Instant) {
    let (counts, heard) = (load.checker().counts(), load.heard());
    let seconds = begun.elapsed().as_secs();
    let violations = load.checker().violations().len();
    eprintln!(
        "{seconds} s: {kills} kills, {} connections, {} messages sent in {} tries, {} accepted, {} places, {} streamed, \
         {violations} violations",
        heard.connections.load(std::sync::atomic::Ordering::Relaxed),
        counts.sent,
        counts.tries,
        counts.accepted,
        counts.places,
        counts.streamed,
    );
}

/// What is in the journal and not yet in the tables when the process is killed has to come from the journal.
#[tokio::test]
async fn a_storm_of_kills_between_journal_and_store_loses_nothing() {
    let seed = seed("storm");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = Home::with(&busy());
    let mut server = home.start().await;
    let habits = Habits { window: 64, rate: 1000, drop_one_in: None, ..Habits::default() };
    let mut load = Load::start(&server, 3, habits, seed).await;
    for _ in 0..12 {
        // Held by another, the tables take nothing: all that is accepted is in the journal only.
        let holder = super::holder::hold(&home.data).await;
        load.until_accepted(rng.random_range(20..200)).await;
        load.server_is(None);
        server.kill_9();
        holder.release().await;
        for _ in 0..rng.random_range(0..3) {
            let starting = home.spawn();
            tokio::time::sleep(Duration::from_millis(rng.random_range(50..200))).await;
            starting.kill_9();
        }
        server = home.start().await;
        load.server_is(Some(&server));
    }
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    server.stop().await;
}

/// What a power cut would leave: the folder as it is at one moment. What only the page cache has is copied too, so this
/// tests the moments, not the syncs; `bus_embedded` tests those.
#[tokio::test]
async fn a_copy_of_the_folder_of_a_running_server_holds_all_that_was_accepted_before_it() {
    let seed = seed("copies");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = Home::with(&busy());
    let mut server = home.start().await;
    let habits = Habits { window: 32, rate: 400, ..Habits::default() };
    let mut load = Load::start(&server, 4, habits, seed).await;
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..700))).await;
        server.freeze().await;
        let copy = home.path(&format!("copy{round}"));
        copy_folder(&home.data, &copy);
        // The original ends here, and the copy is what there is: accepted is what clients know now or hear later.
        load.server_is(None);
        server.kill_9();
        std::fs::remove_dir_all(&home.data).unwrap();
        std::fs::rename(&copy, &home.data).unwrap();
        server = home.start().await;
        load.server_is(Some(&server));
        load.read_inboxes(&server).await;
        load.expect_well();
    }
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    server.stop().await;
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

/// Registrations and logins too are there after a kill as soon as they were answered.
#[tokio::test]
async fn an_account_that_was_answered_for_is_there_after_a_kill_and_its_token_still_good() {
    let home = Home::new();
    let mut tokens = Vec::new();
    for round in 0..4 {
        let server = home.start().await;
        let (_, token) = super::load::register(&server, &format!("name{round}")).await;
        tokens.push(token);
        server.kill_9();
    }
    let server: Server = home.start().await;
    for token in tokens {
        let answer = reqwest::Client::new().get(server.url("/me")).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    server.stop().await;
}
