//! What is switched on for whom, read for the stages.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Error, Store};
use crate::automation::{ActiveScript, AutoReply, SwitchedOn};
use crate::ids::UserId;
use crate::script::call::{Direction, Language, SourceHash};

impl Store {
    /// What these users have switched on; those with nothing are left out. A row that cannot be read counts as nothing,
    /// and is logged: messages must not wait for somebody to mend it.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn switched_on(&self, users: &[UserId]) -> Result<HashMap<UserId, Arc<SwitchedOn>>, Error> {
        let mut found: HashMap<UserId, SwitchedOn> = HashMap::new();
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT s.user_id, s.direction, v.version, v.language, v.sha256 FROM scripts s JOIN script_versions v
             ON v.user_id = s.user_id AND v.direction = s.direction AND v.version = s.chosen_version
             WHERE s.active <> 0 AND s.user_id IN ",
        );
        among(&mut query, users);
        for row in query.build().fetch_all(&self.reader).await? {
            let user = UserId(row.try_get(0)?);
            let on = found.entry(user).or_default();
            match active_script(&row) {
                Ok((Direction::Incoming, script)) => on.incoming = Some(script),
                Ok((Direction::Outgoing, script)) => on.outgoing = Some(script),
                Err(error) => tracing::error!(%error, user_id = %user, "a script is not run: its row cannot be read"),
            }
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT user_id, text, repeat_after_seconds FROM auto_replies WHERE enabled <> 0 AND text <> '' AND user_id IN ",
        );
        among(&mut query, users);
        for row in query.build().fetch_all(&self.reader).await? {
            let user = UserId(row.try_get(0)?);
            match (row.try_get(1), row.try_get(2)) {
                (Ok(text), Ok(repeat_after_seconds)) => {
                    found.entry(user).or_default().auto_reply = Some(AutoReply { text, repeat_after_seconds });
                }
                (Err(error), _) | (_, Err(error)) => {
                    tracing::error!(%error, user_id = %user, "an auto-reply is not given: its row cannot be read");
                }
            }
        }
        Ok(found.into_iter().map(|(user, on)| (user, Arc::new(on))).collect())
    }

    /// Switches a script off because of how it behaved, unless another version is active by now. `false`: it was not
    /// the active one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn switch_script_off(
        &self,
        user: UserId,
        direction: Direction,
        version: u32,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let sql = "UPDATE scripts SET active = 0, switched_off = $4, changed_at = $5
                   WHERE user_id = $1 AND direction = $2 AND chosen_version = $3 AND active <> 0";
        let query = sqlx::query(sql).bind(user.0).bind(direction.name()).bind(version);
        let done = query.bind(reason).bind(now.timestamp_millis()).execute(&self.writer).await?;
        Ok(done.rows_affected() == 1)
    }
}

fn active_script(row: &SqliteRow) -> Result<(Direction, ActiveScript), Error> {
    let direction: &str = row.try_get(1)?;
    let direction = direction.parse().map_err(|error| corrupt("direction", error))?;
    let (version, language, hash) = (row.try_get(2)?, language(row.try_get(3)?)?, source_hash(row.try_get(4)?)?);
    Ok((direction, ActiveScript { version, language, hash }))
}

/// `(1, 2, 3)`, bound.
fn among(query: &mut QueryBuilder<Sqlite>, users: &[UserId]) {
    query.push("(");
    let mut list = query.separated(", ");
    for user in users {
        list.push_bind(user.0);
    }
    query.push(")");
}

fn corrupt(what: &'static str, detail: impl ToString) -> Error {
    Error::Corrupt { what, detail: detail.to_string() }
}

/// A language as the table spells it.
pub(super) fn language(name: &str) -> Result<Language, Error> {
    Language::ALL.into_iter().find(|language| language.name() == name).ok_or_else(|| corrupt("language", name))
}

/// A hash as the table holds it.
pub(super) fn source_hash(bytes: &[u8]) -> Result<SourceHash, Error> {
    bytes.try_into().map(SourceHash).map_err(|_| corrupt("hash of a source", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_nobodys_but_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        for sql in [
            "INSERT INTO script_versions VALUES (1, 'incoming', 1, 'cobol', zeroblob(32), 1, 1, 0)",
            "INSERT INTO script_versions VALUES (2, 'incoming', 1, 'luau', zeroblob(32), 1, 2, 0)",
            "INSERT INTO script_versions VALUES (3, 'incoming', 1, 'luau', zeroblob(31), 1, 3, 0)",
            "INSERT INTO scripts VALUES (1, 'incoming', 1, 1, 1, NULL, 0), (2, 'incoming', 1, 1, 1, NULL, 0), \
             (3, 'incoming', 1, 1, 1, NULL, 0)",
            "INSERT INTO auto_replies VALUES (1, 1, 'away', 60, 0), (2, 1, 'away', -1, 0)",
        ] {
            sqlx::query(sql).execute(&store.writer).await.unwrap();
        }
        let on = store.switched_on(&[UserId(1), UserId(2), UserId(3)]).await.unwrap();
        assert!(on[&UserId(1)].incoming.is_none() && on[&UserId(1)].auto_reply.is_some());
        assert!(on[&UserId(2)].incoming.is_some() && on[&UserId(2)].auto_reply.is_none());
        assert!(on[&UserId(3)].incoming.is_none());
    }
}
