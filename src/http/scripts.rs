//! `/users/{id}/scripts`: everything by which scripts are looked after. Its parts stand in `src/http/scripts/`.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chrono::{DateTime, Utc};
use quick_cache::sync::Cache;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::resource;
use super::user_ref::UserRef;
use super::{Problem, State};
use crate::accounts::Identity;
use crate::accounts::limits::{Limit, MAX_KEYS};
use crate::clock::Clock;
use crate::config::accounts::Allowance;
use crate::ids::UserId;
use crate::script::call::{Diagnostic, Direction, Failure, FailureKind, Language, Severity};
use crate::script::standing::Standing;
use crate::script::stats::ScriptStats;
use crate::store::scripts::ScriptState;

pub mod activation;
mod body;
pub mod log;
pub mod offered;
pub mod switched_off;
pub mod trial;
pub mod upload;
pub mod versions;

/// When to come back when no worker could be had.
const WORKERS_BACK: Duration = Duration::from_secs(2);
/// When to come back when another upload or try of one's own is still under way.
const SOON: Duration = Duration::from_secs(1);

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    let of = |rest: &str| format!("/users/{{id}}/scripts/{{direction}}{rest}");
    cfg.service(resource("/users/{id}/scripts", "GET").route(web::get().to(overview)))
        .service(resource(&of(""), "POST").route(web::post().to(upload::upload)))
        .service(resource(&of("/activate"), "POST").route(web::post().to(activation::activate)))
        .service(resource(&of("/disable"), "POST").route(web::post().to(activation::disable)))
        .service(resource(&of("/versions"), "GET").route(web::get().to(versions::list)))
        .service(resource(&of("/versions/{version}"), "GET").route(web::get().to(versions::one)))
        .service(resource(&of("/versions/{version}/source"), "GET").route(web::get().to(versions::source)))
        .service(resource(&of("/try"), "POST").route(web::post().to(trial::try_out)))
        .service(resource(&of("/log"), "GET").route(web::get().to(log::list)))
        .service(resource("/scripts/languages", "GET").route(web::get().to(offered::languages)))
        .service(resource("/scripts/templates", "GET").route(web::get().to(offered::templates)))
        .service(resource("/admin/scripts/switched-off", "GET").route(web::get().to(switched_off::list)));
}

/// One script of a user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScriptBody {
    /// The version that runs; null: none does.
    active_version: Option<u32>,
    /// The version last activated, whether it runs or not; null: none ever was.
    chosen_version: Option<u32>,
    /// The version last uploaded.
    last_version: u32,
    /// Why the server switched it off, as `code: words`; null: it did not.
    #[schema(example = "over_budget: more than 3000 ms of processor time in 60 s")]
    switched_off: Option<String>,
    /// When it was last activated, disabled or switched off.
    changed_at: DateTime<Utc>,
    /// What it has done since this node started.
    stats: ScriptStats,
}

impl ScriptBody {
    fn new(state: ScriptState, stats: ScriptStats) -> Self {
        let active_version = state.active_version();
        let ScriptState { last_version, chosen_version, switched_off, changed_at, .. } = state;
        Self { active_version, chosen_version, last_version, switched_off, changed_at, stats }
    }
}

/// Both scripts of a user; null where there never was one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptsBody {
    /// On messages that others send to them.
    incoming: Option<ScriptBody>,
    /// On messages that they send.
    outgoing: Option<ScriptBody>,
}

/// A user's scripts.
#[utoipa::path(get, path = "/api/v1/users/{id}/scripts", tag = "scripts", security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`")), responses(
        (status = 200, description = "Both; null where there never was one", body = ScriptsBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`: nor to anybody but the user and administrators"),
    ))]
async fn overview(
    Caller(identity): Caller,
    state: Data<State>,
    user: Path<UserRef>,
) -> Result<Json<ScriptsBody>, Problem> {
    let owner = owner(&state, &identity, *user).await?;
    let of = async |direction| {
        let found = state.store.script(owner, direction).await?;
        Ok::<_, Problem>(found.map(|found| ScriptBody::new(found, state.scripts.stats.of(owner, direction))))
    };
    Ok(Json(ScriptsBody { incoming: of(Direction::Incoming).await?, outgoing: of(Direction::Outgoing).await? }))
}

/// Whose scripts a path means: the caller's, or for an administrator those of anybody there is.
async fn owner(state: &State, caller: &Identity, user: UserRef) -> Result<UserId, Problem> {
    let owner = user.owned(caller)?;
    if owner != caller.user_id && state.store.user(owner).await?.is_none() {
        return Err(Problem::missing("user_not_found", "there is no such user"));
    }
    Ok(owner)
}

/// What is odd about a source that compiles.
async fn check(
    state: &State,
    owner: UserId,
    language: Language,
    direction: Direction,
    source: &str,
) -> Result<Vec<Diagnostic>, Problem> {
    available(state, language)?;
    let found = state.scripts.workers.check(owner, language, direction, source).await;
    let found = found.map_err(|failure| unchecked(&failure))?;
    let Some(first) = found.iter().find(|found| found.severity == Severity::Error) else { return Ok(found) };
    let (line, column) = (first.line, first.column);
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "script_does_not_compile", first.message.clone());
    Err(problem.at(line, column).diagnostics(found))
}

/// Whether this server can run scripts in that language at all. Not whether its workers are well: that may pass.
fn available(state: &State, language: Language) -> Result<(), Problem> {
    match state.scripts.workers.lacks(language) {
        Some(why) if language != Language::Luau => {
            Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "language_unavailable", why))
        }
        _ => Ok(()),
    }
}

fn unchecked(failure: &Failure) -> Problem {
    match failure.kind {
        FailureKind::Unavailable | FailureKind::Overloaded => unavailable(failure),
        _ => {
            let detail = format!("it could not be found out whether the script compiles: {failure}");
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "script_check_failed", detail)
        }
    }
}

fn unavailable(failure: &Failure) -> Problem {
    let detail = format!("no script can be run or checked now: {failure}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "scripts_unavailable", detail).retry_after(WORKERS_BACK)
}

fn unknown_version(version: u32) -> Problem {
    Problem::missing("unknown_version", format!("there is no version {version}, or no longer"))
}

/// Users of whose tries is remembered what they used.
const TRIERS: usize = 10_000;

/// How often somebody may upload and try: so many a minute, and one at a time, so that nobody holds up the worker that
/// all share for this. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ScriptRequests {
    rate: Arc<Limit<UserId>>,
    /// Who has one under way; each is there for as long as its request.
    busy: Arc<Mutex<HashSet<UserId>>>,
    /// How tries have behaved: as with what scripts do to messages, but for itself.
    tries: Arc<Cache<UserId, Standing>>,
}

/// An upload or a try that is under way, until this is dropped.
struct Admitted {
    user: UserId,
    busy: Arc<Mutex<HashSet<UserId>>>,
    tries: Arc<Cache<UserId, Standing>>,
}

impl ScriptRequests {
    /// A limit that counts by `clock`.
    #[must_use]
    pub fn new(per_minute: u32, clock: &Clock) -> Self {
        let (attempts, minute) = (NonZeroU32::new(per_minute), NonZeroU32::new(60));
        let allowance = Allowance::new(attempts.unwrap_or(NonZeroU32::MIN), minute.unwrap_or(NonZeroU32::MIN));
        Self {
            rate: Arc::new(Limit::new(allowance, clock, MAX_KEYS)),
            busy: Arc::default(),
            tries: Arc::new(Cache::new(TRIERS)),
        }
    }

    fn admit(&self, user: UserId) -> Result<Admitted, Problem> {
        let refuse = |detail: String| Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
        if !lock(&self.busy).insert(user) {
            return Err(refuse("another upload or try of yours is under way".to_owned()).retry_after(SOON));
        }
        let admitted = Admitted { user, busy: self.busy.clone(), tries: self.tries.clone() };
        self.rate.count(&user).map_err(|limited| {
            refuse(format!("too many uploads and tries: {limited}")).retry_after(limited.retry_after)
        })?;
        Ok(admitted)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.busy).remove(&self.user);
    }
}

fn lock(busy: &Mutex<HashSet<UserId>>) -> MutexGuard<'_, HashSet<UserId>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
