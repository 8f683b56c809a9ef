//! Where a copy may be made, and what is taken for one; that it is consistent under load is tested from outside
//! (`tests/it/crash/backup.rs`).

use tempfile::TempDir;

use super::*;
use crate::config::bus::BusOptions;
use crate::pipeline::bus::Bus as _;
use crate::store::Store;

async fn folder() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    Store::open(&data).await.unwrap().close().await;
    EmbeddedBus::open(&data.join(embedded::FOLDER_NAME), &BusOptions::default(), Clock::system())
        .unwrap()
        .close()
        .await;
    fs::create_dir_all(data.join("scripts/ab")).unwrap();
    fs::write(data.join("scripts/ab/abc.luau"), "source").unwrap();
    fs::write(data.join(keys::FILE_NAME), "{}").unwrap();
    home
}

#[actix::test]
async fn a_copy_has_every_part_and_becomes_a_folder_again() {
    let home = folder().await;
    let (data, copy, again) = (home.path().join("data"), home.path().join("copy"), home.path().join("again"));
    let manifest = take(&data, &copy, &Clock::system()).await.unwrap();
    assert_eq!((manifest.journal_files, manifest.sources), (1, 1));
    // An empty folder is as good as none.
    fs::create_dir(&again).unwrap();
    assert_eq!(restore(&copy, &again).await.unwrap(), manifest);
    for part in [FILE_NAME, keys::FILE_NAME, "scripts/ab/abc.luau", "bus/00000000000000000001.log"] {
        assert!(again.join(part).exists(), "{part}");
    }
    assert!(!again.join(MANIFEST).exists());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3, "nothing of the work is left");
}

#[actix::test]
async fn nothing_is_overwritten_and_half_a_copy_is_none() {
    let home = folder().await;
    let (data, copy) = (home.path().join("data"), home.path().join("copy"));
    assert!(matches!(take(&home.path().join("nowhere"), &copy, &Clock::system()).await, Err(Error::NoFolder(_))));
    take(&data, &copy, &Clock::system()).await.unwrap();
    assert!(matches!(take(&data, &copy, &Clock::system()).await, Err(Error::Taken(_))));
    assert!(matches!(restore(&copy, &data).await, Err(Error::Taken(_))));
    assert!(matches!(restore(&data, &home.path().join("new")).await, Err(Error::NoBackup(_))));
    fs::remove_file(copy.join(MANIFEST)).unwrap();
    assert!(matches!(restore(&copy, &home.path().join("new")).await, Err(Error::NoBackup(_))));
}

#[actix::test]
async fn a_copy_that_was_damaged_since_is_refused() {
    let home = folder().await;
    let (data, copy) = (home.path().join("data"), home.path().join("copy"));
    take(&data, &copy, &Clock::system()).await.unwrap();
    let tables = fs::read(copy.join(FILE_NAME)).unwrap();
    let mut damaged = tables.clone();
    // The head of the schema's page says how much of it is in use.
    damaged[100..108].fill(0xff);
    fs::write(copy.join(FILE_NAME), damaged).unwrap();
    let new = home.path().join("new");
    assert!(matches!(restore(&copy, &new).await, Err(Error::Store(_))));
    assert!(!new.exists());
    fs::write(copy.join(FILE_NAME), tables).unwrap();
    fs::write(copy.join("bus/00000000000000000001.log"), "not a journal").unwrap();
    assert!(matches!(restore(&copy, &new).await, Err(Error::Bus(_))));
}
