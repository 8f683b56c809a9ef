//! What automation did, for its owner: written a few entries at a time, read page by page.

use chrono::{DateTime, Utc};

use super::connection::Tx;
use super::rows::Values;
use super::sql::{Query, Record, query};
use super::{Error, Store};
use crate::automation::log::{Details, LogEntry, Source};
use crate::ids::{MessageUid, UserId};

/// An entry as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its number: later entries have higher ones.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Which version of the script; `None` for the auto-reply.
    pub version: Option<u32>,
    /// Over which message, if it is about one.
    pub message_uid: Option<MessageUid>,
    /// What it came to.
    pub verdict: String,
    /// The rest.
    pub details: Details,
}

static INSERT: Values =
    Values::new("INSERT INTO automation_log (user_id, source, at, version, message_uid, verdict, entry)", 7, "");

impl Store {
    /// Writes these entries in one transaction, and takes from each of the logs in `trim` what is beyond the `keep` newest.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`] when an entry cannot be written as JSON; nothing is written then.
    pub async fn write_automation_log(
        &self,
        entries: &[LogEntry],
        trim: &[(UserId, Source)],
        keep: u32,
    ) -> Result<(), Error> {
        let unwritable = |error: serde_json::Error| Error::Corrupt { what: "log entry", detail: error.to_string() };
        let json = |entry: &LogEntry| serde_json::to_string(&entry.details).map_err(unwritable);
        let entries = entries.iter().map(|entry| Ok((entry, json(entry)?))).collect::<Result<Vec<_>, Error>>()?;
        let mut tx = self.begin().await?;
        for (sql, rows) in INSERT.of(self.dialect(), &entries) {
            let mut insert = Query::new(sql);
            for (entry, json) in rows {
                insert = insert
                    .bind(entry.user_id)
                    .bind(entry.source.name())
                    .bind(entry.at)
                    .bind(entry.version)
                    .bind(entry.message_uid)
                    .bind(entry.verdict)
                    .bind(json.as_str());
            }
            insert.run(&mut tx).await?;
        }
        for (user, source) in trim {
            forget_old(&mut tx, *user, *source, keep).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The entries below `before`, newest first, of the `keep` newest: what is older may still lie there for a while.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn automation_log(
        &self,
        user: UserId,
        source: Source,
        before: Option<i64>,
        limit: u32,
        keep: u32,
    ) -> Result<Vec<Logged>, Error> {
        let rows = query(
            "SELECT id, at, version, message_uid, verdict, entry FROM automation_log
             WHERE user_id = $1 AND source = $2 AND id < $3 AND id > coalesce((SELECT id FROM automation_log
               WHERE user_id = $1 AND source = $2 ORDER BY id DESC LIMIT 1 OFFSET $4), 0)
             ORDER BY id DESC LIMIT $5",
        )
        .bind(user)
        .bind(source.name())
        .bind(before.unwrap_or(i64::MAX))
        .bind(keep)
        .bind(limit)
        .all(self.reader())
        .await?;
        rows.iter().map(logged).collect()
    }
}

async fn forget_old(tx: &mut Tx, user: UserId, source: Source, keep: u32) -> Result<(), Error> {
    let sql = "DELETE FROM automation_log WHERE user_id = $1 AND source = $2 AND id <= (SELECT id FROM automation_log
                 WHERE user_id = $1 AND source = $2 ORDER BY id DESC LIMIT 1 OFFSET $3)";
    query(sql).bind(user).bind(source.name()).bind(keep).run(tx).await?;
    Ok(())
}

fn logged(row: &Record) -> Result<Logged, Error> {
    let unreadable = |error: serde_json::Error| Error::Corrupt { what: "log entry", detail: error.to_string() };
    Ok(Logged {
        id: row.get(0)?,
        at: row.get(1)?,
        version: row.get(2)?,
        message_uid: row.get(3)?,
        verdict: row.get(4)?,
        details: serde_json::from_str(row.get(5)?).map_err(unreadable)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::call::Reply;
    use crate::store::testing::{at, store};

    const ADA: UserId = UserId(1);

    fn entry(n: i64, source: Source) -> LogEntry {
        let details = Details {
            prints: vec![format!("line {n}\0")],
            replies: vec![Reply { to: UserId(2), message_body: "é".into() }],
            cpu_micros: Some(5),
            ..Details::default()
        };
        let (version, message_uid) = (Some(3), Some(MessageUid::from_client(ADA, &n.to_string())));
        LogEntry { user_id: ADA, source, at: at(n), version, message_uid, verdict: "forward", details }
    }

    async fn times(store: &Store, source: Source, before: Option<i64>, limit: u32, keep: u32) -> Vec<i64> {
        let page = store.automation_log(ADA, source, before, limit, keep).await.unwrap();
        page.iter().map(|found| (found.at - at(0)).num_seconds()).collect()
    }

    #[tokio::test]
    async fn entries_come_back_whole_newest_first_and_only_ones_own() {
        let (_home, store) = store().await;
        let entries: Vec<LogEntry> = (0..100).map(|n| entry(n, Source::Incoming)).collect();
        store.write_automation_log(&entries, &[], 200).await.unwrap();
        let page = store.automation_log(ADA, Source::Incoming, None, 2, 200).await.unwrap();
        assert_eq!((page.len(), &page[0].details), (2, &entries[99].details));
        assert_eq!((page[0].at, page[0].version, page[0].message_uid), (at(99), Some(3), entries[99].message_uid));
        assert_eq!(times(&store, Source::Incoming, Some(page[1].id), 3, 200).await, [97, 96, 95]);
        assert_eq!(times(&store, Source::Outgoing, None, 9, 200).await, [0; 0]);
        assert!(store.automation_log(UserId(2), Source::Incoming, None, 9, 200).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn so_many_are_kept_of_each_source_and_never_more_are_shown() {
        let (_home, store) = store().await;
        let entries: Vec<LogEntry> = (0..10).map(|n| entry(n, Source::Incoming)).collect();
        store.write_automation_log(&entries, &[], 10).await.unwrap();
        store.write_automation_log(&[entry(0, Source::AutoReply)], &[(ADA, Source::Incoming)], 10).await.unwrap();
        assert_eq!(times(&store, Source::Incoming, None, 99, 10).await.len(), 10);
        assert_eq!(
            times(&store, Source::Incoming, None, 99, 9).await,
            [9, 8, 7, 6, 5, 4, 3, 2, 1],
            "the rest lies there"
        );
        store.write_automation_log(&[], &[(ADA, Source::Incoming)], 9).await.unwrap();
        assert_eq!(times(&store, Source::Incoming, None, 99, 99).await.len(), 9, "and now it does not");
        assert_eq!(times(&store, Source::AutoReply, None, 99, 9).await.len(), 1, "each source has its own bound");
    }
}
