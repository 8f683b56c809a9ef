//! `POST /users/{id}/scripts/{direction}`: a source becomes a version.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{body, check, owner};
use crate::http::auth::Caller;
use crate::http::user_ref::UserRef;
use crate::http::{Problem, State};
use crate::script::call::{Diagnostic, Direction};
use crate::store::scripts::{NewVersion, Uploaded};

/// What was uploaded.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadedBody {
    /// Its number.
    version: u32,
    /// The SHA-256 of the source, in hex.
    sha256: String,
    /// What is odd about it.
    warnings: Vec<Diagnostic>,
}

/// Upload a source as a new version. It does not run before it is activated. A source that does not compile is not kept.
///
/// The same source as the newest version is that version, answered with 200; so an upload may be sent again.
#[utoipa::path(post, path = "/api/v1/users/{id}/scripts/{direction}", tag = "scripts", security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path)),
    request_body(description = "The source, in UTF-8", content(
        (String = "text/x-luau"), (String = "text/x-jolie"))), responses(
        (status = 200, description = "The newest version is this source already", body = UploadedBody),
        (status = 201, description = "Kept; `Location` names it", body = UploadedBody,
            headers(("Location" = String, description = "The version"))),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`"),
        (status = 413, description = "`source_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`script_does_not_compile` with `line`, `column` and `diagnostics`; \
            `script_check_failed`, `source_empty`, `source_not_utf8`"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 501, description = "`language_unavailable`: this server has no interpreter for it"),
        (status = 503, description = "`scripts_unavailable`, `unavailable`, with `Retry-After`"),
    ))]
pub(super) async fn upload(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (user, direction) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let language = body::language(&request)?;
    let _admitted = state.script_requests.admit(identity.user_id)?;
    let source = body::source(payload, state.scripts.options.max_source_bytes).await?;
    let warnings = check(&state, owner, language, direction, &source).await?;
    // First the source, then its version: a version without a source could not be run.
    let hash = state.scripts.sources.put(&source).await?;
    let bytes = u32::try_from(source.len()).unwrap_or(u32::MAX);
    let new = NewVersion { language, hash, bytes, uploaded_by: identity.user_id, now: state.clock.now() };
    let uploaded = state.store.add_script_version(owner, direction, new, state.scripts.options.max_versions).await?;
    let (mut answer, version) = match uploaded {
        Uploaded::New(version) => {
            tracing::info!(user_id = %owner, by = %identity.user_id, %direction, version, "script uploaded");
            (HttpResponse::Created(), version)
        }
        Uploaded::Same(version) => (HttpResponse::Ok(), version),
    };
    let location = format!("/api/v1/users/{owner}/scripts/{direction}/versions/{version}");
    Ok(answer.insert_header((LOCATION, location)).json(UploadedBody { version, sha256: hash.to_string(), warnings }))
}
