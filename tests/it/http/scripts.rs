//! Scripts looked after over HTTP and by the command line, at a server with workers.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Account, PASSWORD, TestApp, finish, parlor, reply};

const SIGNATURE: &str = "function outgoing(message)\n  return { messageBody = message.messageBody .. MARK }\nend\n";
const ANSWER: &str = "function incoming(message)
  print(\"from \" .. message.senderId)
  if message.messageBody == \"spam\" then return { action = \"DROP\" } end
  if message.messageBody == \"boom\" then error(\"oh\") end
  return { action = \"FORWARD\", reply = { { to = message.senderId, message = \"Got it.\" } } }
end\n";

fn signature(mark: &str) -> String {
    SIGNATURE.replace("MARK", &format!("\"{mark}\""))
}

async fn upload(app: &TestApp, by: &Account, direction: &str, source: &str) -> crate::app::Reply {
    let request = app.request(Method::POST, &format!("users/me/scripts/{direction}"), Some(by));
    reply(request.header("Content-Type", "text/x-luau; charset=utf-8").body(source.to_owned())).await
}

async fn activate(app: &TestApp, by: &Account, direction: &str, version: u32) {
    let path = format!("users/me/scripts/{direction}/activate");
    let answer = app.post(&path, Some(by), &json!({"version": version})).await.assert(200);
    assert_eq!(answer.json["activeVersion"], version);
}

/// Waits for so many entries of a log.
async fn log(app: &TestApp, of: &Account, direction: &str, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let items = app.get(&format!("users/me/scripts/{direction}/log"), of).await.assert(200).items();
        if items.len() >= count || tokio::time::Instant::now() > deadline {
            assert_eq!(items.len(), count, "{items:?}");
            return items;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_next_message_after_an_activation_is_treated_by_it() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let first = upload(&app, &ada, "outgoing", &signature(" -- A")).await.assert(201);
    assert_eq!((&first.json["version"], &first.json["warnings"]), (&json!(1), &json!([])));
    let location = first.header("location").unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/users/{}/scripts/outgoing/versions/1", ada.id));
    assert_eq!(app.get(&location, &ada).await.assert(200).json["sha256"], first.json["sha256"]);
    let again = upload(&app, &ada, "outgoing", &signature(" -- A")).await.assert(200);
    assert_eq!(again.json["version"], 1, "the same source is the same version");
    upload(&app, &ada, "outgoing", &signature(" -- B")).await.assert(201);
    app.send(&ada, &[&bob], "0").await;
    // Each has arrived before the next change: one that is still on its way is treated by whatever is switched on then.
    app.inbox(&bob, 1).await;
    for (version, body, count) in [(2, "1", 2), (1, "2", 3), (2, "3", 4)] {
        activate(&app, &ada, "outgoing", version).await;
        app.send(&ada, &[&bob], body).await;
        app.inbox(&bob, count).await;
    }
    app.post("users/me/scripts/outgoing/disable", Some(&ada), &json!({})).await.assert(200);
    app.send(&ada, &[&bob], "4").await;
    let bodies: Vec<String> =
        app.inbox(&bob, 5).await.iter().map(|item| item["messageBody"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bodies, ["0", "1 -- B", "2 -- A", "3 -- B", "4"]);
    let overview = app.get("users/me/scripts", &ada).await.assert(200).json;
    assert_eq!((&overview["outgoing"]["stats"]["edited"], &overview["incoming"]), (&json!(3), &Value::Null));
}

#[tokio::test]
async fn a_source_that_does_not_compile_is_told_where_and_not_kept() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let broken = "function incoming(message)\n  if x the\nend\n";
    let refused = upload(&app, &ada, "incoming", broken).await.assert_problem(422, "script_does_not_compile");
    assert_eq!((&refused.json["line"], &refused.json["column"]), (&json!(2), &json!(8)), "{}", refused.text);
    assert_eq!(refused.json["diagnostics"][0]["severity"], "error");
    // It defines the other function.
    upload(&app, &ada, "incoming", &signature("x")).await.assert_problem(422, "script_does_not_compile");
    assert_eq!(app.get("users/me/scripts", &ada).await.assert(200).json, json!({"incoming": null, "outgoing": null}));
    let draft = json!({"source": broken, "messages": [{"messageBody": "x"}]});
    let refused = app.post("users/me/scripts/incoming/try", Some(&ada), &draft).await;
    assert_eq!(refused.assert_problem(422, "script_does_not_compile").json["line"], 2);
}

#[tokio::test]
async fn a_try_says_all_that_would_come_of_it_and_nothing_does() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    for body in ["hello", "spam", "boom"] {
        app.send(&bob, &[&ada], body).await;
    }
    app.inbox(&ada, 3).await;
    let path = "users/me/scripts/incoming/try";
    let tried = app.post(path, Some(&ada), &json!({"source": ANSWER, "last": 20})).await.assert(200).json;
    let results = tried["results"].as_array().unwrap();
    let verdicts: Vec<&str> = results.iter().map(|result| result["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["failed", "drop", "forward"], "newest first");
    assert_eq!((&results[0]["failure"]["kind"], &results[0]["failure"]["line"]), (&json!("error"), &json!(4)));
    assert_eq!(results[2]["replies"], json!([{"to": bob.id, "message": "Got it."}]));
    assert_eq!(results[2]["prints"], json!([format!("from {}", bob.id)]));
    assert!(results[2]["heapBytes"].as_u64().unwrap() > 0 && results[2]["messageUid"].is_string());
    assert_eq!((&tried["version"], &tried["warnings"]), (&Value::Null, &json!([])));
    let automatic = json!({"source": ANSWER, "messages": [{"messageBody": "x", "fromAutoReply": true}]});
    let tried = app.post(path, Some(&ada), &automatic).await.assert(200).json;
    assert_eq!(tried["results"][0]["unansweredReason"], "automatic_message");
    // A version, by default the newest; and limits are those of every run.
    upload(&app, &ada, "incoming", ANSWER).await.assert(201);
    upload(&app, &ada, "incoming", "function incoming(message) while true do end end").await.assert(201);
    let sample = json!([{"messageBody": "spam"}]);
    let old = app.post(path, Some(&ada), &json!({"version": 1, "messages": sample})).await.assert(200).json;
    assert_eq!((&old["version"], &old["results"][0]["verdict"]), (&json!(1), &json!("drop")));
    let newest = app.post(path, Some(&ada), &json!({"messages": sample})).await.assert(200).json;
    assert_eq!((&newest["version"], &newest["results"][0]["failure"]["kind"]), (&json!(2), &json!("cpu_limit")));
    // Nobody was answered, and nothing is in the log or the figures.
    assert_eq!(app.inbox(&bob, 3).await.len(), 3);
    log(&app, &ada, "incoming", 0).await;
    assert_eq!(app.get("users/me/scripts", &ada).await.assert(200).json["incoming"]["stats"]["runs"], 0);
}

#[tokio::test]
async fn the_owner_reads_what_the_script_did_and_it_outlives_a_restart() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    upload(&app, &ada, "incoming", ANSWER).await.assert(201);
    activate(&app, &ada, "incoming", 1).await;
    for body in ["hello", "boom"] {
        app.send(&bob, &[&ada], body).await;
    }
    // Told to stop at once: what was noted last is written before the tables are closed.
    app.inbox(&ada, 3).await;
    app.restart().await;
    let entries = log(&app, &ada, "incoming", 2).await;
    assert_eq!(
        (&entries[0]["verdict"], &entries[0]["reason"], &entries[0]["line"]),
        (&json!("failed"), &json!("error"), &json!(4))
    );
    assert_eq!(entries[1]["replies"], json!([{"to": bob.id, "message": "Got it."}]));
    assert_eq!(entries[1]["prints"], json!([format!("from {}", bob.id)]));
    let source = app.get("users/me/scripts/incoming/versions/1/source", &ada).await.assert(200);
    assert_eq!(source.text, ANSWER, "sources outlive it too");
}

#[tokio::test]
async fn the_command_line_does_it_all() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let file = app.scratch().join("sign.luau");
    let path = file.to_str().unwrap().to_owned();
    let run = async |args: &[&str], status: i32| {
        let mut command = parlor();
        command.arg("script").args(args).env("PARLOR_PASSWORD", PASSWORD).env("PARLOR_URL", &app.url);
        let done = finish(command, "").await;
        assert_eq!(done.code, Some(status), "{args:?}: {}{}", done.out, done.err);
        format!("{}{}", done.out, done.err)
    };
    let of = ["--direction", "outgoing", "--as", "ada"];
    let with = |args: &[&'static str]| -> Vec<&'static str> { args.iter().chain(&of).copied().collect() };
    assert!(run(&with(&["rollback"]), 1).await.contains("there never was an outgoing script"));
    for mark in ["A", "B"] {
        std::fs::write(&file, signature(mark)).unwrap();
        run(&["check", &path], 0).await;
        assert!(run(&["try", &path, "--message", "hi"], 0).await.contains(&format!("hi{mark}")));
        run(&["push", &path, "--as", "ada", "--activate"], 0).await;
    }
    assert!(run(&with(&["rollback"]), 0).await.contains("version 1 runs"));
    assert!(run(&with(&["rollback"]), 1).await.contains("no outgoing version before 1"));
    let list = run(&with(&["versions"]), 0).await;
    assert!(list.lines().nth(2).unwrap().ends_with("active"), "{list}");
    assert_eq!(run(&with(&["show"]), 0).await, signature("A"));
    assert_eq!(run(&with(&["show", "2"]), 0).await, signature("B"));
    run(&with(&["activate", "2"]), 0).await;
    assert!(run(&with(&["activate", "9"]), 1).await.contains("no version 9"));
    run(&with(&["disable"]), 0).await;
    assert_eq!(run(&with(&["log"]), 0).await, "");
    std::fs::write(&file, "function outgoing(message)\n  retrun 1\nend\n").unwrap();
    let here = run(&["check", &path], 1).await;
    assert!(here.contains("sign.luau:2:") && here.contains(" 2 |   retrun 1\n   |"), "{here}");
    let there = run(&["push", &path, "--as", "ada"], 1).await;
    assert!(there.contains("sign.luau:2:") && there.contains("nothing was uploaded"), "{there}");
    std::fs::write(&file, "function outgoing(message)\n  error('no')\nend\n").unwrap();
    assert!(run(&["try", &path, "--message", "hi"], 1).await.contains("failed (error, line 2)"));
}

#[tokio::test]
async fn workers_that_cannot_be_had_are_told_and_the_rest_works() {
    let app = TestApp::with(&[("pipeline", "[\"router\"]"), ("stages", "[\"gateway\", \"router\"]")]).await;
    let ada = app.register("ada").await;
    let refused = upload(&app, &ada, "incoming", ANSWER).await.assert_problem(503, "scripts_unavailable");
    assert!(refused.header("retry-after").is_some());
    app.get("users/me/scripts/incoming/versions", &ada).await.assert(200);
}
