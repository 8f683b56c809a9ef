//! The HTTP part of the server as the chat uses it: names, conversations, history.

use serde::Deserialize;

use super::event::Failure;
use super::frames::Message;
pub(super) use crate::client::connection::{Connection, Credentials, Error, User};
use crate::ids::{ConversationId, UserId};

impl Error {
    /// What it means for the chat's connection.
    pub(super) fn failure(&self) -> Failure {
        let why = self.to_string();
        match self.status() {
            Some(401 | 403) => Failure::Token,
            Some(429) => Failure::TooMuch(why),
            Some(400..=499) => Failure::Final(why),
            _ => Failure::Passing(why),
        }
    }
}

/// One of the user's conversations.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conversation {
    /// Everybody in it, the user included.
    pub(super) participants: Vec<UserId>,
    /// Its last message.
    pub(super) last_message: Option<Message>,
    /// How many messages the user has not read.
    #[serde(default)]
    pub(super) unread: u64,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// A server, and the login there.
pub(super) struct Api(Connection);

impl Api {
    /// The server at `url`, not yet logged in.
    pub(super) fn new(url: &str, credentials: Credentials) -> Result<Self, Error> {
        Connection::new(url, credentials).map(Self)
    }

    /// Logs in; with `register`, makes the account if there is none.
    pub(super) async fn enter(&mut self, register: bool) -> Result<User, Error> {
        self.0.enter(register).await
    }

    /// Gets a new access token: by the refresh token, or else by the password.
    pub(super) async fn renew(&mut self) -> Result<(), Error> {
        self.0.renew().await
    }

    /// The token for the websocket.
    pub(super) fn access_token(&self) -> &str {
        self.0.access_token()
    }

    /// Where the websocket is.
    pub(super) fn socket_url(&self) -> String {
        // http becomes ws, https becomes wss.
        format!("ws{}/ws", self.0.base().trim_start_matches("http"))
    }

    /// The account with this name.
    pub(super) async fn find(&mut self, name: &str) -> Result<Option<User>, Error> {
        let mut found: List<User> = self.0.get("users", &[("search", name)]).await?;
        let place = found.items.iter().position(|user| user.username == name);
        let place = place.or_else(|| found.items.iter().position(|user| user.username.eq_ignore_ascii_case(name)));
        Ok(place.map(|place| found.items.swap_remove(place)))
    }

    /// The account with this id.
    pub(super) async fn user(&mut self, id: UserId) -> Result<User, Error> {
        let found: List<User> = self.0.get("users", &[("ids", &id.to_string())]).await?;
        found.items.into_iter().next().ok_or_else(|| Error::Refused {
            status: 404,
            detail: format!("there is no user {id}"),
            problem: Box::default(),
        })
    }

    /// The user's conversations.
    pub(super) async fn conversations(&mut self) -> Result<Vec<Conversation>, Error> {
        Ok(self.0.get::<List<_>>("conversations", &[]).await?.items)
    }

    /// The last messages of a conversation, oldest first.
    pub(super) async fn history(&mut self, id: ConversationId, limit: usize) -> Result<Vec<Message>, Error> {
        let path = format!("conversations/{id}/messages");
        let mut messages = match self.0.get::<List<Message>>(&path, &[("limit", &limit.to_string())]).await {
            Ok(list) => list.items,
            // Nobody has written there yet.
            Err(error) if error.status() == Some(404) => Vec::new(),
            Err(error) => return Err(error),
        };
        messages.sort_by_key(|message| message.seq);
        Ok(messages)
    }
}
