//! What the server cannot work with: it says so in one line, changes nothing, and serves nobody.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::disk::SmallDisk;
use super::load::{Habits, Load, register};
use super::server::{Home, SETTINGS};

/// Every file below a folder, with what it holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A folder that has been used and left in peace.
async fn used() -> Home {
    let home = Home::new();
    let server = home.start().await;
    let mut load = Load::start(&server, 3, Habits::default(), 5).await;
    load.until_accepted(100).await;
    assert_eq!(load.settle(&server).await, []);
    server.stop().await;
    home
}

fn refused_without_a_trace(home: &Home, words: &[&str]) {
    let before = contents(&home.data);
    home.refused(&[]).says(words);
    let mut after = contents(&home.data);
    // SQLite's thread may not come to remove these before the process ends; they hold nothing.
    after.retain(|path, content| {
        let name = path.to_string_lossy();
        !(name.ends_with(".sqlite-shm") || name.ends_with(".sqlite-wal") && content.is_empty())
    });
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    assert!(before == after, "a file has changed");
}

async fn sql(home: &Home, statement: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(home.data.join("parlor.sqlite"));
    let mut connection = options.connect().await.unwrap();
    let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_none_is_refused() {
    let home = used().await;
    let path = home.data.join("parlor.sqlite");
    let mut content = std::fs::read(&path).unwrap();
    content[..100].fill(b'?');
    std::fs::write(&path, content).unwrap();
    refused_without_a_trace(&home, &["parlor.sqlite", "damaged", "restore"]);
}

#[tokio::test]
async fn a_database_that_was_cut_short_is_refused() {
    let home = used().await;
    let path = home.data.join("parlor.sqlite");
    let content = std::fs::read(&path).unwrap();
    std::fs::write(&path, &content[..content.len() / 2]).unwrap();
    refused_without_a_trace(&home, &["parlor.sqlite", "damaged", "restore"]);
}

#[tokio::test]
async fn a_database_of_a_newer_parlor_is_refused() {
    let home = used().await;
    let future = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
                  VALUES (9999, 'the future', CURRENT_TIMESTAMP, TRUE, x'00', 1)";
    sql(&home, future).await;
    // One that only adds is no reason not to start.
    sql(&home, "UPDATE compatibility SET oldest = 9999").await;
    refused_without_a_trace(&home, &["newer Parlor", "9999", "nothing was changed"]);
}

#[tokio::test]
async fn a_migration_that_was_changed_after_its_release_is_refused() {
    let home = used().await;
    sql(&home, "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2").await;
    refused_without_a_trace(&home, &["migration 2", "nothing was changed"]);
}

#[tokio::test]
async fn a_damaged_journal_is_refused() {
    let home = used().await;
    let journal = contents(&home.data.join("bus"));
    let (path, content) = journal.iter().find(|(path, _)| path.extension().is_some_and(|end| end == "log")).unwrap();
    let mut content = content.clone();
    let middle = content.len() / 2;
    content[middle] ^= 0x55;
    std::fs::write(path, content).unwrap();
    refused_without_a_trace(&home, &["damaged at byte", "Restore"]);
}

#[tokio::test]
async fn keys_that_others_can_read_are_refused() {
    let home = used().await;
    let path = home.data.join("jwt-keys.json");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    refused_without_a_trace(&home, &["jwt-keys.json", "chmod 600"]);
}

#[tokio::test]
async fn a_second_process_on_a_folder_is_refused_and_the_first_unharmed() {
    let home = Home::new();
    let server = home.start().await;
    let mut load = Load::start(&server, 3, Habits { drop_one_in: None, ..Habits::default() }, 6).await;
    for _ in 0..5 {
        load.until_accepted(20).await;
        home.refused(&[]).says(&["in use by another Parlor", "--data"]);
    }
    assert_eq!(load.settle(&server).await, []);
    assert!(load.heard().closes.lock().unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused() {
    let mut home = used().await;
    let disk = SmallDisk::mount(&home.path("disk"), 16);
    let copied = std::process::Command::new("cp").arg("-a").arg(&home.data).arg(home.path("disk")).status().unwrap();
    assert!(copied.success());
    home.data = home.path("disk").join("data");
    disk.read_only();
    refused_without_a_trace(&home, &["disk/data", "cannot be used", "writable"]);
    home.data = home.path("disk").join("new");
    home.refused(&[]).says(&["disk/new", "cannot be used", "writable"]);
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_refused() {
    let mut home = Home::new();
    home.data = home.path("file");
    std::fs::write(&home.data, "mine").unwrap();
    home.refused(&[]).says(&["is a file", "--data"]);
    assert_eq!(std::fs::read(&home.data).unwrap(), b"mine");
    home.data = home.path("file").join("below");
    home.refused(&[]).says(&["cannot be used"]);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_before_anything_is_made() {
    for (settings, words) in [
        ("lisen = \"127.0.0.1:1\"\n", ["lisen", "parlor.toml"]),
        ("[session]\nmax_mesage_bytes = 1\n", ["max_mesage_bytes", "parlor.toml"]),
        ("[session]\nmax_message_bytes = 0\n", ["session.max_message_bytes", "from 1 to"]),
        ("[session]\nin_flight = \"many\"\n", ["session.in_flight", "parlor.toml"]),
        ("[bus]\npartitions = 0\n", ["bus.partitions", "between 1 and"]),
        ("[accounts]\nhash_concurrency = 0\n", ["accounts.hash_concurrency", "zero"]),
        ("this is no toml\n", ["parlor.toml", "line 1"]),
    ] {
        let home = Home::with(settings);
        home.refused(&[]).says(&words);
        assert!(!home.data.exists(), "{settings}");
    }
    let home = Home::new();
    let missing = home.path("missing.toml");
    home.refused(&["--config", missing.to_str().unwrap()]).says(&["missing.toml"]);
    assert!(!home.data.exists());
}

#[tokio::test]
async fn a_port_in_use_is_refused_before_anything_is_made() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--internal-listen"] {
        let home = Home::with(SETTINGS);
        let key = flag[2..].replace('-', "_");
        home.refused(&[flag, &address]).says(&[&key, &address, "in use"]);
        assert!(!home.data.exists(), "{flag}");
    }
}

/// What is refused is no half start either: the same folder serves as soon as its trouble is over.
#[tokio::test]
async fn a_folder_whose_trouble_is_over_serves_as_before() {
    let home = used().await;
    let path = home.data.join("jwt-keys.json");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.refused(&[]).says(&["chmod 600"]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = home.start().await;
    register(&server, "new").await;
    server.stop().await;
}

#[tokio::test]
async fn a_variable_reaches_into_a_section_and_a_wrong_key_there_is_refused() {
    let with = |name: &str, value: &str| Home::in_environment(SETTINGS, vec![(name.to_owned(), value.to_owned())]);
    with("PARLOR_SESSION__MAX_BYTES", "1").refused(&[]).says(&["max_bytes"]);
    with("PARLOR_SESSION__MAX_MESSAGE_BYTES", "0").refused(&[]).says(&["session.max_message_bytes"]);
    with("PARLOR_SESSION__MAX_MESSAGE_BYTES", "1000").start().await.stop().await;
}
