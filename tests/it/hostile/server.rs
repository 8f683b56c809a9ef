//! The same scripts in a whole server: the message they see arrives, their owner's log says what came of it, and
//! everybody else chats on.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Case, all};
use crate::app::{Account, PATIENCE, TestApp, reply};

/// Cases of one owner: of so many runs even those that change nothing are logged.
const CASES_OF_ONE: usize = 15;
/// The case that answers people who take no part in the conversation.
const STRANGERS: &str = "135-reply-to-strangers";
/// Resident memory of the server and all its workers after all of it.
const RESIDENT_BYTES: u64 = 512 * 1024 * 1024;

const ANSWER: &str =
    "function incoming(m)\n  return { action = 'FORWARD', reply = { { to = m.senderId, message = 'here' } } }\nend";

/// Uploads and activates; `false`: the source was refused.
async fn activate(app: &TestApp, owner: &Account, case: &Case) -> bool {
    let path = format!("users/me/scripts/{}", case.direction);
    let request = app.request(reqwest::Method::POST, &path, Some(owner));
    let uploaded = reply(request.header("content-type", "text/x-luau").body(case.source.clone())).await;
    if uploaded.status != 201 {
        // No text (400), too long a one (413), or no script.
        assert!([400, 413, 422].contains(&uploaded.status), "{}: {}", case.name, uploaded.text);
        return false;
    }
    let version = json!({"version": uploaded.json["version"]});
    app.post(&format!("{path}/activate"), Some(owner), &version).await.assert(200);
    true
}

async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the message stands in an inbox, behind `after`, or in the filtered list; says up to where it was read.
async fn arrived(app: &TestApp, reader: &Account, case: &Case, uid: &str, mut after: i64) -> i64 {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let page = app.get(&format!("inbox?after={after}&limit=100"), reader).await.assert(200).items();
        after = page.last().map_or(after, |last| last["seq"].as_i64().unwrap());
        let filtered = app.get("filtered?limit=10", reader).await.assert(200).items();
        if page.iter().chain(&filtered).any(|message| message["messageUid"] == uid) {
            return after;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}: its message did not arrive", case.name);
        tokio::time::sleep(Duration::from_millis(if page.len() < 100 { 20 } else { 0 })).await;
    }
}

/// What the owner's log says about the message.
async fn logged(app: &TestApp, owner: &Account, case: &Case, uid: &str) -> Value {
    let path = format!("users/me/scripts/{}/log?limit=20", case.direction);
    until(&format!("{}: nothing in the log", case.name), async || {
        let entries = app.get(&path, owner).await.assert(200).items();
        entries.into_iter().find(|entry| entry["messageUid"] == uid && entry["verdict"] != "switched_off")
    })
    .await
}

#[tokio::test]
async fn each_of_them_costs_its_message_nothing_and_its_owner_reads_why() {
    let app = TestApp::with(&[
        ("scripts.requests_per_minute", "10000"),
        ("scripts.max_failures", "10000"),
        ("scripts.budget_cpu_ms", "3600000"),
        ("session.message_burst", "10000"),
    ])
    .await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    crate::scripts::activate(&app, &bob, "incoming", ANSWER).await;
    let (mut eve, mut of_ada, mut of_eve, mut answers) = (app.register("eve0").await, 0, 0, 0);
    let mut objections = Vec::new();
    for (n, case) in all().iter().enumerate() {
        if n > 0 && n % CASES_OF_ONE == 0 {
            (eve, of_eve) = (app.register(&format!("eve{n}")).await, 0);
        }
        if activate(&app, &eve, case).await {
            let incoming = case.direction.name() == "incoming";
            let (from, to) = if incoming { (&ada, &eve) } else { (&eve, &ada) };
            let uid = app.send(from, &[to], &case.body).await;
            let read = if incoming { &mut of_eve } else { &mut of_ada };
            *read = arrived(&app, to, case, &uid, *read).await;
            let entry = logged(&app, &eve, case, &uid).await;
            let came_to = entry["reason"].as_str().or(entry["verdict"].as_str()).unwrap().to_owned();
            // Whom it may answer the worker does not know: the server does.
            let fits = if case.name == STRANGERS { came_to == "bad_result" } else { case.kinds.contains(&came_to) };
            if !fits {
                objections.push(format!("{}: expected {:?}, the log says {entry}", case.name, case.kinds));
            }
            app.post(&format!("users/me/scripts/{}/disable", case.direction), Some(&eve), &json!({})).await.assert(200);
        } else if !case.kinds.iter().any(|kind| kind != "forward" && kind != "drop") {
            objections.push(format!("{}: was refused", case.name));
        }
        // Somebody else, in the meantime.
        app.send(&ada, &[&bob], &case.name).await;
        answers += 1;
    }
    until("somebody else's answers", async || {
        let stats = app.get("users/me/scripts", &bob).await.assert(200).json["incoming"]["stats"].clone();
        assert_eq!(stats["failed"], 0, "{stats}");
        (stats["replies"] == answers).then_some(())
    })
    .await;
    assert!(objections.is_empty(), "{}", objections.join("\n"));
    let resident = app.process().family_memory();
    assert!(resident < RESIDENT_BYTES, "{resident} bytes afterwards");
}
