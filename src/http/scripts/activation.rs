//! `…/activate` and `…/disable`: which version runs. Rolling back is activating an older one.

use actix_web::http::StatusCode;
use actix_web::rt;
use actix_web::web::{Data, Json, Path};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ScriptBody, owner, unknown_version};
use crate::accounts::Role;
use crate::http::auth::Caller;
use crate::http::user_ref::UserRef;
use crate::http::{Problem, State};
use crate::ids::UserId;
use crate::script::call::Direction;
use crate::store;
use crate::store::scripts::Activated;

/// The version that shall run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateBody {
    /// Its number.
    #[schema(minimum = 1)]
    version: u32,
}

/// Let a version run, from the next message on. An older one: this is how to roll back.
///
/// A version that the server switched off runs again only when an administrator activates it; the owner uploads a
/// corrected one, or activates another.
#[utoipa::path(post, path = "/api/v1/users/{id}/scripts/{direction}/activate", tag = "scripts",
    security(("bearer" = [])), request_body = ActivateBody,
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path)), responses(
        (status = 200, description = "It runs, or did already", body = ScriptBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`, `unknown_version`"),
        (status = 409, description = "`script_switched_off`: the server switched this version off"),
        (status = 503, description = "`unavailable`: its source cannot be read now; with `Retry-After`"),
    ))]
pub(super) async fn activate(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction)>,
    Json(ActivateBody { version }): Json<ActivateBody>,
) -> Result<Json<ScriptBody>, Problem> {
    let (user, direction) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let Some(found) = state.store.script_version(owner, direction, version).await? else {
        return Err(unknown_version(version));
    };
    // Better told now than by every message.
    state.scripts.sources.get(found.hash).await?;
    let (store, pardon, now) = (state.store.clone(), identity.role == Role::Admin, state.clock.now());
    let work = async move { store.activate_script(owner, direction, version, pardon, now).await };
    match change(&state, owner, work).await? {
        Activated::Done(script) => {
            tracing::info!(user_id = %owner, by = %identity.user_id, %direction, version, "script activated");
            Ok(Json(ScriptBody::new(script, state.scripts.stats.of(owner, direction))))
        }
        Activated::NoSuchVersion => Err(unknown_version(version)),
        Activated::SwitchedOff(reason) => {
            let detail = format!(
                "the server switched version {version} off ({reason}): upload a corrected one, activate another, or ask \
                 an administrator"
            );
            Err(Problem::new(StatusCode::CONFLICT, "script_switched_off", detail))
        }
    }
}

/// Let no version run, from the next message on.
#[utoipa::path(post, path = "/api/v1/users/{id}/scripts/{direction}/disable", tag = "scripts",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "A user id, or `me`"), ("direction" = Direction, Path)), responses(
        (status = 200, description = "None runs, or none did", body = ScriptBody),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`user_not_found`, `no_script`"),
    ))]
pub(super) async fn disable(
    Caller(identity): Caller,
    state: Data<State>,
    path: Path<(UserRef, Direction)>,
) -> Result<Json<ScriptBody>, Problem> {
    let (user, direction) = path.into_inner();
    let owner = owner(&state, &identity, user).await?;
    let (store, now) = (state.store.clone(), state.clock.now());
    let work = async move { store.disable_script(owner, direction, now).await };
    let Some(script) = change(&state, owner, work).await? else {
        return Err(Problem::missing("no_script", format!("there never was an {direction} script")));
    };
    tracing::info!(user_id = %owner, by = %identity.user_id, %direction, "script disabled");
    Ok(Json(ScriptBody::new(script, state.scripts.stats.of(owner, direction))))
}

/// Changes what is switched on, and has it read anew before anybody is answered. In a task of its own: a client that
/// hangs up must not leave a change behind that nobody has heard of.
async fn change<T: 'static>(
    state: &State,
    owner: UserId,
    work: impl Future<Output = Result<T, store::Error>> + 'static,
) -> Result<T, Problem> {
    let automation = state.scripts.automation.clone();
    let task = rt::spawn(async move {
        let done = work.await;
        automation.changed(owner);
        done
    });
    Ok(task.await.map_err(|error| Problem::internal(&error))??)
}
