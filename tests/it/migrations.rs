//! Migrations: immutable once released; `parlor migrate` plans, applies and lists them, on both databases.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use futures_util::future::join_all;
use sha2::{Digest as _, Sha256};

use crate::app::postgres::Postgres;
use crate::app::{Finished, finish, parlor};

/// The files of `migrations/sqlite` and the SHA-256 of each. A line here is never changed: a change of the tables is a new
/// file, and a new line.
const SQLITE: &[(&str, &str)] = &[
    ("0001_accounts.sql", "afa02d0a8112f3412a9255ac7f669fc38df9c353ec7b8ced94b5fdb907707c6f"),
    ("0002_messages.sql", "83318f9c952a5bd9264ede883443d41d31bdb2e26fd8ce1945a681c3de3de1ad"),
    ("0003_automation.sql", "bd23bdd0568d629709b97d336142a7e049b87208cb8c52d43e34912bb760e3c4"),
    ("0004_many_nodes.sql", "c1598d089762eb6f3b735f3934b6dd20787c4343d94f9563f9d6bd42e7126bc3"),
];
/// The same of `migrations/postgres`.
const POSTGRES: &[(&str, &str)] = &[
    ("0001_accounts.sql", "cf930d23722d3b03d05300ad198be31d6f8c7c48e6b52b379c37da309284ffdd"),
    ("0002_messages.sql", "70cadc724d5905166c48e2d4130979f9fedfc8fe7b10eee6cb4ecb91641fb62a"),
    ("0003_automation.sql", "928c3de975b0a78424f485d475d19ad83c6b2c6b5a273ffa4134f8d72a557f89"),
    ("0004_many_nodes.sql", "25c27e80826f3ed1fcc9b5728e94329fcf9875866d503a5ecde646f55159ed46"),
];

#[test]
fn released_migrations_are_as_they_were_and_every_file_is_listed() {
    for (name, released) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let found: BTreeMap<String, String> = files
            .map(|file| {
                let digest = Sha256::digest(std::fs::read(file.path()).unwrap());
                let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                (file.file_name().into_string().unwrap(), hex)
            })
            .collect();
        let released = released.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned()));
        assert_eq!(found, released.collect(), "{name}: make a new migration instead of changing one");
    }
    let names = |list: &'static [(&str, &str)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(SQLITE), names(POSTGRES), "both are numbered alike");
}

/// `parlor` with these words, on tables that `place` names.
async fn run(words: &str, place: impl Fn(&mut Command), input: &str) -> Finished {
    let mut command = parlor();
    command.args(words.split(' '));
    place(&mut command);
    finish(command, input).await
}

#[track_caller]
fn says(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "no {wanted:?} in: {text}");
    }
}

/// All that `parlor migrate` does, on tables that nobody has made yet; `spoil` changes what was noted of the second.
async fn goes_from_nothing_to_up_to_date(place: impl Fn(&mut Command) + Copy, folder: &str, spoil: impl AsyncFnOnce()) {
    let planned = run("migrate plan", place, "").await;
    assert_eq!(planned.code, Some(0), "{}", planned.err);
    says(
        &planned.out,
        &[&format!("-- migrations/{folder}/0002_messages.sql"), "CREATE TABLE inbox", "-- 4 to be applied"],
    );
    let listed = run("migrate status", place, "").await;
    assert_eq!(listed.out.matches(" pending\n").count(), 4, "a plan changes nothing: {}", listed.out);

    // Four at once.
    let applied = join_all((0..4).map(|_| run("migrate apply", place, ""))).await;
    for applied in applied {
        assert_eq!(applied.code, Some(0), "{}", applied.err);
        says(&applied.out, &["0001 accounts\n", "0004 many nodes\n", "up to date"]);
    }
    says(&run("migrate plan", place, "").await.out, &["nothing is to be applied"]);
    let listed = run("migrate status", place, "").await;
    assert_eq!(listed.out.matches(" applied\n").count(), 4, "{}", listed.out);
    assert_eq!(run("migrate", place, "").await.code, Some(0), "as before: apply");

    let added = run("user add ada --password-stdin --role admin", place, "correct horse\n").await;
    assert_eq!(added.code, Some(0), "{}", added.err);
    says(&run("user list", place, "").await.out, &["ada", "admin"]);

    spoil().await;
    for (words, wanted) in [("migrate plan", "0002"), ("migrate apply", "migration 2"), ("user list", "migration 2")] {
        let refused = run(words, place, "").await;
        assert_eq!(refused.code, Some(1), "{words}: {}", refused.out);
        says(&refused.err, &[wanted]);
    }
    says(&run("migrate status", place, "").await.out, &["0002 messages", "changed since it was applied"]);
}

#[tokio::test]
async fn a_data_folder_is_planned_migrated_and_listed() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let place = |command: &mut Command| {
        command.arg("--data").arg(&folder);
    };
    let spoil = async || {
        use sqlx::{ConnectOptions as _, Connection as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("parlor.sqlite"));
        let mut connection = options.connect().await.unwrap();
        let sql = "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2";
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    };
    goes_from_nothing_to_up_to_date(place, "sqlite", spoil).await;
}

#[tokio::test]
async fn a_database_is_planned_migrated_and_listed_by_a_variable_a_flag_or_a_file() {
    let database = Postgres::shared().database("template1");
    let url = database.url();
    let by_variable = |command: &mut Command| {
        command.env("PARLOR_DATABASE_URL", &url);
    };
    let spoil = async || {
        database.sql("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2");
    };
    goes_from_nothing_to_up_to_date(by_variable, "postgres", spoil).await;

    let by_flag = |command: &mut Command| {
        command.args(["--database-url", &url]);
    };
    says(&run("migrate status", by_flag, "").await.out, &["0001 accounts", "applied"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{url}\n")).unwrap();
    let by_file = |command: &mut Command| {
        command.env("PARLOR_DATABASE_URL_FILE", file.path());
    };
    says(&run("migrate status", by_file, "").await.out, &["0001 accounts", "applied"]);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_without_the_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = |command: &mut Command| {
        command.env("PARLOR_DATABASE_URL", format!("postgres://ada:hunter2@{free}/chat"));
    };
    for words in ["migrate", "migrate status", "user list"] {
        let refused = run(words, nowhere, "").await;
        assert_eq!(refused.code, Some(1));
        says(&refused.err, &["cannot be reached", &free.to_string()]);
        assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    }
}

/// Locks of this database's inbox.
const LOCKS: &str = "FROM pg_locks JOIN pg_database ON database = pg_database.oid
    WHERE datname = current_database() AND relation = 'inbox'::regclass";

/// A migration that waits so long for its locks, beside somebody who has a table, and does something more when the migration waits
/// for it: what the migration said of that.
async fn beside(more: &str, lock_timeout: &str) -> String {
    let database = Postgres::shared().database("template1");
    let url = database.url();
    let next = tempfile::tempdir().unwrap();
    let place = |command: &mut Command| {
        command.env("PARLOR_DATABASE_URL", &url);
        command.env("PARLOR_TEST_MIGRATIONS", next.path());
    };
    assert_eq!(run("migrate", place, "").await.code, Some(0));
    let sql = format!(
        "SET LOCAL lock_timeout = '{lock_timeout}';
         ALTER TABLE conversations ADD COLUMN title TEXT;
         ALTER TABLE inbox ADD COLUMN starred BOOLEAN;"
    );
    std::fs::write(next.path().join("0005_next.sql"), sql).unwrap();

    // Whoever looks first finds the circle, and is broken off: the migration looks once, when the holder has had time to close it.
    database.sql(&format!("ALTER DATABASE {} SET deadlock_timeout = '3s'", database.name()));
    let name = database.name().to_owned();
    let holds = format!(
        "SET deadlock_timeout = '1min';
         BEGIN;
         LOCK TABLE inbox;
         DO $$ BEGIN
           WHILE NOT EXISTS (SELECT {LOCKS} AND NOT granted) LOOP PERFORM pg_sleep(0.02); END LOOP;
         END $$;
         {more};
         COMMIT;"
    );
    let holder = tokio::task::spawn_blocking(move || Postgres::shared().sql(&name, &holds));
    while database.sql(&format!("SELECT count(*) {LOCKS} AND granted")) == "0" {
        assert!(!holder.is_finished(), "the inbox is held until a migration waits for it");
    }
    let applied = run("migrate apply", place, "").await;
    assert_eq!(applied.code, Some(0), "{}", applied.err);
    says(&applied.out, &["0005 next\n"]);
    holder.await.unwrap();
    let starred = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'starred'";
    assert_eq!(database.sql(starred), "1");
    applied.err
}

#[tokio::test]
async fn a_migration_gives_way_to_who_works_on_the_tables_and_is_tried_again() {
    says(&beside("LOCK TABLE conversations", "1min").await, &["gave way", "deadlock detected"]);
    says(&beside("SELECT pg_sleep(1)", "100ms").await, &["gave way", "lock timeout"]);
}
