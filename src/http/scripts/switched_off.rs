//! `/admin/scripts/switched-off`: the scripts that the server had to stop.

use std::num::NonZeroU32;

use actix_web::web::{Data, Json, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::auth::Admin;
use crate::http::page::{self, Page};
use crate::http::{Problem, State};
use crate::ids::UserId;
use crate::script::call::Direction;
use crate::store::scripts::{SwitchedOffKey, SwitchedOffScript};

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AfterQuery {
    /// The `next` of the page before.
    after: Option<String>,
    /// How many; 50 by default, 100 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    limit: Option<NonZeroU32>,
}

/// A script that the server switched off.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwitchedOffBody {
    /// Whose.
    user_id: UserId,
    /// Their name.
    username: String,
    /// Which.
    direction: Direction,
    /// The version that was switched off: to let it run again, activate it.
    version: u32,
    /// Why, as `code: words`.
    reason: String,
    /// When.
    switched_off_at: DateTime<Utc>,
}

impl From<SwitchedOffScript> for SwitchedOffBody {
    fn from(found: SwitchedOffScript) -> Self {
        let SwitchedOffScript { user_id, username, direction, version, reason, at } = found;
        Self { user_id, username, direction, version, reason, switched_off_at: at }
    }
}

/// The scripts that the server switched off and nobody has switched on again, the last one first.
#[utoipa::path(get, path = "/api/v1/admin/scripts/switched-off", tag = "administration", security(("bearer" = [])),
    params(AfterQuery), responses(
        (status = 200, description = "A page of scripts", body = Page<SwitchedOffBody>),
        (status = 400, description = "`invalid_query`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 403, description = "`admin_required`"),
    ))]
pub(super) async fn list(
    _admin: Admin,
    state: Data<State>,
    Query(query): Query<AfterQuery>,
) -> Result<Json<Page<SwitchedOffBody>>, Problem> {
    let after = query.after.as_deref().map(read_key).transpose()?;
    let limit = page::limit(query.limit);
    let found = state.store.switched_off_scripts(after, limit + 1).await?;
    Ok(Json(Page::of(found, limit, key, SwitchedOffBody::from)))
}

fn key(last: &SwitchedOffScript) -> String {
    page::cursor(&format!("{} {} {}", last.at.timestamp_millis(), last.user_id, last.direction))
}

fn read_key(cursor: &str) -> Result<SwitchedOffKey, Problem> {
    let text = page::read_cursor(cursor)?;
    let mut parts = text.split(' ');
    let mut next = || parts.next().unwrap_or_default();
    let at = next().parse().ok().and_then(DateTime::from_timestamp_millis);
    let (user, direction) = (next().parse().ok().map(UserId), next().parse().ok());
    let bad = || Problem::bad_query("`after` must be the `next` of the page before").field("after");
    at.zip(user).zip(direction).map(|((at, user), direction)| (at, user, direction)).ok_or_else(bad)
}
