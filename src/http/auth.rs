//! Who is asking: from `Authorization: Bearer` to an identity, before a handler runs.

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::{Problem, State};
use crate::accounts::{Error, Identity, Role, jwt};

/// The user who is asking. A handler that takes one answers 401, with the reason by name, when there is none.
#[derive(Clone, Debug)]
pub struct Caller(pub Identity);

/// An administrator who is asking. A handler that takes one answers 403 to other users.
#[derive(Clone, Debug)]
pub struct Admin(pub Identity);

impl FromRequest for Caller {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move { identify(&request).await.map(Self) }.boxed_local()
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let identity = identify(&request).await?;
            match identity.role {
                Role::Admin => Ok(Self(identity)),
                Role::User => Err(Problem::not_admin()),
            }
        }
        .boxed_local()
    }
}

/// The token of `Authorization: Bearer`, if there is one.
///
/// # Errors
/// 401: there is an `Authorization`, but of another scheme or unreadable.
pub fn bearer(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| Problem::from(Error::Token(jwt::Error::Malformed)))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Problem::unauthenticated()),
    }
}

async fn identify(request: &HttpRequest) -> Result<Identity, Problem> {
    let token = bearer(request)?.ok_or_else(Problem::unauthenticated)?;
    let Some(state) = request.app_data::<web::Data<State>>() else {
        return Err(Problem::internal(&std::io::Error::other("the app has no http::State")));
    };
    state.accounts.verify(token).await.map_err(Problem::of_auth)
}
