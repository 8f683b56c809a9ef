//! `/users/{id}/auto-reply`: the standing auto-reply of a user.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::page::{BackwardsQuery, Page};
use super::problem::{json_config, resource};
use super::scripts::log::LogBody;
use super::user_ref::UserRef;
use super::{Problem, State};
use crate::accounts::Identity;
use crate::actors::session::SessionDeps;
use crate::automation::log::Source;
use crate::ids::UserId;
use crate::store::auto_reply::{AutoReplySettings, DEFAULT_REPEAT_AFTER_SECONDS, MAX_REPEAT_AFTER_SECONDS};

/// Registers the resource; a request may have as many bytes as a message.
pub fn routes(max_bytes: usize) -> impl FnOnce(&mut ServiceConfig) {
    move |cfg| {
        let settings = resource("/users/{id}/auto-reply", "GET, PUT").app_data(json_config().limit(max_bytes));
        cfg.service(settings.route(web::get().to(get)).route(web::put().to(put)))
            .service(resource("/users/{id}/auto-reply/log", "GET").route(web::get().to(log)));
    }
}

/// A standing auto-reply.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AutoReplyBody {
    /// Whether it answers.
    enabled: bool,
    /// What it answers: as long as a message may be. Not empty while it is enabled.
    #[schema(example = "I am away until Monday.")]
    text: String,
    /// Seconds in which the same sender is not answered with this text again; 0: every message is answered.
    #[serde(default = "default_repeat_after")]
    #[schema(minimum = 0, maximum = 2_592_000)]
    repeat_after_seconds: u32,
}

fn default_repeat_after() -> u32 {
    DEFAULT_REPEAT_AFTER_SECONDS
}

impl AutoReplyBody {
    /// What can be kept of it.
    fn check(self, max_message_bytes: usize) -> Result<AutoReplySettings, Problem> {
        let refuse = |field, detail: String| {
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "auto_reply_invalid", detail).field(field))
        };
        let Self { enabled, text, repeat_after_seconds } = self;
        if text.len() > max_message_bytes {
            let bytes = text.len();
            return refuse("text", format!("`text` has {bytes} bytes, at most {max_message_bytes} are allowed"));
        }
        if enabled && text.trim().is_empty() {
            return refuse("text", "`text` is empty: an auto-reply that is enabled needs one".to_owned());
        }
        if repeat_after_seconds > MAX_REPEAT_AFTER_SECONDS {
            let detail = format!("`repeatAfterSeconds` must be from 0 to {MAX_REPEAT_AFTER_SECONDS}");
            return refuse("repeatAfterSeconds", detail);
        }
        Ok(AutoReplySettings { enabled, text, repeat_after_seconds })
    }
}

impl From<AutoReplySettings> for AutoReplyBody {
    fn from(settings: AutoReplySettings) -> Self {
        let AutoReplySettings { enabled, text, repeat_after_seconds } = settings;
        Self { enabled, text, repeat_after_seconds }
    }
}

/// The settings; the defaults before any were made.
#[utoipa::path(get, path = "/api/v1/users/{id}/auto-reply", tag = "automation", security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`")), responses(
        (status = 200, description = "The settings", body = AutoReplyBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`: there is none, or the caller may not know"),
    ))]
async fn get(
    Caller(identity): Caller,
    state: Data<State>,
    user: Path<UserRef>,
) -> Result<Json<AutoReplyBody>, Problem> {
    let user = existing(&state, *user, &identity).await?;
    Ok(Json(state.store.auto_reply(user).await?.into()))
}

/// Replace the settings. They hold for every message that is answered from now on.
#[utoipa::path(put, path = "/api/v1/users/{id}/auto-reply", tag = "automation", security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`")), request_body = AutoReplyBody, responses(
        (status = 200, description = "The settings", body = AutoReplyBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`: there is none, or the caller may not know"),
        (status = 422, description = "`auto_reply_invalid`: `field` says what is wrong"),
        (status = 503, description = "`unavailable`, with `Retry-After`"),
    ))]
async fn put(
    Caller(identity): Caller,
    state: Data<State>,
    deps: Data<SessionDeps>,
    user: Path<UserRef>,
    body: Json<AutoReplyBody>,
) -> Result<Json<AutoReplyBody>, Problem> {
    let user = existing(&state, *user, &identity).await?;
    let settings = body.into_inner().check(deps.options.max_message_bytes)?;
    // In a task of its own: a client that hangs up after the commit has still changed what is remembered.
    let kept = actix_web::rt::spawn(async move {
        state.store.set_auto_reply(user, &settings, state.clock.now()).await?;
        state.scripts.automation.changed(user);
        Ok::<_, crate::store::Error>(settings)
    });
    let settings = kept.await.map_err(|error| Problem::internal(&error))??;
    tracing::info!(user_id = %user, enabled = settings.enabled, "auto-reply set");
    Ok(Json(settings.into()))
}

/// Who was answered, and who was not and why, newest first. `next` is the `before` of the next page.
#[utoipa::path(get, path = "/api/v1/users/{id}/auto-reply/log", tag = "automation", security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), BackwardsQuery), responses(
        (status = 200, description = "A page of entries: `answered`, `not_answered`", body = Page<LogBody>),
        (status = 400, description = "`invalid_query`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`: there is none, or the caller may not know"),
    ))]
async fn log(
    Caller(identity): Caller,
    state: Data<State>,
    user: Path<UserRef>,
    query: Query<BackwardsQuery>,
) -> Result<Json<Page<LogBody>>, Problem> {
    let user = existing(&state, *user, &identity).await?;
    let (before, limit) = query.read()?;
    let keep = state.scripts.options.log_entries;
    let found = state.store.automation_log(user, Source::AutoReply, before, limit + 1, keep).await?;
    Ok(Json(Page::of(found, limit, |last| last.id.to_string(), LogBody::from)))
}

/// The user whom the path names, if the caller may.
async fn existing(state: &State, user: UserRef, caller: &Identity) -> Result<UserId, Problem> {
    let user = user.owned(caller)?;
    if user != caller.user_id && state.store.user(user).await?.is_none() {
        return Err(Problem::missing("user_not_found", "there is no such user"));
    }
    Ok(user)
}
