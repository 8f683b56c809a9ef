//! `parlor backup` while a server works, and `parlor restore` into an empty folder: what was accepted before is all there, once
//! and in order.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::load::{Habits, Load};
use super::seed;
use super::server::{Home, SETTINGS, parlor, run};

/// A journal that rolls over and gives back its files all the time, also while it is copied.
fn busy() -> String {
    format!("{SETTINGS}\n[bus]\nsegment_bytes = 65536\njournal_bytes = 262144\nposition_flush_millis = 20\n")
}

fn command(name: &str, folder: &Path, data: &Path) -> Output {
    let mut command = parlor();
    command.arg(name).arg(folder).arg("--data").arg(data);
    run(command, "")
}

#[tokio::test]
async fn a_backup_under_load_restored_into_an_empty_folder_has_all_that_was_accepted_before_it() {
    let seed = seed("backup");
    let mut rng = StdRng::seed_from_u64(seed);
    let home = Home::with(&busy());
    let mut server = home.start().await;
    let habits = Habits { window: 32, rate: 400, ..Habits::default() };
    let mut load = Load::start(&server, 4, habits, seed).await;
    for round in 0..4 {
        tokio::time::sleep(Duration::from_millis(rng.random_range(200..900))).await;
        // Of these everything must be there. Others go on all the while.
        load.fall_silent().await;
        let others = Load::named(&format!("other{round}-"), &server, 3, habits, seed ^ round).await;
        others.until_accepted(50).await;
        let copy = home.path(&format!("copy{round}"));
        let (data, to) = (home.data.clone(), copy.clone());
        let copied = tokio::task::spawn_blocking(move || command("backup", &to, &data)).await.unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        others.until_accepted(20).await;
        others.server_is(None);
        load.server_is(None);
        server.kill_9();
        std::fs::remove_dir_all(&home.data).unwrap();
        let restored = command("restore", &copy, &home.data);
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        server = home.start().await;
        load.server_is(Some(&server));
        load.send(true);
        load.read_inboxes(&server).await;
        load.expect_well();
    }
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    assert!(load.checker().counts().accepted > 100, "hardly anything was tested");
    server.stop().await;
}
