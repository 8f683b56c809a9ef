//! The HTTP interface under `/api/v1`: one resource, one file.

use actix_cors::Cors;
use actix_web::dev::Service as _;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use actix_web::web::{self, ServiceConfig};

use crate::accounts::Accounts;
use crate::actors::busy::BusyCount;
use crate::clock::Clock;
use crate::script::Scripts;
use crate::store::Store;

pub mod admin;
pub mod auth;
pub mod auto_reply;
pub mod client_address;
pub mod conversations;
pub mod filtered;
pub mod inbox;
pub mod internal;
pub mod login;
pub mod me;
pub mod messages;
pub mod nodes;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod scripts;
pub mod site;
pub mod user_ref;
pub mod users;
pub mod ws;

pub use client_address::TrustedProxies;
pub use problem::Problem;
pub use scripts::ScriptRequests;

/// What the handlers work with; put into the app as `web::Data<State>`.
#[derive(Clone, Debug)]
pub struct State {
    /// Logins and who is asking.
    pub accounts: Accounts,
    /// The tables.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// What looks after scripts.
    pub scripts: Scripts,
    /// How often somebody may upload and try.
    pub script_requests: ScriptRequests,
    /// Whose word about the client's address is taken.
    pub trusted_proxies: TrustedProxies,
}

/// Registers everything under `/api/`, and that what is not there is a problem document too. Needs `web::Data<State>`
/// in the app.
///
/// Sockets and messages need `web::Data<SessionDeps>` besides. `max_message_request` is the largest body of
/// `POST /messages`, in bytes; pages of `allowed_origins` may read their answers; a request counts as `busy`.
pub fn api(
    max_message_request: usize,
    allowed_origins: &[String],
    busy: BusyCount,
) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let cors = cross_origin(allowed_origins);
    move |cfg| register(cfg, max_message_request, cors, busy)
}

fn register(cfg: &mut ServiceConfig, max_message_request: usize, cors: Cors, busy: BusyCount) {
    // Around these resources and not around the whole app: what stands around a socket's request is kept by its
    // connection for as long as it lives.
    let v1 = web::scope("/api/v1")
        .wrap(cors)
        .wrap_fn(move |request, service| {
            let busy = busy.enter();
            let answer = service.call(request);
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        })
        .configure(users::routes)
        .configure(login::routes)
        .configure(me::routes)
        .configure(admin::routes)
        .configure(nodes::routes)
        .configure(scripts::routes)
        .configure(messages::routes(max_message_request))
        .configure(inbox::routes)
        .configure(conversations::routes)
        .configure(filtered::routes)
        .configure(auto_reply::routes(max_message_request))
        .configure(openapi::routes)
        .default_service(web::to(problem::not_found));
    cfg.app_data(problem::json_config())
        .app_data(problem::query_config())
        .app_data(problem::path_config())
        .configure(openapi::ui)
        .configure(ws::routes)
        .configure(site::routes)
        .service(v1)
        .default_service(web::to(problem::not_found));
}

/// Lets pages of these origins use the HTTP interface, as they may open sockets; `*` is every origin. Other pages get
/// their answer and may not read it (the Fetch standard, CORS). No cookies are used, so none are allowed.
fn cross_origin(allowed: &[String]) -> Cors {
    let methods = [Method::GET, Method::POST, Method::PUT];
    let cors = Cors::default()
        .allowed_methods(methods)
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers([LOCATION, RETRY_AFTER])
        .max_age(3600);
    allowed.iter().fold(cors, |cors, origin| match origin.as_str() {
        "*" => cors.allow_any_origin(),
        origin => cors.allowed_origin(origin),
    })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
