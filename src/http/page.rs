//! Lists: `{items, next}`, and the cursor that leads from one page to the next.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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
    /// The `after` (or `before`) of the next page; null: this is the last.
    pub next: Option<String>,
}

/// Which part of a list that runs backwards.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackwardsQuery {
    /// Only what stands before this: the `next` of the page before.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub before: Option<i64>,
    /// How many; 50 by default, 100 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    pub limit: Option<NonZeroU32>,
}

impl BackwardsQuery {
    /// Where to begin, and how many to give.
    ///
    /// # Errors
    /// 400 `invalid_query`.
    pub fn read(&self) -> Result<(Option<i64>, u32), Problem> {
        if self.before.is_some_and(|before| before < 0) {
            return Err(Problem::bad_query("`before` must be 0 or more").field("before"));
        }
        Ok((self.before, limit(self.limit)))
    }
}

impl<T> Page<T> {
    /// A page of at most `limit` of `found`, of which one more was asked for to learn whether there are more; `key` of the
    /// last one leads on.
    #[must_use]
    pub fn of<F>(mut found: Vec<F>, limit: u32, key: impl Fn(&F) -> String, item: impl FnMut(F) -> T) -> Self {
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(key);
        Self { items: found.into_iter().map(item).collect(), next }
    }
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
