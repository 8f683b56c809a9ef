//! `POST /login`, `POST /token/refresh`, `POST /logout`.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Bytes, Data, Json, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::bearer;
use super::client_address::ClientAddress;
use super::problem::{self, resource};
use super::{Problem, State};
use crate::accounts::{Error, Grant, Role, User};
use crate::config::secret::Secret;
use crate::ids::UserId;

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/login", "POST").route(web::post().to(login)))
        .service(resource("/token/refresh", "POST").route(web::post().to(refresh)))
        .service(resource("/logout", "POST").route(web::post().to(logout)));
}

/// A name and its password.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CredentialsBody {
    /// 1 to 64 letters, digits, `.`, `_`, `-`; case does not make another name.
    #[schema(example = "ada")]
    pub username: String,
    /// 8 to 1024 bytes.
    #[schema(value_type = String, format = "password", example = "correct horse battery staple")]
    pub password: Secret,
}

/// A refresh token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefreshBody {
    /// As the last answer had it.
    #[schema(value_type = String)]
    pub refresh_token: Secret,
}

/// What to end, if not the login of the access token.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogoutBody {
    /// Ends the login of this refresh token: for when the access token is over.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub refresh_token: Option<Secret>,
}

/// A user, as they themselves see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserBody {
    /// The id that messages are addressed to.
    pub id: UserId,
    /// As typed at registration.
    #[schema(example = "ada")]
    pub username: String,
    /// What they may do.
    pub role: Role,
}

/// What a login comes to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantBody {
    /// For `Authorization: Bearer` and for the socket.
    access_token: String,
    /// How long the access token is good for, in seconds.
    #[schema(example = 900)]
    expires_in: u64,
    /// Gets the next of these from `POST /token/refresh`, once.
    refresh_token: String,
    /// Whose login it is.
    user: UserBody,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self { id: user.id, username: user.username, role: user.role }
    }
}

/// The answer to whoever has just logged in; nothing between here and there may keep a copy.
pub(super) fn granted(mut response: HttpResponseBuilder, grant: Grant) -> HttpResponse {
    response.insert_header((CACHE_CONTROL, "no-store")).json(GrantBody {
        access_token: grant.access_token.expose().to_owned(),
        // The token ends at a whole second, and this moment has a fraction.
        expires_in: grant.expires_in.as_secs() + u64::from(grant.expires_in.subsec_nanos() > 0),
        refresh_token: grant.refresh_token.expose().to_owned(),
        user: grant.user.into(),
    })
}

/// Log in.
#[utoipa::path(post, path = "/api/v1/login", tag = "accounts", request_body = CredentialsBody, responses(
    (status = 200, description = "Logged in", body = GrantBody),
    (status = 401, description = "`wrong_credentials`"),
    (status = 403, description = "`account_disabled`"),
    (status = 429, description = "`too_many_attempts`: see `Retry-After`"),
    (status = 503, description = "`busy`: see `Retry-After`"),
))]
async fn login(
    state: Data<State>,
    ClientAddress(from): ClientAddress,
    Json(body): Json<CredentialsBody>,
) -> Result<HttpResponse, Problem> {
    let grant = state.accounts.login(from, &body.username, &body.password).await.map_err(Problem::of_auth)?;
    Ok(granted(HttpResponse::Ok(), grant))
}

/// Exchange a refresh token, once. To present one again ends its login: somebody else has a copy.
#[utoipa::path(post, path = "/api/v1/token/refresh", tag = "accounts", request_body = RefreshBody, responses(
    (status = 200, description = "The next access and refresh token", body = GrantBody),
    (status = 401, description = "`refresh_token_unknown`, `refresh_token_expired`, `refresh_token_reused` or \
     `login_ended`: log in again"),
))]
async fn refresh(state: Data<State>, Json(body): Json<RefreshBody>) -> Result<HttpResponse, Problem> {
    let grant = state.accounts.refresh(&body.refresh_token).await.map_err(Problem::of_auth)?;
    Ok(granted(HttpResponse::Ok(), grant))
}

/// End the login of the access token, of the refresh token in the body, or of both. Its sockets close.
#[utoipa::path(post, path = "/api/v1/logout", tag = "accounts", request_body = Option<LogoutBody>,
    security((), ("bearer" = [])), responses(
    (status = 204, description = "Ended, or it had ended before"),
    (status = 401, description = "No refresh token, and no good access token"),
))]
async fn logout(state: Data<State>, request: HttpRequest, body: Bytes) -> Result<HttpResponse, Problem> {
    // Read by hand: the body may be missing, and then so may its content type.
    let body: LogoutBody = match body.trim_ascii() {
        [] => LogoutBody::default(),
        text => serde_json::from_slice(text).map_err(|error| problem::of_json(&error))?,
    };
    let caller = match bearer(&request)? {
        Some(token) => Some(state.accounts.verify(token).await),
        None => None,
    };
    match (caller, &body.refresh_token) {
        (Some(Ok(caller)), _) => state.accounts.logout(caller.family_id).await?,
        // An access token that is over is what the refresh token is here for.
        (Some(Err(Error::Token(_) | Error::LoginEnded | Error::Disabled)) | None, Some(_)) => {}
        (Some(Err(refused)), _) => return Err(refused.into()),
        (None, None) => return Err(Problem::unauthenticated()),
    }
    if let Some(token) = &body.refresh_token {
        state.accounts.logout_refresh_token(token).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
