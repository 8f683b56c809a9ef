//! A disk without space: nothing that was accepted is lost, clients and operators are told, room made is enough.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::checker::Order;
use super::load::{Habits, Load, register};
use super::server::{Home, SETTINGS, Server};
use crate::app::PATIENCE;

/// A file system of its own, so small that it can be filled.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(at: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(at).output().unwrap();
        assert!(
            mounted.status.success(),
            "this test mounts a small disk and needs root for it; run it as root, or in a namespace of your own: \
             unshare --user --map-root-user --mount make test ({})",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        Self(at.to_owned())
    }

    pub(crate) fn read_only(&self) {
        let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status().unwrap();
        assert!(remounted.success());
    }

    /// Takes all space but `left` bytes, whoever else is writing.
    fn fill(&self, left: u64) {
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        let mut taken = 0;
        while let Ok(written @ 1..) = ballast.write(&[1; 4096]) {
            taken += written as u64;
        }
        ballast.set_len(taken.saturating_sub(left)).unwrap();
    }

    fn give_back(&self, bytes: u64) {
        let ballast = File::options().write(true).open(self.0.join("ballast")).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - bytes).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn habits() -> Habits {
    Habits { order: Order::AsTried, drop_one_in: None, ..Habits::default() }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_full_disk_rejects_with_the_reason_loses_nothing_and_needs_no_restart() {
    let mut home = Home::new();
    let disk = SmallDisk::mount(&home.path("disk"), 48);
    home.data = home.path("disk").join("data");
    let mut server = home.start().await;
    let mut load = Load::start(&server, 4, habits(), 3).await;
    for (round, left) in [64 * 1024, 0, 8 * 1024, 300 * 1024].into_iter().enumerate() {
        load.until_accepted(100).await;
        disk.fill(left);
        let rejected = load.rejected();
        until("rejections", || load.rejected() > rejected + 20).await;
        let checks = server.until_ready_says(503, PATIENCE).await;
        assert!(checks["bus"].as_str().unwrap().contains("disk is full"), "{checks}");
        let login = json!({"username": "user0", "password": "correct horse"});
        let login = reqwest::Client::new().post(server.url("/login")).json(&login).send().await.unwrap();
        if login.status() != 200 {
            assert_eq!(login.status(), 503);
            assert_eq!(login.json::<Value>().await.unwrap()["code"], "unavailable");
        }
        if round == 3 {
            // And a kill in the middle of it.
            load.server_is(None);
            server.kill_9();
            disk.free();
            server = home.start().await;
            load.server_is(Some(&server));
        } else {
            tokio::time::sleep(Duration::from_millis(700)).await;
            disk.free();
        }
        server.until_ready_says(200, Duration::from_secs(10)).await;
        load.read_inboxes(&server).await;
        load.expect_well();
    }
    for (code, detail) in load.heard().words.lock().unwrap().iter() {
        assert_eq!(code, "unavailable", "{detail}");
        assert!(detail.contains("no space left") && detail.contains("same clientMessageId"), "{detail}");
    }
    let violations = load.settle(&server).await;
    eprintln!("full disk: {:?}, {} rejected", load.checker().counts(), load.rejected());
    assert_eq!(violations, []);
    server.stop().await;
}

#[tokio::test]
async fn tables_that_find_no_space_hold_messages_back_on_the_bus_and_go_on_by_themselves() {
    // Little may wait on the bus, so that holding back is seen soon.
    let settings =
        format!("{SETTINGS}max_message_bytes = 2048\n[bus]\nmax_record_bytes = 131072\nunfinished_bytes = 262144\n");
    let mut home = Home::with(&settings);
    let disk = SmallDisk::mount(&home.path("disk"), 48);
    home.data = home.path("disk").join("data");
    std::fs::create_dir_all(&home.data).unwrap();
    std::fs::create_dir_all(home.path("bus")).unwrap();
    std::os::unix::fs::symlink(home.path("bus"), home.data.join("bus")).unwrap();
    let server = home.start().await;
    let mut load = Load::start(&server, 4, Habits { rate: 400, ..habits() }, 4).await;
    for left in [0, 64 * 1024, 4096] {
        load.until_accepted(100).await;
        disk.fill(left);
        let checks = server.until_ready_says(503, Duration::from_secs(20)).await;
        assert!(checks["store"].as_str().unwrap().contains("full"), "{checks}");
        assert_eq!(checks["bus"], "ok");
        // Accepted until the bus has taken what it may; then senders wait.
        load.until_held_back().await;
        disk.free();
        server.until_ready_says(200, Duration::from_secs(10)).await;
    }
    load.until_accepted(100).await;
    let violations = load.settle(&server).await;
    eprintln!("full tables: {:?}, {} rejected", load.checker().counts(), load.rejected());
    assert_eq!(violations, []);
    assert_eq!(load.rejected(), 0, "{:?}", load.heard().words);
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_nobody_uses_notices_by_itself_that_there_is_space_again() {
    let mut home = Home::new();
    let disk = SmallDisk::mount(&home.path("disk"), 32);
    home.data = home.path("disk").join("data");
    let server = home.start().await;
    let (_, token) = register(&server, "ada").await;
    disk.fill(0);
    let (mut status, mut code) = (0, Value::Null);
    for _ in 0..50 {
        (status, code) = post(&server, &token).await;
        if status == 503 {
            break;
        }
    }
    assert_eq!((status, &code), (503, &json!("unavailable")));
    server.until_ready_says(503, PATIENCE).await;
    // Space for the marker with which the disk is tried is none for a message.
    disk.give_back(4096);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.readiness().await.0, 503);
    disk.free();
    server.until_ready_says(200, PATIENCE).await;
    assert_eq!(post(&server, &token).await.0, 202);
    server.stop().await;
}

async fn post(server: &Server, token: &str) -> (u16, Value) {
    let message = json!({"messageBody": "x".repeat(16_000), "recipientIds": [1]});
    let request = reqwest::Client::new().post(server.url("/messages")).bearer_auth(token).json(&message);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["code"].clone())
}

#[tokio::test]
async fn a_start_without_any_space_is_refused_in_one_line_and_succeeds_when_there_is_some() {
    let mut home = Home::new();
    let disk = SmallDisk::mount(&home.path("disk"), 16);
    home.data = home.path("disk").join("data");
    disk.fill(0);
    home.refused(&[]).says(&["space"]);
    disk.free();
    home.start().await.stop().await;
}
