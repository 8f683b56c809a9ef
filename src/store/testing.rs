//! A store to test with: in a folder, or, where `PARLOR_TEST_DATABASE` says `postgres`, in a database of a server that
//! the tests of this process share. One test runs the others once more on Postgres.

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::postgres::{Database, Postgres};
use super::Store;
use super::users::{NewUser, Role, User};
use crate::config::database::DatabaseOptions;
use crate::config::secret::Secret;

#[path = "../../tests/it/app/postgres.rs"]
pub(crate) mod postgres;

/// Says on which database the tests run.
const VARIABLE: &str = "PARLOR_TEST_DATABASE";

/// A moment, in seconds after the moment at which the tests begin.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

/// Where a store is. It goes when this is dropped.
pub(crate) struct Home {
    folder: TempDir,
    database: Option<Database>,
}

impl Home {
    async fn new() -> Self {
        let on_postgres = std::env::var_os(VARIABLE).is_some_and(|database| database == "postgres");
        let database = if on_postgres { Some(database().await) } else { None };
        Self { folder: tempfile::tempdir().unwrap(), database }
    }

    /// The same tables once more, as another process has them.
    pub(crate) async fn open(&self) -> Store {
        match &self.database {
            Some(database) => connect(&database.url()).await,
            None => Store::open(self.folder.path()).await.unwrap(),
        }
    }

    /// A folder for whatever else a test keeps.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// A database of the caller's own, with tables that are up to date.
pub(crate) async fn database() -> Database {
    static TEMPLATE: OnceCell<()> = OnceCell::const_new();
    let server = Postgres::shared();
    let prepare = || async {
        server.sql("postgres", "CREATE DATABASE migrated");
        connect(&server.url("migrated")).await.close().await;
    };
    TEMPLATE.get_or_init(prepare).await;
    server.database("migrated")
}

/// A store in that database.
pub(crate) async fn connect(url: &str) -> Store {
    let options = DatabaseOptions { connections: 4, ..DatabaseOptions::default() };
    Store::connect(&Secret::new(url), &options).await.unwrap()
}

/// A store with nothing in it, and where it is.
pub(crate) async fn store() -> (Home, Store) {
    let home = Home::new().await;
    let store = home.open().await;
    (home, store)
}

/// Makes a user whose password hash is `hash of NAME`.
pub(crate) async fn user(store: &Store, name: &str, role: Role) -> User {
    let hash = format!("hash of {name}");
    let key = name.to_lowercase();
    let new = NewUser { username: name, username_key: &key, password_hash: &hash, role, now: at(0) };
    store.create_user(new).await.unwrap().unwrap()
}

impl Store {
    /// Does what no user of a store may.
    pub(crate) async fn meddle(&self, sql: &'static str) -> u64 {
        super::query(sql).run(self.writer()).await.unwrap()
    }
}

/// The tests that have a store, run on SQLite with all others.
#[test]
fn the_tests_that_have_a_store_pass_on_postgres_too() {
    let program = std::env::current_exe().unwrap();
    let mut tests = std::process::Command::new(program);
    tests.args(["store::", "accounts::", "automation::", "http::", "pipeline::auto_reply::", "pipeline::scripted::"]);
    // Not itself again; nor what is about Postgres, or about files, in any case.
    tests.args(["--skip", "store::testing::", "--skip", "store::postgres::", "--skip", "store::sqlite::"]);
    let done = tests.env(VARIABLE, "postgres").output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}\n{}", String::from_utf8_lossy(&done.stderr));
    let of = |line: &str| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok();
    let passed: u32 = said.lines().filter_map(of).sum();
    assert!(passed > 100, "{said}");
}
