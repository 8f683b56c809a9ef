//! `GET /ws`: the upgrade. Who comes in, from where, resuming behind which message.

use std::sync::atomic::Ordering;

use actix::Actor as _;
use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use actix_web::http::{StatusCode, Uri};
use actix_web::web::{self, Data, Query, ServiceConfig};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse};
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::auth::bearer;
use super::problem::resource;
use super::{Problem, State};
use crate::accounts;
use crate::actors::outbox::{Outbox, monotonic};
use crate::actors::session::{FrameLimit, InboundStream, SessionActor, SessionDeps};
use crate::ids::{Seq, SessionId};
use crate::protocol::SUBPROTOCOL;
use crate::protocol::close::Close;
use crate::protocol::session::Who;

/// Registers the resource.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/ws", "GET").route(web::get().to(upgrade)));
}

/// Where to resume.
#[derive(Debug, Deserialize)]
struct WsQuery {
    after: Option<i64>,
}

async fn upgrade(
    request: HttpRequest,
    body: web::Payload,
    query: Query<WsQuery>,
    state: Data<State>,
    deps: Data<SessionDeps>,
) -> Result<HttpResponse, Problem> {
    check_origin(request.headers(), &deps.options.allowed_origins)?;
    if deps.draining.load(Ordering::Acquire) {
        return Err(Problem::stopping());
    }
    // A browser cannot see why an upgrade was refused, but it can see a close code: who brings the token as a
    // subprotocol is let in and closed with 4401.
    let (token, by_header) = match bearer(&request)? {
        Some(token) => (token.to_owned(), true),
        None => (subprotocol_token(request.headers()).ok_or_else(Problem::unauthenticated)?, false),
    };
    let identity = match state.accounts.verify(&token).await {
        Ok(identity) => Ok(identity),
        Err(error) => {
            let close = match &error {
                accounts::Error::Token(_) | accounts::Error::LoginEnded => Some(Close::Token),
                accounts::Error::Disabled => Some(Close::Disabled),
                _ => None,
            };
            let problem = Problem::of_auth(error);
            Err(close.filter(|_| !by_header).ok_or(problem)?)
        }
    };
    let max_frame = deps.options.max_frame_bytes();
    let mut limited = Payload::Stream { payload: FrameLimit::new(body.into_inner(), max_frame).boxed_local() };
    let body = web::Payload::from_request(&request, &mut limited).await.map_err(|error| Problem::internal(&error))?;
    let (response, session, stream) = actix_ws::handle_with_protocols(&request, body, &[SUBPROTOCOL])
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "not_a_websocket", error.to_string()))?;
    // Its channel is not used, see `actors::outbox`.
    drop(session);
    let (head, replaced) = response.into_parts();
    let (outbox, outgoing) = Outbox::new(replaced, deps.busy.enter());
    match identity {
        Ok(identity) => {
            let who = Who {
                user_id: identity.user_id,
                session_id: SessionId::fresh(),
                token_expires_at: identity.expires_at,
            };
            let stream = InboundStream::new(stream, max_frame);
            let after = query.after.map(Seq);
            SessionActor::new(deps.into_inner(), who, identity.family_id, after, outbox, stream).start();
        }
        Err(close) => outbox.close(close, true, monotonic()),
    }
    Ok(head.set_body(BoxBody::new(outgoing)))
}

/// The token that a browser brings: `new WebSocket(url, ["parlor.v1", token])`.
fn subprotocol_token(headers: &HeaderMap) -> Option<String> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    offered.find(|name| !name.is_empty() && *name != SUBPROTOCOL).map(str::to_owned)
}

/// A page of another origin must not use its visitor's way in (RFC 6455, section 10.2). Programs send no `Origin`.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let text = origin.to_str().unwrap_or_default();
    let own = text.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if allowed.iter().any(|allowed| allowed == text || allowed == "*") || (own.is_some() && own.as_deref() == host) {
        return Ok(());
    }
    Err(Problem::foreign_origin(text))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_our_own_pages_and_allowed_ones_come_in() {
        let allowed = ["https://chat.example".to_owned()];
        for (origin, fine) in [
            ("http://parlor.test:8080", true),
            ("https://chat.example", true),
            ("http://chat.example", false),
            ("http://parlor.test", false),
            ("http://parlor.test:8080.evil.example", false),
            ("null", false),
        ] {
            let headers = headers(&[(ORIGIN, origin), (HOST, "parlor.test:8080")]);
            assert_eq!(check_origin(&headers, &allowed).is_ok(), fine, "{origin}");
        }
        assert!(check_origin(&headers(&[(HOST, "parlor.test")]), &[]).is_ok(), "programs send no Origin");
    }

    #[test]
    fn the_token_is_the_subprotocol_that_is_not_ours() {
        let offered = headers(&[(SEC_WEBSOCKET_PROTOCOL, "parlor.v1, abc.def.ghi")]);
        assert_eq!(subprotocol_token(&offered).as_deref(), Some("abc.def.ghi"));
        assert_eq!(subprotocol_token(&headers(&[(SEC_WEBSOCKET_PROTOCOL, "parlor.v1")])), None);
    }
}
