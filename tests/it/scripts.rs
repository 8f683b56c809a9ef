//! Scripts as the people who chat meet them: what they do to messages, what they may not do, and what becomes of those
//! that misbehave. The interpreter's own limits are in `hostile.rs`, the interface for looking after scripts in `http/`.

use serde_json::{Value, json};

use crate::app::{Account, TestApp};

mod attacks;
mod chaos;
mod effects;
mod kills;
mod misbehaviour;

/// Uploads a script for incoming or outgoing messages and activates it; returns its version.
pub(crate) async fn activate(app: &TestApp, of: &Account, direction: &str, source: &str) -> i64 {
    let version = upload(app, of, direction, source).await;
    let path = format!("users/me/scripts/{direction}/activate");
    app.post(&path, Some(of), &json!({"version": version})).await.assert(200);
    version
}

/// Uploads a script; returns its version.
pub(crate) async fn upload(app: &TestApp, of: &Account, direction: &str, source: &str) -> i64 {
    let path = format!("users/me/scripts/{direction}");
    let request = app.request(reqwest::Method::POST, &path, Some(of));
    let request = request.header("content-type", "text/x-luau").body(source.to_owned());
    let reply = crate::app::reply(request).await.assert(201);
    reply.json["version"].as_i64().unwrap()
}

/// An incoming script that answers the sender with `text`.
fn answering(text: &str) -> String {
    format!(
        "function incoming(message)\n  return {{ action = 'FORWARD', reply = {{ {{ to = message.senderId, message = \
         {text:?} }} }} }}\nend"
    )
}

/// The entries of a script's log with this verdict, newest first, when there are so many.
pub(crate) async fn log(app: &TestApp, of: &Account, direction: &str, verdict: &str, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + crate::app::PATIENCE;
    loop {
        let reply = app.get(&format!("users/me/scripts/{direction}/log?limit=100"), of).await.assert(200);
        let found: Vec<Value> = reply.items().into_iter().filter(|entry| entry["verdict"] == verdict).collect();
        // It is written a little later than the message.
        if found.len() >= count || tokio::time::Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["messageBody"].as_str().unwrap()).collect()
}
