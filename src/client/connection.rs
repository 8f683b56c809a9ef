//! A server as its clients reach it over HTTP: the login and its token, requests and their refusals.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::sanitize::sanitize;
use crate::ids::UserId;

/// No answer is waited for longer: a chat stands still meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
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
        /// The whole problem document, as it came; null when there was none.
        problem: Box<Value>,
    },
    /// The answer is not what the contract says.
    #[error("the server's answer cannot be read")]
    Unreadable(#[source] reqwest::Error),
}

impl Error {
    /// The HTTP status, if the server answered.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Url(_) | Self::Unreachable(_) | Self::Unreadable(_) => None,
        }
    }
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct User {
    /// Its id.
    pub(crate) id: UserId,
    /// Its name.
    pub(crate) username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Login {
    access_token: String,
    refresh_token: Option<String>,
    user: Option<User>,
}

/// Who logs in. Not printable: it holds the password.
#[derive(Serialize)]
pub(crate) struct Credentials {
    /// The account's name.
    pub(crate) username: String,
    /// Its password, kept to log in again when a refresh token has ended.
    pub(crate) password: String,
}

/// What a request brings.
pub(crate) enum Sent {
    /// Nothing.
    Nothing,
    /// This document.
    Json(Value),
    /// This text, of this media type.
    Text(&'static str, String),
}

/// A server, and the login there.
pub(crate) struct Connection {
    http: reqwest::Client,
    base: String,
    credentials: Credentials,
    access_token: String,
    refresh_token: Option<String>,
}

impl Connection {
    /// The server at `url`, not yet logged in.
    pub(crate) fn new(url: &str, credentials: Credentials) -> Result<Self, Error> {
        let base = url.trim_end_matches('/').to_owned();
        if !Url::parse(&base).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Error::Url(url.to_owned()));
        }
        // The websocket knows no proxy; a chat of which one half goes another way would only puzzle.
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(Error::Unreachable)?;
        Ok(Self { http, base, credentials, access_token: String::new(), refresh_token: None })
    }

    /// Logs in; with `register`, makes the account if there is none.
    pub(crate) async fn enter(&mut self, register: bool) -> Result<User, Error> {
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
    pub(crate) async fn renew(&mut self) -> Result<(), Error> {
        if let Some(refresh_token) = self.refresh_token.take() {
            match self.log_in("token/refresh", &json!({ "refreshToken": refresh_token })).await {
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
    pub(crate) fn access_token(&self) -> &str {
        &self.access_token
    }

    /// What a browser would open, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Reads a resource.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str, query: &[(&str, &str)]) -> Result<T, Error> {
        read(self.ask(Method::GET, path, query, &Sent::Nothing).await?).await
    }

    /// Reads a resource that is text.
    pub(crate) async fn text(&mut self, path: &str) -> Result<String, Error> {
        let answer = self.ask(Method::GET, path, &[], &Sent::Nothing).await?;
        answer.text().await.map_err(|error| Error::Unreadable(error.without_url()))
    }

    /// Posts something, and reads what is answered.
    pub(crate) async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &Sent) -> Result<T, Error> {
        read(self.ask(Method::POST, path, &[], body).await?).await
    }

    /// Asks; once more with another token when this one is over.
    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Sent,
    ) -> Result<Response, Error> {
        match self.ask_once(method.clone(), path, query, body).await {
            Err(error) if error.status() == Some(401) => {
                self.renew().await?;
                self.ask_once(method, path, query, body).await
            }
            answer => answer,
        }
    }

    async fn ask_once(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: &Sent,
    ) -> Result<Response, Error> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url).bearer_auth(&self.access_token);
        let request = match body {
            Sent::Nothing => request,
            Sent::Json(json) => request.json(json),
            Sent::Text(kind, text) => request.header(CONTENT_TYPE, *kind).body(text.clone()),
        };
        accepted(request.send().await).await
    }

    async fn post_credentials(&self, path: &str) -> Result<Login, Error> {
        self.log_in(path, &self.credentials).await
    }

    async fn log_in(&self, path: &str, body: &impl Serialize) -> Result<Login, Error> {
        read(accepted(self.http.request(Method::POST, self.url(path)?).json(body).send().await).await?).await
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

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Error> {
    response.json().await.map_err(|error| Error::Unreadable(error.without_url()))
}

async fn accepted(response: reqwest::Result<Response>) -> Result<Response, Error> {
    let response = response.map_err(|error| Error::Unreachable(error.without_url()))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem: Value = response.json().await.unwrap_or_default();
    let said = problem["detail"].as_str().or(problem["title"].as_str());
    let detail = sanitize(said.unwrap_or_else(|| status.canonical_reason().unwrap_or("refused")));
    Err(Error::Refused { status: status.as_u16(), detail, problem: Box::new(problem) })
}
