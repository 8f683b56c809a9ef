//! Jolie in a whole server, over HTTP as its users have it.

use std::time::Duration;

use serde_json::{Value, json};

use super::home;
use super::lives::{gone, processes_of};
use crate::app::{Account, PATIENCE, Reply, TestApp, reply};

const INCOMING: &str = r#"include "console.iol"
include "json_utils.iol"
include "string_utils.iol"

main {
  getJsonValue@JsonUtils( args[0] )( message );
  println@Console( "from " + message.senderID )();
  contains@StringUtils( message.messageBody { .substring = "unsubscribe" } )( unwanted );
  if ( unwanted ) {
    result.action = "drop"
  } else {
    result.action = "forward";
    result.reply.to = message.senderID;
    result.reply.message = "Got: " + message.messageBody
  };
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
"#;
const OUTGOING: &str = r#"include "console.iol"
include "json_utils.iol"

main {
  getJsonValue@JsonUtils( args[0] )( message );
  result.messageBody = message.messageBody + " -- sent by my script";
  getJsonString@JsonUtils( result )( json );
  println@Console( json )()
}
"#;

/// A server with the interpreter, patient where processors are short.
async fn with_jolie(settings: &[(&str, &str)]) -> TestApp {
    let home = format!("{:?}", home().to_str().unwrap());
    let patient = [("scripts.jolie.wall_ms", "60000"), ("scripts.wait_ms", "60000")];
    let all = [("scripts.jolie.home", home.as_str()), patient[0], patient[1]];
    TestApp::with(&[&all, settings].concat()).await
}

async fn upload(app: &TestApp, of: &Account, direction: &str, source: &str) -> Reply {
    let request = app.request(reqwest::Method::POST, &format!("users/me/scripts/{direction}"), Some(of));
    reply(request.header("content-type", "text/x-jolie").body(source.to_owned())).await
}

async fn activate(app: &TestApp, of: &Account, direction: &str, source: &str) {
    let uploaded = upload(app, of, direction, source).await.assert(201);
    let version = json!({"version": uploaded.json["version"]});
    app.post(&format!("users/me/scripts/{direction}/activate"), Some(of), &version).await.assert(200);
}

/// The texts of an inbox, when there are so many.
async fn inbox(app: &TestApp, of: &Account, count: usize) -> Vec<String> {
    let messages = app.inbox(of, count).await;
    messages.iter().map(|message| message["messageBody"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_chat_with_scripts_in_both_directions() {
    let app = with_jolie(&[]).await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    activate(&app, &ada, "outgoing", OUTGOING).await;
    activate(&app, &bob, "incoming", INCOMING).await;
    let send = async |body: &str| {
        let message = json!({"messageBody": body, "recipientIds": [bob.id]});
        app.post("messages", Some(&ada), &message).await.assert(202);
    };
    send("Lunch?").await;
    let (edited, answer) = ("Lunch? -- sent by my script", "Got: Lunch? -- sent by my script");
    assert_eq!(inbox(&app, &ada, 2).await, [edited, answer]);
    assert_eq!(inbox(&app, &bob, 2).await, [edited, answer]);
    send("click to unsubscribe").await;
    assert_eq!(inbox(&app, &ada, 3).await.len(), 3);
    assert_eq!(inbox(&app, &bob, 2).await.len(), 2, "it was dropped");
    assert_eq!(crate::scripts::log(&app, &bob, "incoming", "drop", 1).await.len(), 1);
    let log = app.get("users/me/scripts/incoming/log", &bob).await.assert(200).items();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log.iter().all(|entry| entry["prints"] == json!([format!("from {}", ada.id)])), "{log:?}");
    assert_eq!((&log[0]["verdict"], &log[1]["verdict"]), (&json!("drop"), &json!("forward")));
    let version = app.get("users/me/scripts/incoming/versions/1", &bob).await.assert(200).json;
    assert_eq!(version["language"], "jolie");
}

#[tokio::test]
async fn a_source_that_does_not_compile_is_refused_with_its_place_and_a_draft_can_be_tried() {
    let app = with_jolie(&[]).await;
    let ada = app.register("ada").await;
    for (source, line, column, words) in [
        ("main {\n  x = \n}", 3, 1, "expected expression"),
        ("main {\n  hello@Nobody()()\n}", 2, 9, "Nobody is not a valid output port"),
        ("include \"nonsense.iol\"\nmain { x = 1 }", 1, 10, "nonsense.iol"),
        ("define other { x = 1 }", 1, 1, "Main procedure"),
    ] {
        let refused = upload(&app, &ada, "incoming", source).await.assert(422).json;
        assert_eq!(refused["code"], "script_does_not_compile", "{refused}");
        assert_eq!((&refused["line"], &refused["column"]), (&json!(line), &json!(column)), "{source}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(words), "{refused}");
    }
    let messages: Vec<Value> = ["hello", "unsubscribe"].map(|body| json!({"messageBody": body})).into();
    let draft = json!({"source": INCOMING, "language": "jolie", "messages": messages});
    let tried = app.post("users/me/scripts/incoming/try", Some(&ada), &draft).await.assert(200).json;
    let verdicts: Vec<&Value> = tried["results"].as_array().unwrap().iter().map(|tried| &tried["verdict"]).collect();
    assert_eq!(verdicts, [&json!("forward"), &json!("drop")], "{tried}");
}

#[tokio::test]
async fn without_an_interpreter_an_upload_says_so_in_one_sentence_and_nothing_else_is_missed() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let refused = upload(&app, &ada, "incoming", INCOMING).await.assert(501).json;
    assert_eq!(refused["code"], "language_unavailable");
    assert!(refused["detail"].as_str().unwrap().contains("make jolie"), "{refused}");
    let luau = "function incoming() return { action = 'FORWARD' } end";
    assert_eq!(crate::scripts::activate(&app, &ada, "incoming", luau).await, 1);
}

#[tokio::test]
async fn a_script_that_fails_over_and_over_is_switched_off() {
    let app = with_jolie(&[("scripts.max_failures", "3")]).await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    activate(&app, &bob, "incoming", "main { throw( Oh ) }").await;
    for n in 0..4 {
        let message = json!({"messageBody": format!("hello {n}"), "recipientIds": [bob.id]});
        app.post("messages", Some(&ada), &message).await.assert(202);
    }
    assert_eq!(inbox(&app, &bob, 4).await.len(), 4, "each goes on as it was");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let script = app.get("users/me/scripts", &bob).await.assert(200).json["incoming"].clone();
        if script["switchedOff"].as_str().is_some_and(|why| why.starts_with("failing")) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{script}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_runs_takes_its_interpreters_with_it() {
    let mut app = with_jolie(&[("scripts.jolie.memory_mib", "132"), ("scripts.jolie.wall_ms", "2000")]).await;
    let [ada, bob] = [app.register("ada").await, app.register("bob").await];
    activate(&app, &bob, "incoming", "main { linkIn( never ) }").await;
    activate(&app, &ada, "outgoing", "main { while( true ) { i++ } }").await;
    for (from, to) in [(&ada, &bob), (&bob, &ada)] {
        let message = json!({"messageBody": "hello", "recipientIds": [to.id]});
        app.post("messages", Some(from), &message).await.assert(202);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = processes_of(app.process().pid(), 132);
    assert!(before.iter().any(|(_, java)| !java.is_empty()), "{before:?}");
    app.kill9().await;
    for (worker, java) in before {
        gone(worker).await;
        for java in java {
            gone(java).await;
        }
    }
}
