//! Lists: `{items, next}`, and the cursor that leads from one page to the next.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;

/// The items of a page if the caller does not say.
pub const DEFAULT_LIMIT: u32 = 50;
/// The most items of a page; who asks for more gets that many.
pub const MAX_LIMIT: u32 = 100;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What there is, in order.
    pub items: Vec<T>,
    /// The `after` of the next page; null: this is the last.
    pub next: Option<String>,
}

/// How many items to give.
#[must_use]
pub fn limit(asked: Option<NonZeroU32>) -> u32 {
    asked.map_or(DEFAULT_LIMIT, |limit| limit.get().min(MAX_LIMIT))
}

/// The cursor that leads on from `key`. Clients hand it back as it is.
#[must_use]
pub fn cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// What [`cursor`] was made of.
///
/// # Errors
/// 400 `invalid_query` when it was made by somebody else.
pub fn read_cursor(cursor: &str) -> Result<String, Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Problem::bad_query("`after` must be the `next` of the page before").field("after"))
}
