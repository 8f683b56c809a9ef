//! Another process in the tables: a transaction that nobody else can write beside.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

pub(crate) struct Holder(SqliteConnection);

pub(crate) async fn hold(data: &Path) -> Holder {
    let options = SqliteConnectOptions::new().filename(data.join("parlor.sqlite"));
    let mut connection = options.busy_timeout(Duration::from_secs(30)).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    Holder(connection)
}

impl Holder {
    pub(crate) async fn release(mut self) {
        sqlx::query("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}
