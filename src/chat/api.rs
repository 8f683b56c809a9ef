//! The HTTP part of the server as this client uses it: the login and its token, names, conversations, history.

use std::time::Duration;

use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::event::Failure;
use super::frames::Message;
use super::sanitize::sanitize;
use crate::ids::{ConversationId, UserId};

/// No answer is waited for longer: the chat stands still meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// `--url` is not one.
    #[error("{0:?} is not a URL that begins with http:// or https://")]
    Url(String),
    /// No connection, or one that broke.
    #[error("cannot reach the server")]
    Unreachable(#[source] reqwest::Error),
    /// The server said no.
    #[error("{detail} ({status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words, made harmless.
        detail: String,
    },
    /// The answer is not what the contract says.
    #[error("the server's answer cannot be read")]
    Unreadable(#[source] reqwest::Error),
}

impl Error {
    /// The HTTP status, if the server answered.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Url(_) | Self::Unreachable(_) | Self::Unreadable(_) => None,
        }
    }

    /// What it means for the connection.
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

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct User {
    /// Its id.
    pub(super) id: UserId,
    /// Its name.
    pub(super) username: String,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    access_token: String,
    refresh_token: Option<String>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

/// Who logs in. Not printable: it holds the password.
#[derive(Serialize)]
pub(super) struct Credentials {
    /// The account's name.
    pub(super) username: String,
    /// Its password, kept to log in again when a refresh token has ended.
    pub(super) password: String,
}

/// A server, and the login there.
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
    credentials: Credentials,
    access_token: String,
    refresh_token: Option<String>,
}

impl Api {
    /// The server at `url`, not yet logged in.
    pub(super) fn new(url: &str, credentials: Credentials) -> Result<Self, Error> {
        let base = url.trim_end_matches('/').to_owned();
        if !Url::parse(&base).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Error::Url(url.to_owned()));
        }
        // The websocket knows no proxy; a chat of which one half goes another way would only puzzle.
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(Error::Unreachable)?;
        Ok(Self { http, base, credentials, access_token: String::new(), refresh_token: None })
    }

    /// Logs in; with `register`, makes the account if there is none.
    pub(super) async fn enter(&mut self, register: bool) -> Result<User, Error> {
        let login = match self.post_credentials("login").await {
            Err(unknown) if register && unknown.status() == Some(401) => match self.post_credentials("users").await {
                // The account was there all the time: it is the password that is wrong.
                Err(error) if error.status() == Some(409) => return Err(unknown),
                registered => registered?,
            },
            login => login?,
        };
        let user = login.user.clone();
        self.keep(login);
        match user {
            Some(user) => Ok(user),
            None => self.get("me", &[]).await,
        }
    }

    /// Gets a new access token: by the refresh token, or else by the password.
    pub(super) async fn renew(&mut self) -> Result<(), Error> {
        if let Some(refresh_token) = self.refresh_token.take() {
            match self.post("token/refresh", &json!({ "refreshToken": refresh_token })).await {
                Ok(login) => {
                    self.keep(login);
                    return Ok(());
                }
                Err(Error::Refused { status: 400..=428, .. }) => {}
                Err(error) => {
                    self.refresh_token = Some(refresh_token);
                    return Err(error);
                }
            }
        }
        let login = self.post_credentials("login").await?;
        self.keep(login);
        Ok(())
    }

    /// The token for the websocket.
    pub(super) fn access_token(&self) -> &str {
        &self.access_token
    }

    /// Where the websocket is.
    pub(super) fn socket_url(&self) -> String {
        // http becomes ws, https becomes wss.
        format!("ws{}/ws", self.base.trim_start_matches("http"))
    }

    /// The account with this name.
    pub(super) async fn find(&mut self, name: &str) -> Result<Option<User>, Error> {
        let mut found: List<User> = self.get("users", &[("search", name)]).await?;
        let place = found.items.iter().position(|user| user.username == name);
        let place = place.or_else(|| found.items.iter().position(|user| user.username.eq_ignore_ascii_case(name)));
        Ok(place.map(|place| found.items.swap_remove(place)))
    }

    /// The account with this id.
    pub(super) async fn user(&mut self, id: UserId) -> Result<User, Error> {
        let found: List<User> = self.get("users", &[("ids", &id.to_string())]).await?;
        found
            .items
            .into_iter()
            .next()
            .ok_or_else(|| Error::Refused { status: 404, detail: format!("there is no user {id}") })
    }

    /// The user's conversations.
    pub(super) async fn conversations(&mut self) -> Result<Vec<Conversation>, Error> {
        Ok(self.get::<List<_>>("conversations", &[]).await?.items)
    }

    /// The last messages of a conversation, oldest first.
    pub(super) async fn history(&mut self, id: ConversationId, limit: usize) -> Result<Vec<Message>, Error> {
        let path = format!("conversations/{id}/messages");
        let mut messages = match self.get::<List<Message>>(&path, &[("limit", &limit.to_string())]).await {
            Ok(list) => list.items,
            // Nobody has written there yet.
            Err(error) if error.status() == Some(404) => Vec::new(),
            Err(error) => return Err(error),
        };
        messages.sort_by_key(|message| message.seq);
        Ok(messages)
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        match self.get_once(path, query).await {
            Err(error) if error.status() == Some(401) => {
                self.renew().await?;
                self.get_once(path, query).await
            }
            answer => answer,
        }
    }

    async fn get_once<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(Method::GET, url).bearer_auth(&self.access_token);
        answer(request.send().await).await
    }

    async fn post_credentials(&self, path: &str) -> Result<Login, Error> {
        self.post(path, &self.credentials).await
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Login, Error> {
        answer(self.http.request(Method::POST, self.url(path)?).json(body).send().await).await
    }

    fn keep(&mut self, login: Login) {
        self.access_token = login.access_token;
        // A server that does not rotate refresh tokens sends none; the password still helps then.
        self.refresh_token = login.refresh_token;
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        Url::parse(&format!("{}/api/v1/{path}", self.base)).map_err(|_| Error::Url(self.base.clone()))
    }
}

async fn answer<T: DeserializeOwned>(response: reqwest::Result<Response>) -> Result<T, Error> {
    let response = response.map_err(|error| Error::Unreachable(error.without_url()))?;
    let status = response.status();
    if status.is_success() {
        return response.json().await.map_err(|error| Error::Unreadable(error.without_url()));
    }
    let problem: Option<Problem> = response.json().await.ok();
    let said = problem.and_then(|problem| problem.detail.or(problem.title));
    let detail = said.unwrap_or_else(|| status.canonical_reason().unwrap_or("refused").to_owned());
    Err(Error::Refused { status: status.as_u16(), detail: sanitize(&detail) })
}
