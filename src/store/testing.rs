//! A store to test with.

use chrono::{DateTime, Utc};
use tempfile::TempDir;

use super::Store;
use super::users::{NewUser, Role, User};

/// A moment, in seconds after the moment at which the tests begin.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// A store with nothing in it, and its folder, which goes when it is dropped.
pub(crate) async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    (folder, store)
}

/// Makes a user whose password hash is `hash of NAME`.
pub(crate) async fn user(store: &Store, name: &str, role: Role) -> User {
    let hash = format!("hash of {name}");
    let key = name.to_lowercase();
    let new = NewUser { username: name, username_key: &key, password_hash: &hash, role, now: at(0) };
    store.create_user(new).await.unwrap().unwrap()
}
