//! Scripts and their versions: which there are, which was chosen, whether it runs.

use chrono::{DateTime, Utc};

use super::account_events::{self, Kind};
use super::automation::{language, source_hash};
use super::connection::Tx;
use super::rows::time;
use super::sql::{Body, Record, query};
use super::{Error, Store};
use crate::ids::UserId;
use crate::script::call::{Direction, Language, SourceHash};

/// One user's script of one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptState {
    /// The last version that was uploaded.
    pub last_version: u32,
    /// The last version that was activated, whether it runs or not.
    pub chosen_version: Option<u32>,
    /// Whether the chosen one runs.
    pub active: bool,
    /// Why the server switched it off, `code: words`; `None`: it did not.
    pub switched_off: Option<String>,
    /// When it was last activated, disabled or switched off; before that, when it was first uploaded.
    pub changed_at: DateTime<Utc>,
}

impl ScriptState {
    /// The version that runs.
    #[must_use]
    pub fn active_version(&self) -> Option<u32> {
        self.chosen_version.filter(|_| self.active)
    }
}

/// A version, without its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptVersion {
    /// 1, 2, 3 … for each user and direction, never given twice.
    pub version: u32,
    /// What it is written in.
    pub language: Language,
    /// Its source's name in the object store.
    pub hash: SourceHash,
    /// Bytes of the source.
    pub bytes: u32,
    /// Who uploaded it: the owner or an administrator.
    pub uploaded_by: UserId,
    /// When.
    pub uploaded_at: DateTime<Utc>,
}

/// A source to be kept as a version.
#[derive(Clone, Copy, Debug)]
pub struct NewVersion {
    /// What it is written in.
    pub language: Language,
    /// Its source's name in the object store, where it lies already.
    pub hash: SourceHash,
    /// Bytes of the source.
    pub bytes: u32,
    /// Who uploads it.
    pub uploaded_by: UserId,
    /// When.
    pub now: DateTime<Utc>,
}

/// What an upload came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// It is this version.
    New(u32),
    /// The newest version, this one, is the same source; nothing was changed.
    Same(u32),
}

/// What an activation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// It runs.
    Done(ScriptState),
    /// There is no such version (any more).
    NoSuchVersion,
    /// The server switched this very version off, for this reason, and nobody said that it may run again.
    SwitchedOff(String),
}

/// A script that the server switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedOffScript {
    /// Whose.
    pub user_id: UserId,
    /// Their name.
    pub username: String,
    /// Which.
    pub direction: Direction,
    /// The version that was switched off.
    pub version: u32,
    /// Why, `code: words`.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Where a page of [`Store::switched_off_scripts`] ends: the next begins behind it.
pub type SwitchedOffKey = (DateTime<Utc>, UserId, Direction);

macro_rules! select_state {
    ($rest:literal) => {
        concat!("SELECT last_version, chosen_version, active, switched_off, changed_at FROM scripts ", $rest)
    };
}

macro_rules! select_versions {
    ($rest:literal) => {
        concat!("SELECT version, language, sha256, bytes, uploaded_by, uploaded_at FROM script_versions ", $rest)
    };
}

impl Store {
    /// A user's script of that direction; `None`: there never was one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn script(&self, user: UserId, direction: Direction) -> Result<Option<ScriptState>, Error> {
        let row = query(select_state!("WHERE user_id = $1 AND direction = $2"));
        let row = row.bind(user).bind(direction.name()).first(self.reader()).await?;
        row.as_ref().map(state).transpose()
    }

    /// Keeps a source as the next version, which is not yet active. Beyond `keep` versions the oldest goes, but never
    /// the chosen one.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn add_script_version(
        &self,
        user: UserId,
        direction: Direction,
        new: NewVersion,
        keep: u32,
    ) -> Result<Uploaded, Error> {
        let mut tx = self.begin().await?;
        // Of two uploads at once, the second compares with what the first has written.
        let script = query(select_state!("WHERE user_id = $1 AND direction = $2"));
        script.bind(user).bind(direction.name()).for_update().first(&mut tx).await?;
        let newest = query(select_versions!("WHERE user_id = $1 AND direction = $2 ORDER BY version DESC LIMIT 1"));
        let newest = newest.bind(user).bind(direction.name()).first(&mut tx).await?;
        if let Some(newest) = newest.as_ref().map(version).transpose()?
            && (newest.hash, newest.language) == (new.hash, new.language)
        {
            return Ok(Uploaded::Same(newest.version));
        }
        let given = query(
            "INSERT INTO scripts (user_id, direction, last_version, active, changed_at) VALUES ($1, $2, 1, FALSE, $3)
             ON CONFLICT (user_id, direction) DO UPDATE SET last_version = scripts.last_version + 1
             RETURNING last_version",
        );
        let given = given.bind(user).bind(direction.name()).bind(new.now).one(&mut tx).await?;
        let given: u32 = given.get(0)?;
        query(
            "INSERT INTO script_versions (user_id, direction, version, language, sha256, bytes, uploaded_by, uploaded_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(user)
        .bind(direction.name())
        .bind(given)
        .bind(new.language.name())
        .bind(&new.hash.0[..])
        .bind(new.bytes)
        .bind(new.uploaded_by)
        .bind(new.now)
        .run(&mut tx)
        .await?;
        forget_oldest(&mut tx, user, direction, keep).await?;
        tx.commit().await?;
        Ok(Uploaded::New(given))
    }

    /// Lets a version run from now on. Whatever switched the script off before is forgotten, but the very version that
    /// was switched off runs again only if `pardon` is given.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn activate_script(
        &self,
        user: UserId,
        direction: Direction,
        version: u32,
        pardon: bool,
        now: DateTime<Utc>,
    ) -> Result<Activated, Error> {
        let mut tx = self.begin_telling().await?;
        let there = query("SELECT 1 FROM script_versions WHERE user_id = $1 AND direction = $2 AND version = $3");
        let there = there.bind(user).bind(direction.name()).bind(version);
        if there.first(&mut tx).await?.is_none() {
            return Ok(Activated::NoSuchVersion);
        }
        let before = query(select_state!("WHERE user_id = $1 AND direction = $2"));
        let before = state(&before.bind(user).bind(direction.name()).for_update().one(&mut tx).await?)?;
        if let Some(reason) = before.switched_off
            && before.chosen_version == Some(version)
            && !pardon
        {
            return Ok(Activated::SwitchedOff(reason));
        }
        let sql = "UPDATE scripts SET chosen_version = $3, active = TRUE, switched_off = NULL, changed_at = $4
                   WHERE user_id = $1 AND direction = $2";
        query(sql).bind(user).bind(direction.name()).bind(version).bind(now).run(&mut tx).await?;
        account_events::append(&mut tx, user, Kind::Automation, None, now).await?;
        self.commit_telling(tx).await?;
        let (chosen_version, changed_at) = (Some(version), time(now.timestamp_millis()));
        Ok(Activated::Done(ScriptState { chosen_version, active: true, switched_off: None, changed_at, ..before }))
    }

    /// Lets no version run. Why the server switched it off, if it did, stays known. `None`: there never was a script.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn disable_script(
        &self,
        user: UserId,
        direction: Direction,
        now: DateTime<Utc>,
    ) -> Result<Option<ScriptState>, Error> {
        let mut tx = self.begin_telling().await?;
        let off = query(
            "UPDATE scripts SET changed_at = CASE WHEN active THEN $3 ELSE changed_at END, active = FALSE
             WHERE user_id = $1 AND direction = $2
             RETURNING last_version, chosen_version, active, switched_off, changed_at",
        );
        let off = off.bind(user).bind(direction.name()).bind(now).first(&mut tx).await?;
        let Some(off) = off else { return Ok(None) };
        account_events::append(&mut tx, user, Kind::Automation, None, now).await?;
        self.commit_telling(tx).await?;
        state(&off).map(Some)
    }

    /// The versions below `before`, newest first.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn script_versions(
        &self,
        user: UserId,
        direction: Direction,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<ScriptVersion>, Error> {
        let rows = query(select_versions!(
            "WHERE user_id = $1 AND direction = $2 AND version < $3 ORDER BY version DESC LIMIT $4"
        ));
        let rows = rows.bind(user).bind(direction.name()).bind(before.map_or(i64::MAX, i64::from));
        let rows = rows.bind(limit).all(self.reader()).await?;
        rows.iter().map(version).collect()
    }

    /// One version.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn script_version(
        &self,
        user: UserId,
        direction: Direction,
        number: u32,
    ) -> Result<Option<ScriptVersion>, Error> {
        let row = query(select_versions!("WHERE user_id = $1 AND direction = $2 AND version = $3"));
        let row = row.bind(user).bind(direction.name()).bind(number).first(self.reader()).await?;
        row.as_ref().map(version).transpose()
    }

    /// The scripts that the server switched off, those behind `after`, the last one first.
    ///
    /// # Errors
    /// [`Error::Sql`], [`Error::Corrupt`].
    pub async fn switched_off_scripts(
        &self,
        after: Option<SwitchedOffKey>,
        limit: u32,
    ) -> Result<Vec<SwitchedOffScript>, Error> {
        let (at, user, direction) =
            after.map_or((i64::MAX, 0, ""), |(at, user, direction)| (at.timestamp_millis(), user.0, direction.name()));
        let rows = query(
            "SELECT s.user_id, u.username, s.direction, s.chosen_version, s.switched_off, s.changed_at
             FROM scripts s JOIN users u ON u.id = s.user_id
             WHERE s.switched_off IS NOT NULL AND s.changed_at <= $1
               AND (s.changed_at < $1 OR s.user_id > $2 OR (s.user_id = $2 AND s.direction > $3))
             ORDER BY s.changed_at DESC, s.user_id, s.direction LIMIT $4",
        )
        .bind(at)
        .bind(user)
        .bind(direction)
        .bind(limit)
        .all(self.reader())
        .await?;
        rows.iter().map(switched_off).collect()
    }
}

/// Takes away the oldest versions beyond `keep`, but never the chosen one.
async fn forget_oldest(tx: &mut Tx, user: UserId, direction: Direction, keep: u32) -> Result<(), Error> {
    let count = query("SELECT count(*) FROM script_versions WHERE user_id = $1 AND direction = $2");
    let count: i64 = count.bind(user).bind(direction.name()).one(&mut *tx).await?.get(0)?;
    // More than one only when the setting was lowered.
    let surplus = count - i64::from(keep);
    if surplus <= 0 {
        return Ok(());
    }
    let sql = "DELETE FROM script_versions WHERE user_id = $1 AND direction = $2 AND version IN (
                 SELECT v.version FROM script_versions v JOIN scripts s ON s.user_id = v.user_id AND s.direction = v.direction
                 WHERE v.user_id = $1 AND v.direction = $2 AND v.version IS DISTINCT FROM s.chosen_version
                 ORDER BY v.version LIMIT $3)";
    query(sql).bind(user).bind(direction.name()).bind(surplus).run(tx).await?;
    Ok(())
}

fn state(row: &Record) -> Result<ScriptState, Error> {
    Ok(ScriptState {
        last_version: row.get(0)?,
        chosen_version: row.get(1)?,
        active: row.get(2)?,
        switched_off: row.get::<Option<Body<'_>>>(3)?.map(|reason| reason.0.to_owned()),
        changed_at: row.get(4)?,
    })
}

fn version(row: &Record) -> Result<ScriptVersion, Error> {
    Ok(ScriptVersion {
        version: row.get(0)?,
        language: language(row.get(1)?)?,
        hash: source_hash(row.get(2)?)?,
        bytes: row.get(3)?,
        uploaded_by: row.get(4)?,
        uploaded_at: row.get(5)?,
    })
}

fn switched_off(row: &Record) -> Result<SwitchedOffScript, Error> {
    let direction: &str = row.get(2)?;
    let corrupt = |error: &str| Error::Corrupt { what: "direction", detail: error.to_owned() };
    Ok(SwitchedOffScript {
        user_id: row.get(0)?,
        username: row.get(1)?,
        direction: direction.parse().map_err(corrupt)?,
        version: row.get(3)?,
        reason: row.get::<Body<'_>>(4)?.0.to_owned(),
        at: row.get(5)?,
    })
}

#[cfg(test)]
mod tests;
