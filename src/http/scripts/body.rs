//! Bodies that are read up to a bound, which is a setting.

use actix_web::http::StatusCode;
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use crate::http::{Problem, problem};
use crate::script::call::Language;

/// Bytes of a source for each of which JSON may take six, as in `\u0000`.
pub(super) const JSON_BLOWS_UP: usize = 6;

/// The body, if it has at most `limit` bytes.
async fn read(mut payload: web::Payload, limit: usize, too_large: impl Fn() -> Problem) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = payload.next().await {
        let unreadable = |error: actix_web::error::PayloadError| {
            Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", error.to_string())
        };
        let chunk = chunk.map_err(unreadable)?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The language that `Content-Type` names.
pub(super) fn language(request: &HttpRequest) -> Result<Language, Problem> {
    if let Some(kind) = request.mime_type().ok().flatten() {
        let utf8 = kind.get_param("charset").is_none_or(|charset| charset.as_str().eq_ignore_ascii_case("utf-8"));
        let named = Language::ALL.into_iter().find(|language| kind.essence_str() == language.content_type());
        if let Some(language) = named.filter(|_| utf8) {
            return Ok(language);
        }
    }
    let known = Language::ALL.map(|language| format!("`Content-Type: {}`", language.content_type())).join(" or ");
    let detail = format!("the body must be a source in UTF-8, with {known}");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// A source that may be looked at: not too large, UTF-8, and not empty.
pub(super) async fn source(payload: web::Payload, limit: usize) -> Result<String, Problem> {
    let bytes = read(payload, limit, || too_large(limit)).await?;
    let source = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let detail = format!("the source is not UTF-8: byte {} begins no character", at + 1);
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "source_not_utf8", detail)
    })?;
    sized(source, limit)
}

/// The same of a source that came in JSON.
pub(super) fn sized(source: String, limit: usize) -> Result<String, Problem> {
    if source.len() > limit {
        return Err(too_large(limit));
    }
    if source.trim().is_empty() {
        let detail = "the source is empty; to have no script run, disable it";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "source_empty", detail));
    }
    Ok(source)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the source is over the limit of {limit} bytes (scripts.max_source_bytes)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "source_too_large", detail)
}

/// A JSON document of at most `limit` bytes.
pub(super) async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<T, Problem> {
    if request.mime_type().ok().flatten().is_none_or(|kind| kind.essence_str() != "application/json") {
        let detail = "the body must be JSON, with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    let too_large = || {
        let detail = format!("the body is over the limit of {limit} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    };
    let bytes = read(payload, limit, too_large).await?;
    serde_json::from_slice(&bytes).map_err(|error| problem::of_json(&error))
}
