//! `/admin/users`: what administrators do with accounts.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Admin;
use super::page::{self, Page};
use super::problem::resource;
use super::user_ref::UserRef;
use super::users::SearchQuery;
use super::{Problem, State};
use crate::accounts::{Role, User};
use crate::config::secret::Secret;
use crate::ids::UserId;

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/admin/users", "GET").route(web::get().to(list)))
        .service(resource("/admin/users/{id}/disable", "POST").route(web::post().to(disable)))
        .service(resource("/admin/users/{id}/enable", "POST").route(web::post().to(enable)))
        .service(resource("/admin/users/{id}/role", "PUT").route(web::put().to(set_role)))
        .service(resource("/admin/users/{id}/password", "PUT").route(web::put().to(set_password)));
}

/// A user, as administrators see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminUser {
    /// The id.
    pub id: UserId,
    /// As typed at registration.
    #[schema(example = "ada")]
    pub username: String,
    /// What they may do.
    pub role: Role,
    /// May not come in.
    pub disabled: bool,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
}

impl From<User> for AdminUser {
    fn from(user: User) -> Self {
        let User { id, username, role, disabled, created_at } = user;
        Self { id, username, role, disabled, created_at }
    }
}

/// The role to give.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RoleBody {
    /// `user` or `admin`.
    pub role: Role,
}

/// The password to set.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PasswordBody {
    /// 8 to 1024 bytes.
    #[schema(value_type = String, format = "password")]
    pub password: Secret,
}

/// All users whose names begin with `search`, disabled ones too, in the order of their names.
#[utoipa::path(get, path = "/api/v1/admin/users", tag = "administration", params(SearchQuery),
    security(("bearer" = [])), responses(
    (status = 200, description = "A page of users", body = Page<AdminUser>),
    (status = 403, description = "`admin_required`"),
))]
async fn list(
    state: Data<State>,
    _admin: Admin,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Page<AdminUser>>, Problem> {
    let after = query.after.as_deref().map(page::read_cursor).transpose()?;
    let administration = state.accounts.administration();
    let found = administration.list(&query.search, after.as_deref(), page::limit(query.limit)).await?;
    let items = found.items.into_iter().map(AdminUser::from).collect();
    Ok(Json(Page { items, next: found.next.as_deref().map(page::cursor) }))
}

/// Keep a user out: no login, no request; every socket of theirs closes.
#[utoipa::path(post, path = "/api/v1/admin/users/{id}/disable", tag = "administration",
    params(("id" = String, Path, description = "A user id, or `me`")), security(("bearer" = [])), responses(
    (status = 200, description = "Disabled, or it was so already", body = AdminUser),
    (status = 403, description = "`admin_required`"),
    (status = 404, description = "`user_not_found`"),
    (status = 409, description = "`last_admin`"),
))]
async fn disable(state: Data<State>, admin: Admin, user: Path<UserRef>) -> Result<Json<AdminUser>, Problem> {
    set_disabled(&state, &admin, *user, true).await
}

/// Let a user in again. They log in anew.
#[utoipa::path(post, path = "/api/v1/admin/users/{id}/enable", tag = "administration",
    params(("id" = String, Path, description = "A user id, or `me`")), security(("bearer" = [])), responses(
    (status = 200, description = "Enabled, or it was so already", body = AdminUser),
    (status = 403, description = "`admin_required`"),
    (status = 404, description = "`user_not_found`"),
))]
async fn enable(state: Data<State>, admin: Admin, user: Path<UserRef>) -> Result<Json<AdminUser>, Problem> {
    set_disabled(&state, &admin, *user, false).await
}

/// Give a user a role; it holds from their next request on.
#[utoipa::path(put, path = "/api/v1/admin/users/{id}/role", tag = "administration", request_body = RoleBody,
    params(("id" = String, Path, description = "A user id, or `me`")), security(("bearer" = [])), responses(
    (status = 200, description = "Given, or it was so already", body = AdminUser),
    (status = 403, description = "`admin_required`"),
    (status = 404, description = "`user_not_found`"),
    (status = 409, description = "`last_admin`"),
))]
async fn set_role(
    state: Data<State>,
    Admin(admin): Admin,
    user: Path<UserRef>,
    Json(RoleBody { role }): Json<RoleBody>,
) -> Result<Json<AdminUser>, Problem> {
    let id = user.resolve(&admin);
    let user = state.accounts.administration().set_role(id, role).await?;
    tracing::info!(admin_id = %admin.user_id, user_id = %id, role = %role, "role given");
    Ok(Json(user.into()))
}

/// Give a user another password. Every login of theirs ends.
#[utoipa::path(put, path = "/api/v1/admin/users/{id}/password", tag = "administration", request_body = PasswordBody,
    params(("id" = String, Path, description = "A user id, or `me`")), security(("bearer" = [])), responses(
    (status = 204, description = "Set"),
    (status = 403, description = "`admin_required`"),
    (status = 404, description = "`user_not_found`"),
    (status = 422, description = "`invalid_password`"),
))]
async fn set_password(
    state: Data<State>,
    Admin(admin): Admin,
    user: Path<UserRef>,
    Json(body): Json<PasswordBody>,
) -> Result<HttpResponse, Problem> {
    let id = user.resolve(&admin);
    state.accounts.administration().set_password(id, &body.password).await?;
    tracing::info!(admin_id = %admin.user_id, user_id = %id, "password set");
    Ok(HttpResponse::NoContent().finish())
}

async fn set_disabled(
    state: &State,
    Admin(admin): &Admin,
    user: UserRef,
    disabled: bool,
) -> Result<Json<AdminUser>, Problem> {
    let id = user.resolve(admin);
    let user = state.accounts.administration().set_disabled(id, disabled).await?;
    tracing::info!(admin_id = %admin.user_id, user_id = %id, disabled, "user disabled or enabled");
    Ok(Json(user.into()))
}
