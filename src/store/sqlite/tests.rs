//! What only a file has: tables of an older Parlor, and how SQLite reads them.

use sqlx::migrate::Migrator;

use super::*;
use crate::ids::UserId;
use crate::store::Store;
use crate::store::account_events::Change;

#[tokio::test]
async fn events_and_their_numbers_outlive_the_migration_that_frees_their_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = options(&folder.path().join(FILE_NAME)).connect().await.unwrap();
    let old = MIGRATIONS.iter().filter(|migration| migration.version < 4).cloned().collect();
    Migrator::with_migrations(old).run_direct(None, &mut connection, false).await.unwrap();
    for sql in [
        "INSERT INTO account_events (user_id, kind, at) VALUES (7, 'disabled', 1), (8, 'role', 2), (9, 'role', 3)",
        "DELETE FROM account_events WHERE id > 2",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();

    let store = Store::open(folder.path()).await.unwrap();
    let events = store.account_events_after(0, 10).await.unwrap();
    let seen: Vec<_> = events.iter().map(|event| (event.id, event.user_id, event.change)).collect();
    assert_eq!(seen, [(1, UserId(7), Change::Disabled), (2, UserId(8), Change::Role)]);
    assert_eq!(store.last_account_event_id().await.unwrap(), 3, "a number that was given is not given again");
    store.meddle("INSERT INTO account_events (user_id, kind, at) VALUES (9, 'something newer', 4)").await;
    let newer = store.account_events_after(3, 10).await.unwrap();
    assert_eq!(newer.iter().map(|event| (event.id, event.change)).collect::<Vec<_>>(), [(4, Change::Unknown)]);
}
