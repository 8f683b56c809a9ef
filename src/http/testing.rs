//! The HTTP interface over a data folder of its own, called without a socket.

use std::net::SocketAddr;

use actix_web::body::to_bytes;
use actix_web::http::{Method, StatusCode, header::HeaderMap};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, web};
use chrono::DateTime;
use serde_json::{Value, json};

use super::{ScriptRequests, State, TrustedProxies, api};
use crate::accounts::{Accounts, Keys, Role};
use crate::actors::busy::BusyCount;
use crate::automation::Automation;
use crate::clock::Clock;
use crate::config::accounts::AccountsOptions;
use crate::config::scripts::ScriptsOptions;
use crate::config::secret::Secret;
use crate::script::Scripts;
use crate::script::pool::Workers;
use crate::script::sources::Sources;
use crate::script::stats::Stats;
use crate::store::testing::{Home, store};

/// The interface, its clock and its folder.
pub(crate) struct TestApi {
    _home: Home,
    pub(crate) state: State,
}

/// An answer. `body` is null where there is none, and a string where it is not JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl TestApi {
    /// With nobody in it.
    pub(crate) async fn new(options: AccountsOptions) -> Self {
        let (home, store) = store().await;
        let clock = Clock::manual(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        let keys = Keys::load_or_create(home.path()).unwrap();
        let accounts = Accounts::new(store.clone(), clock.clone(), keys, &options).unwrap();
        let scripts = Scripts {
            sources: Sources::open(None, home.path()).unwrap(),
            workers: Workers::none("a test without workers"),
            automation: Automation::new(store.clone()),
            stats: Stats::default(),
            options: ScriptsOptions::default(),
            effect_limits: ScriptsOptions::default().effect_limits(1000),
        };
        let trusted_proxies = TrustedProxies::parse(&["10.0.0.0/8"]).unwrap();
        let script_requests = ScriptRequests::new(ScriptsOptions::default().requests_per_minute, &clock);
        let state = State { accounts, store, clock, scripts, script_requests, trusted_proxies };
        Self { _home: home, state }
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        let api = api(1 << 20, &[], BusyCount::default());
        let app = init_service(App::new().app_data(web::Data::new(self.state.clone())).configure(api)).await;
        let request = request.peer_addr(SocketAddr::from(([10, 0, 0, 1], 5000))).to_request();
        let response = call_service(&app, request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body()).await.unwrap_or_default();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| match &bytes[..] {
            [] => Value::Null,
            text => Value::from(String::from_utf8_lossy(text)),
        });
        Answer { status, headers, body }
    }

    /// Sends JSON, as whoever the token speaks for.
    pub(crate) async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = TestRequest::with_uri(&format!("/api/v1{path}")).method(method);
        if let Some(token) = token {
            request = request.insert_header(("Authorization", format!("Bearer {token}")));
        }
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.send(request).await
    }

    /// Registers a user and returns the answer's body.
    pub(crate) async fn register(&self, name: &str) -> Value {
        let body = json!({"username": name, "password": "correct horse"});
        let answer = self.call(Method::POST, "/users", None, Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.body
    }

    /// Makes an administrator and returns their access token.
    pub(crate) async fn admin(&self, name: &str) -> String {
        let password = Secret::new("correct horse");
        self.state.accounts.administration().add(name, &password, Role::Admin).await.unwrap();
        let body = json!({"username": name, "password": "correct horse"});
        let answer = self.call(Method::POST, "/login", None, Some(body)).await;
        answer.body["accessToken"].as_str().unwrap().to_owned()
    }
}

impl Answer {
    /// Checks that it is a problem document of this status and code, and returns it.
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["type"], "about:blank");
        assert!(self.body["title"].is_string() && self.body["detail"].is_string(), "{self:?}");
        self
    }

    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
