//! Access tokens: JWTs signed with HS256, refused by name.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};

use super::keys::Keys;
use crate::clock::Clock;
use crate::config::accounts::AccountsOptions;
use crate::config::secret::Secret;
use crate::ids::{FamilyId, UserId};
use crate::store::users::Role;

/// The longest token that is looked at, in bytes. Ours have about 400.
pub const MAX_BYTES: usize = 4096;

/// Why an access token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `alg` is `none`: anybody could have written it.
    #[error("the token is not signed (alg none)")]
    AlgorithmNone,
    /// `alg` is another than HS256.
    #[error("the token is signed with another algorithm than HS256")]
    ForeignAlgorithm,
    /// `kid` is missing or names no key of ours.
    #[error("the token is signed with a key that is unknown here")]
    UnknownKey,
    /// The signature is not that of the key it names.
    #[error("the token's signature is wrong")]
    WrongSignature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is missing or another.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// `aud` is missing or another.
    #[error("the token is for another audience")]
    WrongAudience,
    /// Not a token of the form we make.
    #[error("the token is malformed")]
    Malformed,
}

impl Error {
    /// The name of the refusal for programs: the same over HTTP and on sockets, for good.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AlgorithmNone => "token_algorithm_none",
            Self::ForeignAlgorithm => "token_foreign_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::WrongSignature => "token_wrong_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::WrongIssuer => "token_wrong_issuer",
            Self::WrongAudience => "token_wrong_audience",
            Self::Malformed => "token_malformed",
        }
    }
}

/// What an access token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whose it is.
    pub user_id: UserId,
    /// The login that it came from.
    pub family_id: FamilyId,
    /// Their role when it was made. What they may do is what the store says now.
    pub role: Role,
    /// When it ends, to the second.
    pub expires_at: DateTime<Utc>,
}

/// Makes and checks access tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jwt(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: Keys,
    issuer: String,
    audience: String,
    lifetime: TimeDelta,
    leeway: TimeDelta,
    validation: Validation,
    clock: Clock,
}

/// The claims as they stand in the token, but for `iss` and `aud`, which have refusals of their own.
#[derive(Serialize, Deserialize)]
struct Body {
    sub: String,
    fam: FamilyId,
    role: Role,
    nbf: i64,
    exp: i64,
}

#[derive(Serialize)]
struct Signed<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    #[serde(flatten)]
    body: Body,
}

/// What of the header decides; read before the library does, which has no name for `none`.
#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Jwt {
    /// Tokens of these keys and this issuer, by this clock.
    #[must_use]
    pub fn new(keys: Keys, options: &AccountsOptions, clock: Clock) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&options.issuer]);
        validation.set_audience(&[&options.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
        // The library reads the ambient clock: the times are checked below, by ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self(Arc::new(Inner {
            keys,
            issuer: options.issuer.clone(),
            audience: options.audience.clone(),
            lifetime: TimeDelta::seconds(options.access_seconds.get().into()),
            leeway: TimeDelta::seconds(options.leeway_seconds.into()),
            validation,
            clock,
        }))
    }

    /// Makes a token that ends after the configured time, or with its login if that is earlier.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] when there is no key to sign with, which [`Keys`] does not allow.
    pub fn sign(
        &self,
        user: UserId,
        family: FamilyId,
        role: Role,
        family_ends: DateTime<Utc>,
    ) -> Result<(Secret, Claims), Error> {
        let inner = &*self.0;
        let key = inner.keys.first().ok_or(Error::UnknownKey)?;
        let now = inner.clock.now();
        let exp = (now + inner.lifetime).min(family_ends).timestamp();
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        let body = Body { sub: user.to_string(), fam: family, role, nbf: now.timestamp(), exp };
        let signed = Signed { iss: &inner.issuer, aud: &inner.audience, iat: now.timestamp(), body };
        let token = jsonwebtoken::encode(&header, &signed, &key.signing).map_err(|_| Error::Malformed)?;
        Ok((Secret::new(token), claims(&signed.body)?))
    }

    /// Reads a token and refuses it unless everything about it is right.
    ///
    /// # Errors
    /// Each [`Error`] names what is wrong; what is unsigned or signed by others is never judged by its contents.
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        let inner = &*self.0;
        if token.len() > MAX_BYTES {
            return Err(Error::Malformed);
        }
        let header = raw_header(token)?;
        if header.alg.eq_ignore_ascii_case("none") {
            return Err(Error::AlgorithmNone);
        }
        if header.alg != "HS256" {
            return Err(Error::ForeignAlgorithm);
        }
        // RFC 7515, section 4.1.11: what is marked critical and not understood must be refused. We understand none.
        if header.crit.is_some() {
            return Err(Error::Malformed);
        }
        let key = header.kid.and_then(|kid| inner.keys.find(&kid)).ok_or(Error::UnknownKey)?;
        let body = jsonwebtoken::decode::<Body>(token, &key.checking, &inner.validation).map_err(|e| name(&e))?.claims;
        let now = inner.clock.now();
        let claims = claims(&body)?;
        if now >= claims.expires_at + inner.leeway {
            return Err(Error::Expired);
        }
        if now + inner.leeway < time(body.nbf)? {
            return Err(Error::NotYetValid);
        }
        Ok(claims)
    }
}

fn raw_header(token: &str) -> Result<RawHeader, Error> {
    let (header, _) = token.split_once('.').ok_or(Error::Malformed)?;
    let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| Error::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Error::Malformed)
}

fn name(error: &jsonwebtoken::errors::Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidSignature => Error::WrongSignature,
        ErrorKind::InvalidAlgorithm => Error::ForeignAlgorithm,
        ErrorKind::InvalidIssuer => Error::WrongIssuer,
        ErrorKind::InvalidAudience => Error::WrongAudience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Error::WrongIssuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Error::WrongAudience,
        _ => Error::Malformed,
    }
}

fn claims(body: &Body) -> Result<Claims, Error> {
    let user_id = UserId(body.sub.parse().map_err(|_| Error::Malformed)?);
    Ok(Claims { user_id, family_id: body.fam, role: body.role, expires_at: time(body.exp)? })
}

/// Whole seconds since 1970. Bounded far within what a date can be, so that a leeway can be added to any.
fn time(seconds: i64) -> Result<DateTime<Utc>, Error> {
    const YEAR_9999: i64 = 253_402_300_799;
    if !(0..=YEAR_9999).contains(&seconds) {
        return Err(Error::Malformed);
    }
    DateTime::from_timestamp(seconds, 0).ok_or(Error::Malformed)
}

#[cfg(test)]
mod tests;
