//! `{id}` in a path: a user by number, or `me`; and whose things a caller may touch.

use serde::{Deserialize, Deserializer, de};

use super::Problem;
use crate::accounts::{Identity, Role};
use crate::ids::UserId;

/// A user as a path names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// Whoever is asking.
    Me,
    /// That user.
    Id(UserId),
}

impl UserRef {
    /// Which user it is, when `caller` is asking.
    #[must_use]
    pub fn resolve(self, caller: &Identity) -> UserId {
        match self {
            Self::Me => caller.user_id,
            Self::Id(id) => id,
        }
    }

    /// The user whose things `caller` asks for, if they are the caller's own or the caller is an administrator.
    ///
    /// # Errors
    /// 404 `user_not_found` to anybody else, who is not to learn whether there is such a user. To an administrator the
    /// user need not exist: the handler finds out.
    pub fn owned(self, caller: &Identity) -> Result<UserId, Problem> {
        let id = self.resolve(caller);
        if id == caller.user_id || caller.role == Role::Admin {
            return Ok(id);
        }
        Err(Problem::missing("user_not_found", "there is no such user"))
    }
}

impl<'de> Deserialize<'de> for UserRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        if text == "me" {
            return Ok(Self::Me);
        }
        text.parse().map(|id| Self::Id(UserId(id))).map_err(|_| de::Error::custom("a user is a number, or `me`"))
    }
}
