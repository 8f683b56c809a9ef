//! `…/versions`: what was uploaded.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, ETAG, EntityTag, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::{Data, Json, Path, Query};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{owner, unknown_version};
use crate::http::auth::Caller;
use crate::http::page::{BackwardsQuery, Page};
use crate::http::user_ref::UserRef;
use crate::http::{Problem, State};
use crate::ids::UserId;
use crate::script::call::{Direction, Language};
use crate::store::scripts::{ScriptState, ScriptVersion};

/// A version, without its source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionBody {
    /// Its number; never given twice.
    version: u32,
    /// What it is written in.
    language: Language,
    /// The SHA-256 of its source, in hex.
    sha256: String,
    /// Bytes of its source.
    bytes: u32,
    /// Who uploaded it: the user, or an administrator.
    uploaded_by: UserId,
    /// When.
    uploaded_at: DateTime<Utc>,
    /// Whether it runs.
    active: bool,
}

impl VersionBody {
    fn new(found: &ScriptVersion, script: Option<&ScriptState>) -> Self {
        let ScriptVersion { version, language, hash, bytes, uploaded_by, uploaded_at } = *found;
        let active = script.and_then(ScriptState::active_version) == Some(version);
        Self { version, language, sha256: hash.to_string(), bytes, uploaded_by, uploaded_at, active }
    }
}

/// The versions that are kept, newest first. `next` is the `before` of the next page.
#[utoipa::path(get, path = "/api/v1/users/{id}/scripts/{direction}/versions", tag = "scripts",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path), BackwardsQuery),
    responses(
        (status = 200, description = "A page of versions", body = Page<VersionBody>),
        (status = 400, description = "`invalid_query`, `invalid_path`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`"),
    ))]
pub(super) async fn list(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction)>,
    query: Query<BackwardsQuery>,
) -> Result<Json<Page<VersionBody>>, Problem> {
    let (user, direction) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let (before, limit) = query.read()?;
    let before = before.map(|before| u32::try_from(before).unwrap_or(u32::MAX));
    let script = state.store.script(owner, direction).await?;
    let found = state.store.script_versions(owner, direction, before, limit + 1).await?;
    let item = |found: ScriptVersion| VersionBody::new(&found, script.as_ref());
    Ok(Json(Page::of(found, limit, |last| last.version.to_string(), item)))
}

/// A version, without its source.
#[utoipa::path(get, path = "/api/v1/users/{id}/scripts/{direction}/versions/{version}", tag = "scripts",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path),
        ("version" = u32, Path, description = "Its number")), responses(
        (status = 200, description = "The version", body = VersionBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`, `unknown_version`"),
    ))]
pub(super) async fn one(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction, u32)>,
) -> Result<Json<VersionBody>, Problem> {
    let (user, direction, version) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let found = state.store.script_version(owner, direction, version).await?;
    let found = found.ok_or_else(|| unknown_version(version))?;
    Ok(Json(VersionBody::new(&found, state.store.script(owner, direction).await?.as_ref())))
}

/// The source of a version, as it was uploaded.
#[utoipa::path(get, path = "/api/v1/users/{id}/scripts/{direction}/versions/{version}/source", tag = "scripts",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path),
        ("version" = u32, Path, description = "Its number")), responses(
        (status = 200, description = "The source", body = String, content_type = "text/x-luau"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`, `unknown_version`"),
        (status = 503, description = "`unavailable`, with `Retry-After`"),
    ))]
pub(super) async fn source(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction, u32)>,
) -> Result<HttpResponse, Problem> {
    let (user, direction, version) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let found = state.store.script_version(owner, direction, version).await?;
    let found = found.ok_or_else(|| unknown_version(version))?;
    let source = state.scripts.sources.get(found.hash).await?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, format!("{}; charset=utf-8", found.language.content_type())))
        .insert_header((ETAG, EntityTag::new_strong(found.hash.to_string())))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(source.to_string()))
}
