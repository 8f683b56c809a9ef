//! What is switched on for whom, read for the stages.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Error, Store};
use crate::automation::{ActiveScript, AutoReply, SwitchedOn};
use crate::ids::UserId;
use crate::script::call::{Direction, Language, SourceHash};

impl Store {
    /// What these users have switched on; those with nothing are left out.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn switched_on(&self, users: &[UserId]) -> Result<HashMap<UserId, Arc<SwitchedOn>>, Error> {
        let mut found: HashMap<UserId, SwitchedOn> = HashMap::new();
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT s.user_id, s.direction, v.version, v.language, v.sha256 FROM scripts s JOIN script_versions v
             ON v.user_id = s.user_id AND v.direction = s.direction AND v.version = s.chosen_version
             WHERE s.active <> 0 AND s.user_id IN ",
        );
        among(&mut query, users);
        for row in query.build().fetch_all(&self.reader).await? {
            let on = found.entry(UserId(row.try_get(0)?)).or_default();
            let direction: &str = row.try_get(1)?;
            let script = ActiveScript {
                version: row.try_get(2)?,
                language: language(row.try_get(3)?)?,
                hash: source_hash(row.try_get(4)?)?,
            };
            match direction.parse() {
                Ok(Direction::Incoming) => on.incoming = Some(script),
                Ok(Direction::Outgoing) => on.outgoing = Some(script),
                Err(error) => return Err(corrupt("direction", error)),
            }
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT user_id, text, repeat_after_seconds FROM auto_replies WHERE enabled <> 0 AND text <> '' AND user_id IN ",
        );
        among(&mut query, users);
        for row in query.build().fetch_all(&self.reader).await? {
            let auto_reply = AutoReply { text: row.try_get(1)?, repeat_after_seconds: row.try_get(2)? };
            found.entry(UserId(row.try_get(0)?)).or_default().auto_reply = Some(auto_reply);
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
    let known = [Language::Luau];
    known.into_iter().find(|language| language.name() == name).ok_or_else(|| corrupt("language", name))
}

/// A hash as the table holds it.
pub(super) fn source_hash(bytes: &[u8]) -> Result<SourceHash, Error> {
    bytes.try_into().map(SourceHash).map_err(|_| corrupt("hash of a source", bytes.len()))
}
