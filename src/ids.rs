//! The identifiers of Parlor as types, so that a user is never mistaken for a place in an inbox.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// The namespace of every version 5 UUID that Parlor derives (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_7c1e_52b4_4a57_9d0b_7061_726c_6f72);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! uid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// An account. Given by the store, never used twice.
    UserId
}
number! {
    /// A place in one user's inbox: 1, 2, 3 … with no gaps; 0 stands before the first.
    Seq
}

impl Seq {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A numbered seat in the cluster: one node's at a time, and a partition of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u16);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

uid! {
    /// A message, the same on every retry and re-run.
    MessageUid
}
uid! {
    /// One live websocket.
    SessionId
}
uid! {
    /// A conversation, derived from the set of its participants.
    ConversationId
}
uid! {
    /// One login and all refresh tokens that descend from it.
    FamilyId
}

impl MessageUid {
    /// The uid of a message that its sender named, so that sending it again is the same message.
    #[must_use]
    pub fn from_client(sender: UserId, client_message_id: &str) -> Self {
        Self(derive("message", &format!("{sender}:{client_message_id}")))
    }

    /// The uid of a message that its sender did not name: version 7, ordered by time.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::now_v7())
    }

    /// The uid of the `index`-th message that `owner`'s automation made because of `self`: a re-run makes the same.
    #[must_use]
    pub fn made(self, owner: UserId, index: usize) -> Self {
        Self(derive("made", &format!("{self}:{owner}:{index}")))
    }

    /// The uid of `owner`'s standing auto-reply to `self`.
    #[must_use]
    pub fn auto_reply(self, owner: UserId) -> Self {
        Self(derive("made", &format!("{self}:{owner}:auto-reply")))
    }
}

impl SessionId {
    /// A new session's id.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }
}

impl FamilyId {
    /// A new login's id.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }
}

impl ConversationId {
    /// The conversation of these participants, in whatever order and however often they are named.
    #[must_use]
    pub fn of(participants: impl IntoIterator<Item = UserId>) -> Self {
        let mut ids: Vec<UserId> = participants.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let mut name = String::with_capacity(ids.len() * 8);
        for id in ids {
            use fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(name, "{id},");
        }
        Self(derive("conversation", &name))
    }
}

fn derive(kind: &str, name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{kind}:{name}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_its_set_of_participants() {
        let one = ConversationId::of([UserId(3), UserId(1), UserId(3)]);
        assert_eq!(one, ConversationId::of([UserId(1), UserId(3)]));
        assert_ne!(one, ConversationId::of([UserId(13)]));
        assert_ne!(ConversationId::of([UserId(1), UserId(23)]), ConversationId::of([UserId(12), UserId(3)]));
    }

    #[test]
    fn a_client_message_id_names_one_message_of_one_sender() {
        let uid = MessageUid::from_client(UserId(1), "a");
        assert_eq!(uid, MessageUid::from_client(UserId(1), "a"));
        assert_ne!(uid, MessageUid::from_client(UserId(2), "a"));
        assert_ne!(uid.made(UserId(1), 0), uid.made(UserId(1), 1));
    }
}
