//! Accounts for a run: registered over HTTP, as slowly as the server wishes, and their tokens kept fresh.

use std::{
    cell::RefCell,
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{StatusCode, header::HeaderMap};
use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// Registrations under way at once: enough to keep a server's cores at their hashes.
const CONCURRENT_REGISTRATIONS: usize = 8;
const HTTP_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Credentials<'a> {
    username: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refresh<'a> {
    refresh_token: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grant {
    access_token: String,
    expires_in: u64,
    refresh_token: String,
    #[serde(default)]
    user: Option<User>,
}

#[derive(Deserialize)]
struct Uploaded {
    version: u64,
}

#[derive(Deserialize)]
struct User {
    id: u64,
}

#[derive(Debug)]
struct Account {
    id: u64,
    access_token: String,
    refresh_token: String,
    renew_at: Instant,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Accounts {
    http: reqwest::Client,
    /// Addresses without a slash at the end; requests go to the last.
    urls: Vec<String>,
    accounts: RefCell<Vec<Account>>,
}

impl Accounts {
    /// Registers `count` new users under names that no other run has.
    pub(crate) async fn register(urls: &[String], count: usize) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(HTTP_TIMEOUT).build().context("an HTTP client")?;
        let this = Self {
            http,
            urls: urls.iter().map(|url| url.trim_end_matches('/').into()).collect(),
            accounts: RefCell::default(),
        };
        let run = random_word() >> 32;
        let mut progress = Progress::new();
        let register = |index: usize| {
            let (this, run) = (&this, &run);
            async move { this.register_one(&format!("bench-{run:08x}-{index}")).await }
        };
        let mut registrations = stream::iter((0..count).map(register)).buffered(CONCURRENT_REGISTRATIONS);
        while let Some(account) = registrations.try_next().await? {
            this.accounts.borrow_mut().push(account);
            progress.show(|| format!("registered {} of {count} users", this.accounts.borrow().len()));
        }
        progress.end();
        drop(registrations);
        Ok(this)
    }

    /// The user id of an account.
    pub(crate) fn user_id(&self, account: usize) -> u64 {
        self.accounts.borrow().get(account).map_or(0, |account| account.id)
    }

    /// The newest access token of an account.
    pub(crate) fn access_token(&self, account: usize) -> String {
        self.accounts.borrow().get(account).map(|account| account.access_token.clone()).unwrap_or_default()
    }

    /// Where the sockets are.
    pub(crate) fn ws_urls(&self) -> Vec<String> {
        // `http` becomes `ws`, `https` becomes `wss`.
        self.urls.iter().map(|url| format!("{}/ws", url.replacen("http", "ws", 1))).collect()
    }

    fn base_url(&self) -> &str {
        self.urls.last().map_or("", String::as_str)
    }

    /// Renews every token in good time, for as long as it is polled; tells of each (account, access token).
    pub(crate) async fn keep_fresh(&self, on_renewed: impl Fn(usize, &str)) -> anyhow::Result<()> {
        loop {
            let due = {
                let accounts = self.accounts.borrow();
                let oldest = accounts.iter().enumerate().min_by_key(|(_, account)| account.renew_at);
                oldest.map(|(index, account)| (index, account.renew_at, account.refresh_token.clone()))
            };
            let Some((index, renew_at, refresh_token)) = due else { return Ok(()) };
            tokio::time::sleep_until(renew_at.into()).await;
            let grant = self.post("/api/v1/token/refresh", &Refresh { refresh_token: &refresh_token }).await?;
            on_renewed(index, &grant.access_token);
            if let Some(account) = self.accounts.borrow_mut().get_mut(index) {
                account.renew_at = renewal_time(grant.expires_in);
                account.access_token = grant.access_token;
                account.refresh_token = grant.refresh_token;
            }
        }
    }

    /// Has every account upload and activate a script.
    pub(crate) async fn give_script(&self, direction: &str, source: &str) -> anyhow::Result<()> {
        let tokens: Vec<String> = self.accounts.borrow().iter().map(|account| account.access_token.clone()).collect();
        let give = |token: String| async move {
            let base = format!("{}/api/v1/users/me/scripts/{direction}", self.base_url());
            let upload = self.http.post(&base).bearer_auth(&token).header("content-type", "text/x-luau");
            let uploaded: Uploaded = accept(upload.body(source.to_owned())).await?;
            let version = serde_json::json!({"version": uploaded.version});
            let activate = self.http.post(format!("{base}/activate")).bearer_auth(&token).json(&version);
            accept::<serde_json::Value>(activate).await.map(drop)
        };
        let mut given = stream::iter(tokens.into_iter().map(give)).buffer_unordered(CONCURRENT_REGISTRATIONS);
        while given.try_next().await?.is_some() {}
        Ok(())
    }

    async fn register_one(&self, username: &str) -> anyhow::Result<Account> {
        let password = format!("{:016x}-{:016x}", random_word(), random_word());
        let grant = self.post("/api/v1/users", &Credentials { username, password: &password }).await?;
        let user = grant.user.context("the answer to a registration names no user")?;
        Ok(Account {
            id: user.id,
            renew_at: renewal_time(grant.expires_in),
            access_token: grant.access_token,
            refresh_token: grant.refresh_token,
        })
    }

    /// Posts until the server no longer says "later".
    async fn post(&self, path: &str, body: &impl Serialize) -> anyhow::Result<Grant> {
        loop {
            let response = self.http.post(format!("{}{path}", self.base_url())).json(body).send().await?;
            let status = response.status();
            if status == StatusCode::TOO_MANY_REQUESTS {
                tokio::time::sleep(retry_after(response.headers()).unwrap_or(DEFAULT_RETRY_AFTER)).await;
            } else if status.is_success() {
                return response.json().await.with_context(|| format!("the answer to POST {path}"));
            } else {
                bail!("POST {path} was answered by {status}: {}", response.text().await.unwrap_or_default());
            }
        }
    }
}

/// Sends a request that must be answered by success.
async fn accept<T: serde::de::DeserializeOwned>(request: reqwest::RequestBuilder) -> anyhow::Result<T> {
    let response = request.send().await?;
    let status = response.status();
    if !status.is_success() {
        bail!("a script was answered by {status}: {}", response.text().await.unwrap_or_default());
    }
    response.json().await.context("the answer about a script")
}

/// What the server says about when to come again.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    Some(Duration::from_secs(headers.get("Retry-After")?.to_str().ok()?.trim().parse().ok()?))
}

/// Tokens are renewed after two thirds of their life.
fn renewal_time(expires_in: u64) -> Instant {
    Instant::now() + Duration::from_secs(expires_in) * 2 / 3
}

/// A number that differs from run to run; nothing secret hangs on it that outlives a bench.
fn random_word() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
