//! The auto-replies that a message got, carried by it to the router, which remembers them with the message itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::ids::UserId;

/// Bytes of one [`Answered`] as JSON, at most, with its comma.
pub const MAX_ANSWERED_BYTES: usize = 96;

/// The SHA-256 of an auto-reply's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextHash(pub [u8; 32]);

impl TextHash {
    /// Of this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl Serialize for TextHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for TextHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| de::Error::custom("a hash is 32 bytes in base64url"))
    }
}

/// An auto-reply that a message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// Whose auto-reply.
    pub user_id: UserId,
    /// Which text.
    pub text_hash: TextHash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_the_way_over_the_bus_and_is_as_short_as_said() {
        let answered = Answered { user_id: UserId(i64::MIN), text_hash: TextHash::of("away") };
        let text = serde_json::to_string(&answered).unwrap();
        assert!(text.len() < MAX_ANSWERED_BYTES, "{}", text.len());
        assert_eq!(serde_json::from_str::<Answered>(&text).unwrap(), answered);
        assert!(serde_json::from_str::<Answered>(r#"{"userId":1,"textHash":"AAAA"}"#).is_err());
    }
}
