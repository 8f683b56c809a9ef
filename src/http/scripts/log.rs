//! `…/log`: what a script did and why, for its owner.

use actix_web::web::{Data, Json, Path, Query};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::owner;
use crate::automation::log::Details;
use crate::http::auth::Caller;
use crate::http::page::{BackwardsQuery, Page};
use crate::http::user_ref::UserRef;
use crate::http::{Problem, State};
use crate::ids::MessageUid;
use crate::script::call::Direction;
use crate::store::automation_log::Logged;

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogBody {
    /// Its number: later entries have higher ones.
    id: i64,
    /// When.
    at: DateTime<Utc>,
    /// Which version of the script; null: it is about none.
    version: Option<u32>,
    /// Over which message; null: it is not about one.
    message_uid: Option<MessageUid>,
    /// `forward`, `drop`, `edited`, `failed`; `switched_off`; `left_out`: too much happened to log all of it.
    #[schema(example = "forward")]
    verdict: String,
    /// What else is to be said.
    #[serde(flatten)]
    details: Details,
}

impl From<Logged> for LogBody {
    fn from(logged: Logged) -> Self {
        let Logged { id, at, version, message_uid, verdict, details } = logged;
        Self { id, at, version, message_uid, verdict, details }
    }
}

/// What the script did, newest first, for others than its owner without what was printed and written: that may quote
/// messages. Runs in which nothing remarkable happened are logged only at first. `next` is the
/// `before` of the next page.
#[utoipa::path(get, path = "/api/v1/users/{id}/scripts/{direction}/log", tag = "scripts", security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path), BackwardsQuery),
    responses(
        (status = 200, description = "A page of entries", body = Page<LogBody>),
        (status = 400, description = "`invalid_query`, `invalid_path`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`"),
    ))]
pub(super) async fn list(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction)>,
    query: Query<BackwardsQuery>,
) -> Result<Json<Page<LogBody>>, Problem> {
    let (user, direction) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let (before, limit) = query.read()?;
    let keep = state.scripts.options.log_entries;
    let mut found = state.store.automation_log(owner, direction.into(), before, limit + 1, keep).await?;
    if owner != identity.user_id {
        found.iter_mut().for_each(|logged| logged.details.without_its_words(&logged.verdict));
    }
    Ok(Json(Page::of(found, limit, |last| last.id.to_string(), LogBody::from)))
}
