//! Scripts that fail, hang, crash or lie: the message arrives, the owner is told, everybody else goes on.

use std::time::Duration;

use serde_json::json;

use super::{activate, answering, bodies, log, upload};
use crate::app::{Account, PATIENCE, TestApp, send_frame};

/// What a failing script may look like, and what its owner hears.
const FAILING: &[(&str, &str, &str)] = &[
    ("an error", "function incoming(m)\n  error('no')\nend", "error"),
    ("a wrong field", "function incoming(m)\n  return { action = m.nothing.more }\nend", "error"),
    ("no result", "function incoming(m)\nend", "bad_result"),
    ("another action", "function incoming(m)\n  return { action = 'MAYBE' }\nend", "bad_result"),
    (
        "another's mail",
        "function incoming(m)\n  return { action = 'FORWARD', reply = { { to = 999999, message = 'hi' } } }\nend",
        "bad_result",
    ),
    (
        "a word to oneself",
        "function incoming(m)\n  return { action = 'DROP', reply = { { to = m.ownId, message = 'hi' } } }\nend",
        "bad_result",
    ),
    ("endless", "function incoming(m)\n  while true do end\nend", "cpu_limit"),
    (
        "endless and careful",
        "function incoming(m)\n  while true do pcall(function() while true do end end) end\nend",
        "cpu_limit",
    ),
    (
        "greedy",
        "function incoming(m)\n  local t = {}\n  while true do t[#t + 1] = string.rep('x', 100000) .. #t end\nend",
        "heap_limit",
    ),
];

#[tokio::test]
async fn a_script_that_fails_costs_its_owners_message_nothing_and_its_owner_is_told_why() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut bob_socket = app.socket(&bob).await;
    for (n, (what, source, reason)) in FAILING.iter().enumerate() {
        let version = activate(&app, &bob, "incoming", source).await;
        let uid = app.send(&ada, &[&bob], what).await;
        let told = bob_socket.expect("scriptFailed").await;
        assert_eq!(told["reason"], *reason, "{what}: {told}");
        assert_eq!((&told["direction"], &told["version"]), (&json!("incoming"), &json!(version)), "{what}");
        assert_eq!(told["messageUid"], uid, "{what}");
        assert_eq!(bodies(&app.inbox(&bob, n + 1).await)[n], *what);
        assert_eq!(app.inbox(&ada, n + 1).await.len(), n + 1, "{what}: nothing was sent to the sender");
    }
    let entries = log(&app, &bob, "incoming", "failed", FAILING.len()).await;
    assert_eq!(entries.len(), FAILING.len());
    for (entry, (what, _, reason)) in entries.iter().rev().zip(FAILING) {
        assert_eq!(entry["reason"], *reason, "{what}: {entry}");
    }
    assert_eq!(entries[FAILING.len() - 1]["line"], 2, "{}", entries[FAILING.len() - 1]);
}

#[tokio::test]
async fn a_script_that_fails_over_and_over_is_switched_off_and_can_be_switched_on_again() {
    let app = TestApp::with(&[("scripts.max_failures", "3")]).await;
    let (ada, bob, root) = (app.register("ada").await, app.register("bob").await, app.admin("root").await);
    let version = activate(&app, &bob, "incoming", "function incoming(m)\n  error('always')\nend").await;
    let mut bob_socket = app.socket(&bob).await;
    for n in 0..3 {
        app.send(&ada, &[&bob], &n.to_string()).await;
        assert_eq!(bob_socket.expect("scriptFailed").await["reason"], "error");
    }
    let told = bob_socket.expect("scriptFailed").await;
    assert_eq!(told["reason"], "switched_off");
    assert!(told["detail"].as_str().unwrap().contains("3 times"), "{told}");
    let off = async || {
        let scripts = app.get("users/me/scripts", &bob).await.assert(200);
        (scripts.json["incoming"]["activeVersion"].clone(), scripts.json["incoming"]["switchedOff"].clone())
    };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while off().await.1.is_null() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (active, reason) = off().await;
    assert!(active.is_null() && reason.as_str().unwrap().contains("failing"), "{active} {reason}");
    let listed = app.get("admin/scripts/switched-off", &root).await.assert(200);
    assert_eq!(listed.items()[0]["userId"], bob.id, "{}", listed.json);
    app.send(&ada, &[&bob], "quiet now").await;
    assert_eq!(app.inbox(&bob, 4).await.len(), 4);
    bob_socket.expect_none("scriptFailed", Duration::from_millis(200)).await;
    // Its owner takes it up again, and so may an administrator.
    let path = format!("users/{}/scripts/incoming/activate", bob.id);
    app.post(&path, Some(&root), &json!({"version": version})).await.assert(200);
    app.send(&ada, &[&bob], "again").await;
    assert_eq!(bob_socket.expect("scriptFailed").await["reason"], "error");
    assert!(off().await.1.is_null());
}

#[tokio::test]
async fn a_script_over_its_budget_of_processor_time_is_switched_off_although_no_run_fails() {
    let settings = [("scripts.budget_cpu_ms", "100"), ("scripts.cpu_ms", "500"), ("scripts.wall_ms", "2000")];
    let app = TestApp::with(&settings).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let busy = "function outgoing(m)\n  for i = 1, 3000000 do local _ = i % 7 end\n  return { messageBody = m.messageBody }\nend";
    activate(&app, &ada, "outgoing", busy).await;
    let mut ada_socket = app.socket(&ada).await;
    for n in 0..40 {
        ada_socket.accepted(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    let told = ada_socket.expect("scriptFailed").await;
    assert_eq!(told["reason"], "switched_off", "{told}");
    assert!(told["detail"].as_str().unwrap().contains("processor time"), "{told}");
    let came = app.inbox(&bob, 40).await;
    assert_eq!(bodies(&came), (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Hangs its worker in a C function that no interrupt reaches.
const HANGING: &str = "function incoming(m)\n  local a = string.rep('a', 2000000)\n  while true do \
                       a:find(string.rep('a', 1000000) .. 'b', 1, true) end\nend";

#[tokio::test]
async fn a_script_that_hangs_its_worker_is_told_isolated_and_then_switched_off_while_others_go_on() {
    let app = TestApp::with(&[("scripts.wall_ms", "400")]).await;
    let (ada, bob, eve) = (app.register("ada").await, app.register("bob").await, app.register("eve").await);
    activate(&app, &bob, "incoming", &answering("here")).await;
    activate(&app, &eve, "incoming", HANGING).await;
    let (mut eve_socket, mut ada_socket) = (app.socket(&eve).await, app.socket(&ada).await);
    app.send(&bob, &[&eve], "one").await;
    for n in 0..20 {
        ada_socket.accepted(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    let answers = app.inbox(&ada, 40).await;
    assert_eq!(answers.iter().filter(|message| message["messageBody"] == "here").count(), 20);
    assert_eq!(eve_socket.expect("scriptFailed").await["reason"], "worker_killed");
    app.send(&bob, &[&eve], "two").await;
    let mut reasons = Vec::new();
    for _ in 0..2 {
        reasons.push(eve_socket.expect("scriptFailed").await["reason"].as_str().unwrap().to_owned());
    }
    assert_eq!(reasons, ["worker_killed", "switched_off"]);
    assert_eq!(bodies(&app.inbox(&eve, 2).await), ["one", "two"]);
}

#[tokio::test]
async fn while_one_users_scripts_spin_and_flood_everybody_elses_messages_arrive() {
    // Never switched off, so that it goes on for the whole test.
    let settings = [("scripts.max_failures", "10000"), ("scripts.budget_cpu_ms", "3600000"), ("scripts.waiting", "16")];
    let app = TestApp::with(&settings).await;
    let (ada, bob, eve) = (app.register("ada").await, app.register("bob").await, app.register("eve").await);
    activate(&app, &bob, "incoming", &answering("here")).await;
    activate(&app, &eve, "outgoing", "function outgoing(m)\n  while true do end\nend").await;
    activate(&app, &eve, "incoming", "function incoming(m)\n  while true do end\nend").await;
    let (mut eve_socket, mut ada_socket) = (app.socket(&eve).await, app.socket(&ada).await);
    for n in 0..60 {
        eve_socket.accepted(send_frame(&[&eve, &bob], &format!("flood {n}"), &n.to_string())).await;
        ada_socket.accepted(send_frame(&[&eve], &format!("to the spinning one {n}"), &format!("f{n}"))).await;
    }
    let quick: Account = app.register("quick").await;
    let mut quick_socket = app.socket(&quick).await;
    let began = tokio::time::Instant::now();
    for n in 0..20 {
        quick_socket.accepted(send_frame(&[&bob], &n.to_string(), &n.to_string())).await;
    }
    let mine = app.inbox(&quick, 40).await;
    assert_eq!(mine.iter().filter(|message| message["messageBody"] == "here").count(), 20);
    assert!(began.elapsed() < Duration::from_secs(2), "waited {:?} behind a spinning script", began.elapsed());
    // And nothing of the flood is lost.
    let deadline = tokio::time::Instant::now() + PATIENCE * 3;
    loop {
        let of_eve = app.get("inbox?limit=100&after=60", &eve).await.assert(200).items().len();
        if of_eve >= 60 {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{of_eve}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_source_that_is_no_script_is_refused_with_its_place_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let bob = app.register("bob").await;
    let version = upload(&app, &bob, "incoming", "function incoming(m)\n  return { action = 'FORWARD' }\nend").await;
    assert_eq!(version, 1);
    let request = app.request(reqwest::Method::POST, "users/me/scripts/incoming", Some(&bob));
    let request = request.header("content-type", "text/x-luau").body("function incoming(m)\n  return {{\nend");
    let refused = crate::app::reply(request).await.assert_problem(422, "script_does_not_compile");
    assert_eq!(refused.json["line"], 3, "{}", refused.json);
    assert!(refused.json["column"].as_i64().unwrap() >= 1);
    let versions = app.get("users/me/scripts/incoming/versions", &bob).await.assert(200);
    assert_eq!(versions.items().len(), 1);
}
