//! Who is who, and who is online.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::api::{Api, User};
use crate::client::sanitize::sanitize;
use crate::ids::UserId;

/// The people of a chat.
#[derive(Debug, Default)]
pub(super) struct People {
    names: HashMap<UserId, String>,
    /// Ids that could not be resolved on this connection, so that they do not cost a wait each time.
    nameless: HashSet<UserId>,
    online: BTreeSet<UserId>,
    /// Who was online when the connection was lost: their being online again is no news.
    before: BTreeSet<UserId>,
}

impl People {
    /// Remembers a name.
    pub(super) fn know(&mut self, user: &User) {
        self.names.insert(user.id, sanitize(&user.username));
    }

    /// The name of `id`, asked of the server once; harmless to print.
    pub(super) async fn name(&mut self, id: UserId, api: &mut Api) -> String {
        if !self.names.contains_key(&id) && !self.nameless.contains(&id) {
            match api.user(id).await {
                Ok(user) => self.know(&user),
                Err(_) => {
                    self.nameless.insert(id);
                }
            }
        }
        self.names.get(&id).cloned().unwrap_or_else(|| format!("user {id}"))
    }

    /// The names of several, between commas.
    pub(super) async fn names(&mut self, ids: impl IntoIterator<Item = UserId>, api: &mut Api) -> String {
        let mut names = Vec::new();
        for id in ids {
            names.push(self.name(id, api).await);
        }
        names.join(", ")
    }

    /// A new connection: the server tells anew who is online.
    pub(super) fn reconnected(&mut self) {
        self.nameless.clear();
        self.before = std::mem::take(&mut self.online);
    }

    /// Somebody came or went; whether that is news.
    pub(super) fn presence(&mut self, id: UserId, online: bool) -> bool {
        let known = self.before.remove(&id);
        let changed = if online { self.online.insert(id) } else { self.online.remove(&id) || known };
        changed && !(known && online)
    }

    /// Who is online, as far as the server has told.
    pub(super) fn online(&self) -> Vec<UserId> {
        self.online.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_news_once_and_not_again_after_a_reconnect() {
        let mut people = People::default();
        let bob = UserId(2);
        assert!(people.presence(bob, true) && !people.presence(bob, true));
        people.reconnected();
        assert!(!people.presence(bob, true));
        assert_eq!(people.online(), [bob]);
        assert!(people.presence(bob, false) && !people.presence(bob, false));
        people.presence(bob, true);
        people.reconnected();
        assert!(people.presence(bob, false));
    }
}
