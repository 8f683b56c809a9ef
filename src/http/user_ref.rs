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

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ids::FamilyId;

    fn caller(role: Role) -> Identity {
        let (user_id, family_id) = (UserId(7), FamilyId::fresh());
        Identity { user_id, username: "ada".into(), role, family_id, expires_at: DateTime::UNIX_EPOCH }
    }

    #[test]
    fn a_user_is_a_number_or_me() {
        let read = |text: &str| serde_json::from_value::<UserRef>(text.into()).ok();
        assert_eq!(read("me"), Some(UserRef::Me));
        assert_eq!(read("12"), Some(UserRef::Id(UserId(12))));
        assert_eq!((read("Me"), read(""), read("1.0")), (None, None, None));
    }

    #[test]
    fn one_touches_ones_own_things_and_an_administrator_anybodys() {
        for of in [UserRef::Me, UserRef::Id(UserId(7))] {
            assert_eq!(of.owned(&caller(Role::User)), Ok(UserId(7)));
        }
        let other = UserRef::Id(UserId(8));
        assert_eq!(other.owned(&caller(Role::User)).unwrap_err().code(), "user_not_found");
        assert_eq!(other.owned(&caller(Role::Admin)), Ok(UserId(8)));
    }
}
