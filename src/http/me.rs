//! `GET /me`: who I am.

use actix_web::web::{self, Json, ServiceConfig};

use super::auth::Caller;
use super::login::UserBody;
use super::problem::resource;

/// Registers the resource.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/me", "GET").route(web::get().to(me)));
}

/// Whom the access token speaks for, with the role of this moment.
#[utoipa::path(get, path = "/api/v1/me", tag = "accounts", security(("bearer" = [])), responses(
    (status = 200, description = "The caller", body = UserBody),
    (status = 401, description = "`token_missing`, `token_expired`, `login_ended` …"),
))]
async fn me(Caller(identity): Caller) -> Json<UserBody> {
    Json(UserBody { id: identity.user_id, username: identity.username, role: identity.role })
}
