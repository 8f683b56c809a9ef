//! Refresh tokens: 32 random bytes that are shown once and kept only as their SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};

use crate::config::secret::Secret;
use crate::store::tokens::TokenHash;

/// Why a refresh token is not exchanged. Each means: log in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such token.
    #[error("there is no such refresh token")]
    Unknown,
    /// The login is past its end.
    #[error("the login is over: log in again")]
    Expired,
    /// The token had been exchanged before, so somebody has a copy: the login is ended for both.
    #[error("the refresh token was used before; for safety the login has been ended")]
    Reused,
    /// The login was ended before.
    #[error("the login has been ended: log in again")]
    Ended,
}

/// A fresh token. The operating system's randomness, or `None` where that fails.
#[must_use]
pub fn fresh() -> Option<Secret> {
    let mut bytes = [0_u8; 32];
    OsRng.try_fill_bytes(&mut bytes).ok()?;
    Some(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is kept of a token: the hash of its text. A plain hash does, since nobody guesses 256 random bits.
#[must_use]
pub fn hash(token: &Secret) -> TokenHash {
    TokenHash(Sha256::digest(token.expose().as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_32_bytes_that_never_come_again() {
        let (one, other) = (fresh().unwrap(), fresh().unwrap());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.expose()).unwrap().len(), 32);
        assert_ne!(one, other);
        assert_eq!(hash(&one), hash(&one.clone()));
        assert_ne!(hash(&one), hash(&other));
    }
}
