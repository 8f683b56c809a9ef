//! What went wrong, as RFC 9457 problem documents: the one place that gives errors their status and stable `code`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::{StatusCode, header};
use actix_web::web::{JsonConfig, PathConfig, QueryConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, Result, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::accounts::{self, password, refresh};
use crate::intake::Rejection;
use crate::protocol::frames::MAX_CLIENT_MESSAGE_ID_BYTES;
use crate::script::call::Diagnostic;
use crate::script::sources;
use crate::store;

/// The media type of problem documents.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// The largest JSON body that is read, in bytes, unless a resource has a `JsonConfig` of its own.
pub const MAX_JSON_BYTES: usize = 64 * 1024;

/// When to come back to a node that stops or cannot write just now.
const RESTART: Duration = Duration::from_secs(2);

/// An error as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {detail}")]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    field: Option<&'static str>,
    place: Option<(u32, u32)>,
    retry_after: Option<Duration>,
    challenge: Option<Challenge>,
    allow: Option<&'static str>,
    diagnostics: Option<Arc<[Diagnostic]>>,
}

/// What `WWW-Authenticate` says (RFC 6750, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Challenge {
    /// Nothing was presented, or not a token.
    Asked,
    /// A token was presented and refused.
    InvalidToken,
}

/// A problem document as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document {
    /// Always `about:blank`: `code` says which problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Conflict")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 409)]
    status: u16,
    /// What happened this time, for people.
    #[schema(example = "the username is taken")]
    detail: Cow<'static, str>,
    /// Which problem it is, for programs; never changes.
    #[schema(example = "username_taken")]
    code: &'static str,
    /// The field of the request that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    /// The line of the body that is to blame, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    /// The column of the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    /// All that is wrong with a script, and what is odd about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Diagnostic>>)]
    diagnostics: Option<Arc<[Diagnostic]>>,
}

impl Problem {
    /// A problem with a status, a stable code in `snake_case`, and a sentence for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let (field, place, retry_after, challenge, allow) = (None, None, None, None, None);
        let diagnostics = None;
        Self { status, code, detail: detail.into(), field, place, retry_after, challenge, allow, diagnostics }
    }

    /// Names the field of the request that is to blame.
    #[must_use]
    pub fn field(self, name: &'static str) -> Self {
        Self { field: Some(name), ..self }
    }

    /// Points at the place of the body that is to blame, both from 1.
    #[must_use]
    pub fn at(self, line: u32, column: u32) -> Self {
        Self { place: Some((line, column)), ..self }
    }

    /// Lists what is wrong with a script.
    #[must_use]
    pub fn diagnostics(self, diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics: Some(diagnostics.into()), ..self }
    }

    /// Says when to try again: `Retry-After`, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// 404: there is no such thing, or none that the caller may know of.
    pub fn missing(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 400: the query string is not understood.
    pub fn bad_query(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
    }

    /// 401: nothing says who is asking.
    #[must_use]
    pub fn unauthenticated() -> Self {
        let detail = "this needs an access token: `Authorization: Bearer …`";
        Self::new(StatusCode::UNAUTHORIZED, "token_missing", detail).challenge(Challenge::Asked)
    }

    /// 403: for administrators only.
    #[must_use]
    pub fn not_admin() -> Self {
        Self::new(StatusCode::FORBIDDEN, "admin_required", "this is for administrators")
    }

    /// 405, with what is allowed, such as `GET, POST`.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("this path takes {allow} and no other method"),
        );
        Self { allow: Some(allow), ..problem }
    }

    /// 500. What went wrong stands in the log, not in the answer.
    #[must_use]
    pub fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong here; it has been logged")
    }

    /// 422: the client's own name for a message is too long or empty.
    #[must_use]
    pub fn client_message_id() -> Self {
        let detail = format!("`clientMessageId` must have 1 to {MAX_CLIENT_MESSAGE_ID_BYTES} bytes");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "client_message_id_invalid", detail).field("clientMessageId")
    }

    /// 503: this node is about to stop.
    #[must_use]
    pub fn stopping() -> Self {
        let detail = "this node stops: another, or the same one restarted, takes over";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).retry_after(RESTART)
    }

    /// 403: a page of an origin that is not allowed opens a socket.
    #[must_use]
    pub fn foreign_origin(origin: &str) -> Self {
        let shown: String = origin.chars().filter(|c| !c.is_control()).take(100).collect();
        let detail = format!("pages of {shown} may not connect: add it to session.allowed_origins if they should");
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", detail)
    }

    /// Why somebody was not let in, counted.
    #[must_use]
    pub fn of_auth(error: accounts::Error) -> Self {
        let problem = Self::from(error);
        crate::metrics::auth_failed(problem.code());
        problem
    }

    /// 503 when it may go away by itself, else 500.
    fn of_store(error: &store::Error) -> Self {
        if !error.is_passing() {
            return Self::internal(error);
        }
        tracing::warn!(%error, "a request was refused: the tables take no writes now");
        let detail = "the store does not take this now: try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(RESTART)
    }

    fn challenge(self, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status);
        if let Some(wait) = self.retry_after {
            // A second at least: 0 would ask for the next attempt at once.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.insert_header((header::RETRY_AFTER, seconds.max(1).to_string()));
        }
        match self.challenge {
            Some(Challenge::Asked) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"parlor\""));
            }
            Some(Challenge::InvalidToken) => {
                // `detail` is one of our own sentences: no quotes to escape.
                let detail = &self.detail;
                let value = format!("Bearer realm=\"parlor\", error=\"invalid_token\", error_description=\"{detail}\"");
                response.insert_header((header::WWW_AUTHENTICATE, value));
            }
            None => {}
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        response.content_type(CONTENT_TYPE).json(Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            field: self.field,
            line: self.place.map(|(line, _)| line),
            column: self.place.map(|(_, column)| column),
            diagnostics: self.diagnostics.clone(),
        })
    }
}

impl From<accounts::Error> for Problem {
    fn from(error: accounts::Error) -> Self {
        use accounts::Error;
        let detail = error.to_string();
        let problem = |status, code| Self::new(status, code, detail);
        let wait = error.retry_after().unwrap_or_default();
        match &error {
            Error::Username(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_username").field("username"),
            Error::NameTaken => problem(StatusCode::CONFLICT, "username_taken").field("username"),
            Error::Password(password::Error::TooShort | password::Error::TooLong) => {
                problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_password").field("password")
            }
            Error::Password(password::Error::Busy) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "busy").retry_after(wait)
            }
            Error::Limited(_) => problem(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts").retry_after(wait),
            Error::RegistrationClosed => problem(StatusCode::FORBIDDEN, "registration_closed"),
            Error::WrongCredentials => {
                problem(StatusCode::UNAUTHORIZED, "wrong_credentials").challenge(Challenge::Asked)
            }
            Error::Disabled => problem(StatusCode::FORBIDDEN, "account_disabled"),
            Error::Token(token) => problem(StatusCode::UNAUTHORIZED, token.code()).challenge(Challenge::InvalidToken),
            Error::LoginEnded => problem(StatusCode::UNAUTHORIZED, "login_ended").challenge(Challenge::InvalidToken),
            Error::Refresh(refused) => {
                problem(StatusCode::UNAUTHORIZED, refresh_code(*refused)).challenge(Challenge::Asked)
            }
            Error::NoSuchUser => problem(StatusCode::NOT_FOUND, "user_not_found"),
            Error::LastAdmin => problem(StatusCode::CONFLICT, "last_admin"),
            Error::Store(error) => Self::of_store(error),
            Error::Password(password::Error::Hash(_)) | Error::Randomness => Self::internal(&error),
        }
    }
}

fn refresh_code(error: refresh::Error) -> &'static str {
    match error {
        refresh::Error::Unknown => "refresh_token_unknown",
        refresh::Error::Expired => "refresh_token_expired",
        refresh::Error::Reused => "refresh_token_reused",
        refresh::Error::Ended => "login_ended",
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let (code, detail) = (rejection.code(), rejection.to_string());
        let problem = |status| Self::new(status, code, detail);
        match rejection {
            Rejection::MessageTooLarge { .. } => problem(StatusCode::PAYLOAD_TOO_LARGE).field("messageBody"),
            Rejection::NoRecipients | Rejection::TooManyRecipients { .. } | Rejection::UnknownRecipient(_) => {
                problem(StatusCode::UNPROCESSABLE_ENTITY).field("recipientIds")
            }
            Rejection::RateLimited(wait) => problem(StatusCode::TOO_MANY_REQUESTS).retry_after(wait),
            Rejection::Stopping => Self::stopping(),
            Rejection::Bus(_) | Rejection::Store(_) => problem(StatusCode::SERVICE_UNAVAILABLE).retry_after(RESTART),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        Self::of_store(&error)
    }
}

impl From<sources::Error> for Problem {
    fn from(error: sources::Error) -> Self {
        match &error {
            sources::Error::Store(_) | sources::Error::Late => {
                tracing::error!(%error, "a request was refused: the sources of scripts cannot be had");
                let detail = "the object store does not answer as it should: try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(RESTART)
            }
            sources::Error::Url(_)
            | sources::Error::Folder { .. }
            | sources::Error::Damaged(_)
            | sources::Error::Missing(_) => Self::internal(&error),
        }
    }
}

/// The handler of paths that are not there.
///
/// # Errors
/// Always 404 `not_found`.
pub async fn not_found() -> Result<HttpResponse, Problem> {
    Err(Problem::missing("not_found", "there is nothing at this path"))
}

/// A resource that answers methods it has no route for with 405; `allow` names those it has, such as `GET, POST`.
#[must_use]
pub fn resource(path: &str, allow: &'static str) -> actix_web::Resource {
    let refuse = move || async move { Err::<HttpResponse, _>(Problem::method_not_allowed(allow)) };
    web::resource(path).default_service(web::to(refuse))
}

/// JSON bodies: up to [`MAX_JSON_BYTES`], and what is wrong with one is said by name.
#[must_use]
pub fn json_config() -> JsonConfig {
    JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(|error, _| json_problem(&error).into())
}

/// Query strings that are not understood: 400.
#[must_use]
pub fn query_config() -> QueryConfig {
    QueryConfig::default()
        .error_handler(|error: QueryPayloadError, _: &HttpRequest| Problem::bad_query(error.to_string()).into())
}

/// Path segments that are not understood: 400.
#[must_use]
pub fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|error: PathError, _: &HttpRequest| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_path", error.to_string()).into()
    })
}

fn json_problem(error: &JsonPayloadError) -> Problem {
    match error {
        JsonPayloadError::Deserialize(error) => of_json(error),
        JsonPayloadError::ContentType => {
            let detail = "the body must be JSON, with `Content-Type: application/json`";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
        }
        JsonPayloadError::Overflow { limit } | JsonPayloadError::OverflowKnownLength { limit, .. } => {
            let detail = format!("the body is over the limit of {limit} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        }
        other => Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", other.to_string()),
    }
}

/// What is wrong with a JSON document: 400 `malformed_json` when it is none, 422 `invalid_body` when it is another one
/// than was asked for; both with the place.
#[must_use]
pub fn of_json(error: &serde_json::Error) -> Problem {
    let detail = error.to_string();
    let problem = match error.classify() {
        serde_json::error::Category::Data => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail),
        _ => Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail),
    };
    let short = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    problem.at(short(error.line()), short(error.column()))
}
