//! What is switched on for whom, read for the stages.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::account_events::{self, Kind};
use super::sql::{Body, Record, query};
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
        let rows = query(
            "SELECT s.user_id, s.direction, v.version, v.language, v.sha256 FROM scripts s JOIN script_versions v
             ON v.user_id = s.user_id AND v.direction = s.direction AND v.version = s.chosen_version
             WHERE s.active AND s.user_id IN (@)",
        );
        for row in rows.among(users).all(self.reader()).await? {
            let user = row.get(0)?;
            let on = found.entry(user).or_default();
            match active_script(&row) {
                Ok((Direction::Incoming, script)) => on.incoming = Some(script),
                Ok((Direction::Outgoing, script)) => on.outgoing = Some(script),
                Err(error) => tracing::error!(%error, user_id = %user, "a script is not run: its row cannot be read"),
            }
        }
        let rows = query(
            "SELECT user_id, text, repeat_after_seconds FROM auto_replies WHERE enabled AND text <> '' AND user_id IN (@)",
        );
        for row in rows.among(users).all(self.reader()).await? {
            let user = row.get(0)?;
            match (row.get::<Body<'_>>(1), row.get(2)) {
                (Ok(text), Ok(repeat_after_seconds)) => {
                    let text = text.0.to_owned();
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
        let mut tx = self.begin_telling().await?;
        let done = query(
            "UPDATE scripts SET active = FALSE, switched_off = $4, changed_at = $5
             WHERE user_id = $1 AND direction = $2 AND chosen_version = $3 AND active",
        );
        let done = done.bind(user).bind(direction.name()).bind(version).bind(Body(reason)).bind(now);
        if done.run(&mut tx).await? == 0 {
            return Ok(false);
        }
        account_events::append(&mut tx, user, Kind::Automation, None, now).await?;
        self.commit_telling(tx).await?;
        Ok(true)
    }
}

fn active_script(row: &Record) -> Result<(Direction, ActiveScript), Error> {
    let direction: &str = row.get(1)?;
    let direction = direction.parse().map_err(|error| corrupt("direction", error))?;
    let (version, language, hash) = (row.get(2)?, language(row.get(3)?)?, source_hash(row.get(4)?)?);
    Ok((direction, ActiveScript { version, language, hash }))
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
    use crate::store::testing::store;

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_nobodys_but_its_owners() {
        let (_home, store) = store().await;
        let version = "INSERT INTO script_versions (user_id, direction, version, language, sha256, bytes, uploaded_by, \
                       uploaded_at) VALUES ($1, 'incoming', 1, $2, $3, 1, 1, 0)";
        for (user, language, hash) in
            [(1_i64, "cobol", &[0_u8; 32][..]), (2, "luau", &[0; 32][..]), (3, "luau", &[0; 31][..])]
        {
            query(version).bind(user).bind(language).bind(hash).run(store.writer()).await.unwrap();
        }
        for sql in [
            "INSERT INTO scripts (user_id, direction, last_version, chosen_version, active, changed_at) \
             VALUES (1, 'incoming', 1, 1, TRUE, 0), (2, 'incoming', 1, 1, TRUE, 0), (3, 'incoming', 1, 1, TRUE, 0)",
            "INSERT INTO auto_replies (user_id, enabled, text, repeat_after_seconds, changed_at) \
             VALUES (1, TRUE, 'away', 60, 0), (2, TRUE, 'away', -1, 0)",
        ] {
            query(sql).run(store.writer()).await.unwrap();
        }
        let on = store.switched_on(&[UserId(1), UserId(2), UserId(3)]).await.unwrap();
        assert!(on[&UserId(1)].incoming.is_none() && on[&UserId(1)].auto_reply.is_some());
        assert!(on[&UserId(2)].incoming.is_some() && on[&UserId(2)].auto_reply.is_none());
        assert!(on[&UserId(3)].incoming.is_none());
    }
}
