//! What is done at a server, over its HTTP interface.

use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{AtArgs, Script, WhichArgs, report};
use crate::automation::log::Details;
use crate::cli::say;
use crate::client::connection::{Connection, Error, Sent};
use crate::client::sanitize::sanitize;
use crate::script::call::{Diagnostic, Direction};

/// How often a log that is followed is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The largest page of a list.
const PAGE: &str = "100";

/// A script at a server, and who looks after it.
struct Place {
    server: Connection,
    path: String,
    direction: Direction,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Uploaded {
    version: u32,
    #[serde(default)]
    warnings: Vec<Diagnostic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    active_version: Option<u32>,
    chosen_version: Option<u32>,
    last_version: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: u32,
    bytes: u32,
    uploaded_at: DateTime<Utc>,
    sha256: String,
    active: bool,
}

#[derive(Deserialize)]
struct Entry {
    id: i64,
    at: DateTime<Utc>,
    version: Option<u32>,
    verdict: String,
    #[serde(flatten)]
    details: Details,
}

/// Uploads, and activates if that is asked for.
pub(super) async fn push(script: &Script, activate: bool, at: AtArgs) -> anyhow::Result<()> {
    let mut place = Place::enter(at, script.direction).await?;
    let body = Sent::Text(script.language.content_type(), script.source.clone());
    let uploaded: Uploaded = match place.server.post(&place.path, &body).await {
        Ok(uploaded) => uploaded,
        Err(error) => return Err(refused(script, error)),
    };
    report::diagnostics(&script.name, &script.source, &uploaded.warnings)?;
    let version = uploaded.version;
    if activate {
        return place.activate(version).await;
    }
    let direction = script.direction;
    say(&format!(
        "{direction} version {version} is uploaded and not active: parlor script activate {version} --direction {direction}"
    ))
}

/// Activates a version.
pub(super) async fn activate(version: u32, which: WhichArgs) -> anyhow::Result<()> {
    Place::enter(which.at, which.direction).await?.activate(version).await
}

/// Activates the version before the one activated last.
pub(super) async fn rollback(which: WhichArgs) -> anyhow::Result<()> {
    let mut place = Place::enter(which.at, which.direction).await?;
    let Some(chosen) = place.state().await?.chosen_version else {
        bail!("no {} version was ever activated", place.direction);
    };
    let before = chosen.to_string();
    let query = [("before", before.as_str()), ("limit", "1")];
    let found: List<Version> = place.server.get(&format!("{}/versions", place.path), &query).await?;
    match found.items.first() {
        Some(found) => place.activate(found.version).await,
        None => bail!("there is no {} version before {chosen}", place.direction),
    }
}

/// Lets no version run.
pub(super) async fn disable(which: WhichArgs) -> anyhow::Result<()> {
    let mut place = Place::enter(which.at, which.direction).await?;
    let _: State = place.server.post(&format!("{}/disable", place.path), &Sent::Json(json!({}))).await?;
    say(&format!("no {} script runs from the next message on", place.direction))
}

/// Lists all versions, newest first.
pub(super) async fn versions(which: WhichArgs) -> anyhow::Result<()> {
    let mut place = Place::enter(which.at, which.direction).await?;
    let path = format!("{}/versions", place.path);
    say(&format!("{:>8}  {:<16}  {:>8}  {:<12}  STATE", "VERSION", "UPLOADED", "BYTES", "SHA256"))?;
    let mut before: Option<String> = None;
    loop {
        let query = [("limit", PAGE)].into_iter().chain(before.as_deref().map(|before| ("before", before)));
        let page: List<Version> = place.server.get(&path, &query.collect::<Vec<_>>()).await?;
        for Version { version, bytes, uploaded_at, sha256, active } in page.items {
            let (at, state) = (uploaded_at.format("%Y-%m-%d %H:%M"), if active { "active" } else { "" });
            let sha256: String = sanitize(&sha256).chars().take(12).collect();
            say(format!("{version:>8}  {at:<16}  {bytes:>8}  {sha256:<12}  {state}").trim_end())?;
        }
        before = page.next;
        if before.is_none() {
            return Ok(());
        }
    }
}

/// Prints a source as it is.
pub(super) async fn show(version: Option<u32>, which: WhichArgs) -> anyhow::Result<()> {
    let mut place = Place::enter(which.at, which.direction).await?;
    let version = match version {
        Some(version) => version,
        None => {
            let state = place.state().await?;
            state.active_version.unwrap_or(state.last_version)
        }
    };
    let source = place.server.text(&format!("{}/versions/{version}/source", place.path)).await?;
    say(source.strip_suffix('\n').unwrap_or(&source))
}

/// Prints the newest entries of the log, the last one at the end.
pub(super) async fn log(which: WhichArgs, limit: u32, follow: bool) -> anyhow::Result<()> {
    let mut place = Place::enter(which.at, which.direction).await?;
    let path = format!("{}/log", place.path);
    let (mut limit, mut seen) = (limit.to_string(), 0);
    loop {
        let page: List<Entry> = place.server.get(&path, &[("limit", limit.as_str())]).await?;
        for entry in page.items.iter().rev().filter(|entry| entry.id > seen) {
            print(entry)?;
        }
        seen = page.items.first().map_or(seen, |newest| newest.id.max(seen));
        if !follow {
            return Ok(());
        }
        limit = PAGE.to_owned();
        tokio::time::sleep(LOOK).await;
    }
}

fn print(entry: &Entry) -> anyhow::Result<()> {
    let Entry { at, version, verdict, details, .. } = entry;
    let version = version.map_or(String::new(), |version| format!("  v{version}"));
    let line = details.line.map_or(String::new(), |line| format!(", line {line}"));
    let reason = details.reason.as_deref().map_or(String::new(), |reason| format!(" ({}{line})", sanitize(reason)));
    let detail = details.detail.as_deref().map_or(String::new(), |detail| format!(": {}", sanitize(detail)));
    say(&format!("{}{version}  {}{reason}{detail}", at.format("%Y-%m-%d %H:%M:%S"), sanitize(verdict)))?;
    report::replies("replied to", &details.replies)?;
    report::replies("not sent, because the message was an automatic one, to", &details.unanswered)?;
    report::prints(&details.prints, details.prints_cut)
}

impl Place {
    async fn enter(at: AtArgs, direction: Direction) -> anyhow::Result<Self> {
        let url = at.login.url.clone();
        let mut server = Connection::new(&url, at.login.credentials().await?)?;
        server.enter(false).await.with_context(|| format!("cannot log in at {url}"))?;
        let whole = at.user == "me" || at.user.parse::<i64>().is_ok();
        anyhow::ensure!(whole, "--user: must be a user's id, or `me`");
        Ok(Self { server, path: format!("users/{}/scripts/{direction}", at.user), direction })
    }

    async fn state(&mut self) -> anyhow::Result<State> {
        let all = self.path.strip_suffix(&format!("/{}", self.direction)).unwrap_or(&self.path).to_owned();
        let mut both: Value = self.server.get(&all, &[]).await?;
        let of_direction = both[self.direction.name()].take();
        anyhow::ensure!(!of_direction.is_null(), "there never was an {} script", self.direction);
        serde_json::from_value(of_direction).context("the server's answer cannot be read")
    }

    async fn activate(&mut self, version: u32) -> anyhow::Result<()> {
        let body = Sent::Json(json!({ "version": version }));
        let _: State = self.server.post(&format!("{}/activate", self.path), &body).await?;
        say(&format!("{} version {version} runs from the next message on", self.direction))
    }
}

/// What a server says against an upload; with the lines, when it does not compile.
fn refused(script: &Script, error: Error) -> anyhow::Error {
    if let Error::Refused { problem, .. } = &error
        && let Ok(found) = Vec::<Diagnostic>::deserialize(&problem["diagnostics"])
        && report::diagnostics(&script.name, &script.source, &found).is_ok_and(|errors| errors > 0)
    {
        return anyhow::anyhow!("{} does not compile: nothing was uploaded", script.name);
    }
    anyhow::Error::new(error).context(format!("{} was not uploaded", script.name))
}
