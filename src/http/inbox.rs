//! `GET /inbox`: what was delivered to me, in order.

use std::num::NonZeroU32;

use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::Caller;
use super::page::{self, Page};
use super::problem::resource;
use super::{Problem, State};
use crate::actors::session::view;
use crate::ids::Seq;
use crate::protocol::frames::MessageView;

/// Bytes of bodies behind which a page ends early.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Registers the resource.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/inbox", "GET").route(web::get().to(list)));
}

/// Which part of the inbox.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InboxQuery {
    /// The last `seq` seen; 0, the default, is before the first.
    #[serde(default)]
    #[param(value_type = Option<i64>, minimum = 0)]
    after: i64,
    /// How many; 50 by default, 100 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    limit: Option<NonZeroU32>,
}

/// The messages behind `after`, oldest first. `next` is the `after` of the next page.
#[utoipa::path(get, path = "/api/v1/inbox", tag = "messages", security(("bearer" = [])), params(InboxQuery), responses(
    (status = 200, description = "A page of messages", body = Page<MessageView>),
    (status = 400, description = "`invalid_query`"),
    (status = 401, description = "`token_missing`, `token_expired` …"),
))]
async fn list(
    Caller(identity): Caller,
    state: Data<State>,
    query: Query<InboxQuery>,
) -> Result<Json<Page<MessageView>>, Problem> {
    if query.after < 0 {
        return Err(Problem::bad_query("`after` must be 0 or more").field("after"));
    }
    let limit = page::limit(query.limit);
    let entries = state.store.inbox_after(identity.user_id, Seq(query.after), limit, PAGE_BYTES).await?;
    let head = state.store.head_seq(identity.user_id).await?;
    let next = entries.last().filter(|last| last.seq < head).map(|last| last.seq.to_string());
    Ok(Json(Page { items: entries.iter().map(view).collect(), next }))
}
