//! What cannot be opened says why; tables of a newer version are good as long as they only gained.

use crate::config::database::DatabaseOptions;
use crate::config::secret::Secret;
use crate::ids::UserId;
use crate::store::migrations::{State, Tables};
use crate::store::testing::postgres::Postgres;
use crate::store::testing::{connect, database, user};
use crate::store::users::Role;
use crate::store::{Error, Store};

async fn refusal(url: &str) -> String {
    let error = open(url).await.unwrap_err();
    assert!(matches!(error, Error::Schema(_)), "{error:?}");
    error.to_string()
}

async fn open(url: &str) -> Result<Store, Error> {
    let options = DatabaseOptions { acquire_seconds: 1, ..DatabaseOptions::default() };
    Store::connect(&Secret::new(url), &options).await
}

#[track_caller]
fn says(words: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(words.contains(wanted), "no {wanted:?} in: {words}");
    }
}

#[actix::test]
async fn who_is_not_let_in_is_told_why_and_no_password_is_told() {
    let server = Postgres::shared();
    server.sql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'");
    server.admit("host all locked 127.0.0.1/32 scram-sha-256");
    let with = |user: &str, database: &str| format!("postgres://{user}@127.0.0.1:{}/{database}", server.port());
    let wrong = refusal(&with("locked:wrong", "postgres")).await;
    says(&wrong, &["127.0.0.1", "\"locked\"", "password"]);
    assert!(!wrong.contains("wrong"), "{wrong}");
    says(&refusal(&with("nobody", "postgres")).await, &["\"nobody\"", "does not let"]);
    says(&refusal(&with("postgres", "nowhere")).await, &["no database \"nowhere\"", "CREATE DATABASE"]);
    let bare = server.database("template1");
    says(&refusal(&bare.url().replace("postgres@", "locked:right@")).await, &["\"locked\"", "owner"]);
    says(&refusal(&(server.url("postgres") + "?sslmode=require")).await, &["TLS", "sslmode"]);
    says(&refusal("mysql://x:hunter2@y/z").await, &["database_url", "postgres://"]);
    let unreadable = refusal("postgres://x:hunter2@y:port/z").await;
    says(&unreadable, &["database_url"]);
    assert!(!unreadable.contains("hunter2"), "{unreadable}");
}

#[actix::test]
async fn a_server_that_is_not_there_is_waited_for_so_long_and_may_come() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = open(&format!("postgres://postgres@{free}/x")).await.unwrap_err();
    says(&error.to_string(), &["cannot be reached", &free.to_string(), "is it running"]);
    assert!(error.is_passing());
    // It takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = open(&format!("postgres://postgres@{}/x", silent.local_addr().unwrap())).await.unwrap_err();
    says(&error.to_string(), &["cannot be reached"]);
    assert!(error.is_passing());
}

#[actix::test]
async fn tables_that_a_newer_version_added_to_are_used_and_those_that_lost_something_are_not() {
    let database = database().await;
    database.sql(
        "ALTER TABLE users ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue';
         ALTER TABLE messages ADD COLUMN mood BIGINT; CREATE TABLE moods (id BIGINT PRIMARY KEY);
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'the future', TRUE, '\\x00', 1)",
    );
    let store = connect(&database.url()).await;
    let ada = user(&store, "ada", Role::User).await;
    assert_eq!(store.user(ada.id).await.unwrap(), Some(ada));
    store.meddle("INSERT INTO account_events (user_id, kind, at) VALUES (1, 'something newer', 0)").await;
    assert_eq!(store.account_events_after(0, 9).await.unwrap().len(), 1);
    store.close().await;
    let url = Secret::new(database.url());
    let steps = Tables::Database(&url).steps().await.unwrap();
    assert_eq!(steps.last().map(|step| (step.version, step.state)), Some((9999, State::Unknown)));

    let newest = steps[steps.len() - 2].version;
    database.sql(&format!("UPDATE compatibility SET oldest = {newest}"));
    connect(&database.url()).await.close().await;
    database.sql(&format!("UPDATE compatibility SET oldest = {}", newest + 1));
    says(&refusal(&database.url()).await, &["newer Parlor", "9999", "nothing was changed"]);
}

#[actix::test]
async fn what_was_applied_under_a_known_number_must_be_what_is_known() {
    let database = database().await;
    database.sql("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2");
    says(&refusal(&database.url()).await, &["migration 2", "nothing was changed"]);
    database.sql("UPDATE _sqlx_migrations SET version = 0 WHERE version = 2");
    says(&refusal(&database.url()).await, &["newer Parlor", "migration 0"]);
}

#[actix::test]
async fn a_node_that_may_not_migrate_waits_for_who_may() {
    let empty = Postgres::shared().database("template1");
    let url = Secret::new(empty.url());
    let options = DatabaseOptions { migrate_at_start: false, ..DatabaseOptions::default() };
    let error = Store::connect(&url, &options).await.unwrap_err();
    says(&error.to_string(), &["migration 1", "parlor migrate apply"]);
    assert_eq!(empty.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    Tables::Database(&url).open().await.unwrap().close().await;
    Store::connect(&url, &options).await.unwrap().close().await;
}

#[actix::test]
async fn nodes_that_start_at_once_on_an_empty_database_migrate_it_once() {
    let empty = Postgres::shared().database("template1");
    let url = empty.url();
    let stores = futures_util::future::join_all((0..6).map(|_| connect(&url))).await;
    let counts = "SELECT count(*) = count(DISTINCT version) FROM _sqlx_migrations";
    assert_eq!(empty.sql(counts), "t");
    for store in &stores {
        assert_eq!(store.user(UserId(1)).await.unwrap(), None);
        store.close().await;
    }
}
