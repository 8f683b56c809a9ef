//! `POST /users`: make an account. `GET /users`: whom one can write to.

use std::num::NonZeroU32;

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::client_address::ClientAddress;
use super::login::{CredentialsBody, GrantBody, granted};
use super::page::{self, Page};
use super::problem::resource;
use super::{Problem, State};
use crate::accounts::{User, username};
use crate::ids::UserId;
use crate::store::users::UserQuery;

/// The most ids that one request may ask the names of.
const MAX_IDS: usize = page::MAX_LIMIT as usize;

/// Registers the resource.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/users", "GET, POST").route(web::get().to(search)).route(web::post().to(register)));
}

/// A user, as others see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicUser {
    /// The id that messages are addressed to.
    pub id: UserId,
    /// As typed at registration.
    #[schema(example = "ada")]
    pub username: String,
}

impl From<User> for PublicUser {
    fn from(user: User) -> Self {
        Self { id: user.id, username: user.username }
    }
}

/// Which users to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// What the name begins with, in any case. Without it, everybody.
    #[serde(default)]
    #[param(required = false)]
    pub search: String,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// How many; 50 by default, 100 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub limit: Option<NonZeroU32>,
}

/// Users by id, instead of by name.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IdsQuery {
    /// Up to 100 ids with commas between: exactly these users, whether they can still be written to or not. `search`,
    /// `after` and `limit` are not looked at then.
    #[param(example = "1,2,3")]
    pub ids: Option<String>,
}

/// Make an account, and log in.
#[utoipa::path(post, path = "/api/v1/users", tag = "accounts", request_body = CredentialsBody, responses(
    (status = 201, description = "Registered and logged in", body = GrantBody),
    (status = 403, description = "`registration_closed`"),
    (status = 409, description = "`username_taken`"),
    (status = 422, description = "`invalid_username` or `invalid_password`; `field` says which"),
    (status = 429, description = "`too_many_attempts`: see `Retry-After`"),
    (status = 503, description = "`busy`: see `Retry-After`"),
))]
async fn register(
    state: Data<State>,
    ClientAddress(from): ClientAddress,
    Json(body): Json<CredentialsBody>,
) -> Result<HttpResponse, Problem> {
    let grant = state.accounts.register(from, &body.username, &body.password).await.map_err(Problem::of_auth)?;
    Ok(granted(HttpResponse::Created(), grant))
}

/// Users whose names begin with `search`, in the order of their names; or those of some ids.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(SearchQuery, IdsQuery), security(("bearer" = [])),
    responses(
    (status = 200, description = "A page of users", body = Page<PublicUser>),
    (status = 400, description = "`invalid_query`"),
    (status = 401, description = "No good access token"),
))]
async fn search(
    state: Data<State>,
    _caller: Caller,
    Query(query): Query<SearchQuery>,
    Query(IdsQuery { ids }): Query<IdsQuery>,
) -> Result<Json<Page<PublicUser>>, Problem> {
    if let Some(ids) = ids {
        let users = state.store.users(&parse_ids(&ids)?).await?;
        return Ok(Json(Page { items: users.into_iter().map(PublicUser::from).collect(), next: None }));
    }
    let after = query.after.as_deref().map(page::read_cursor).transpose()?;
    let found = state
        .store
        .list_users(UserQuery {
            prefix: &username::fold(&query.search),
            after: after.as_deref(),
            with_disabled: false,
            limit: page::limit(query.limit),
        })
        .await?;
    let items = found.items.into_iter().map(PublicUser::from).collect();
    Ok(Json(Page { items, next: found.next.as_deref().map(page::cursor) }))
}

fn parse_ids(text: &str) -> Result<Vec<UserId>, Problem> {
    let bad = || Problem::bad_query(format!("`ids` must be 1 to {MAX_IDS} numbers with commas between")).field("ids");
    let ids: Vec<UserId> =
        text.split(',').map(|id| id.trim().parse().map(UserId)).collect::<Result<_, _>>().map_err(|_| bad())?;
    if ids.len() > MAX_IDS { Err(bad()) } else { Ok(ids) }
}
