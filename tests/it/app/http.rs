//! Requests under `/api/v1`, and what is to be said of every answer.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{Account, TestApp};

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null when the body is no JSON.
    pub(crate) json: Value,
}

impl Reply {
    /// Fails the test unless the status is this one.
    #[track_caller]
    pub(crate) fn assert(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.text, self.headers);
        self
    }

    /// Fails the test unless this is a problem document (RFC 9457) of this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(self, status: u16, code: &str) -> Self {
        let reply = self.assert(status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{}", reply.text);
        assert_eq!(reply.json["code"], code, "{}", reply.text);
        assert_eq!(reply.json["status"], status, "{}", reply.text);
        assert_eq!(reply.json["type"], "about:blank", "{}", reply.text);
        for field in ["title", "detail"] {
            assert!(reply.json[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {}", reply.text);
        }
        reply
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.json["items"].as_array().unwrap_or_else(|| panic!("no list: {}", self.text)).clone()
    }

    /// The login that the answer grants.
    pub(crate) fn account(&self) -> Account {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no login: {}", self.text)).to_owned();
        Account {
            id: self.json["user"]["id"].as_i64().unwrap(),
            access_token: text(&self.json["accessToken"]),
            refresh_token: text(&self.json["refreshToken"]),
        }
    }
}

impl TestApp {
    /// A request to `/api/v1/PATH`, or to PATH if that begins with `/`.
    pub(crate) fn request(&self, method: Method, path: &str, by: Option<&Account>) -> RequestBuilder {
        let root = if path.starts_with('/') { "" } else { "/api/v1/" };
        let request = self.client.request(method, format!("{}{root}{path}", self.url));
        match by {
            Some(account) => request.bearer_auth(&account.access_token),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str, by: &Account) -> Reply {
        reply(self.request(Method::GET, path, Some(by))).await
    }

    pub(crate) async fn get_url(&self, url: &str) -> Reply {
        reply(self.client.get(url)).await
    }

    pub(crate) async fn post(&self, path: &str, by: Option<&Account>, body: &Value) -> Reply {
        reply(self.request(Method::POST, path, by).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, by: &Account, body: &Value) -> Reply {
        reply(self.request(Method::PUT, path, Some(by)).json(body)).await
    }

    /// Sends a message by HTTP and says its uid.
    pub(crate) async fn send(&self, by: &Account, to: &[&Account], body: &str) -> String {
        let ids: Vec<i64> = to.iter().map(|account| account.id).collect();
        let message = serde_json::json!({"messageBody": body, "recipientIds": ids});
        let accepted = self.post("messages", Some(by), &message).await.assert(202);
        accepted.json["messageUid"].as_str().unwrap().to_owned()
    }

    /// Waits until somebody's inbox has this many messages and says all of them, page by page.
    pub(crate) async fn inbox(&self, of: &Account, count: usize) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + super::PATIENCE;
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = self.get(&format!("inbox?after={after}&limit=100"), of).await.assert(200);
            let items = page.items();
            after = items.last().map_or(after, |last| last["seq"].as_i64().unwrap());
            all.extend(items);
            if !page.json["next"].is_null() {
                continue;
            }
            if all.len() >= count {
                return all;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} of {count} messages: {all:?}", all.len());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Sends a request and reads the answer.
pub(crate) async fn reply(request: RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let json = serde_json::from_str(&text).unwrap_or_default();
    Reply { status, headers, text, json }
}
