//! The Big List of Naughty Strings, and worse, through every way in and every way out.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::app::{PASSWORD, TestApp, cache, finish, parlor, send_frame};

/// All strings of the list, and what it leaves out: control characters, halves of surrogates are no text.
fn strings() -> Vec<String> {
    let path = cache().join("node/node_modules/big-list-of-naughty-strings/blns.json");
    let mut all: Vec<String> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(all.len() > 400, "{}", all.len());
    all.extend((0..0x20).filter_map(char::from_u32).map(|c| format!("a{c}b")));
    all.extend((0x7f..0xa0).filter_map(char::from_u32).map(|c| format!("a{c}b")));
    all.extend(
        ["\u{0}", "\u{10ffff}", "\u{fdd0}\u{fffe}", "\r\n\r\n", "\u{2028}\u{2029}", "\\u0000", "\u{1b}]0;x\u{7}"]
            .map(str::to_owned),
    );
    all
}

fn bodies(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["messageBody"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_string_arrives_byte_for_byte_by_socket_by_http_stored_and_paged() {
    let app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let strings = strings();
    let mut from = app.socket(&ada).await;
    let mut to = app.socket(&bob).await;
    for (n, text) in strings.iter().enumerate() {
        if n % 2 == 0 {
            from.accepted(send_frame(&[&bob], text, &n.to_string())).await;
        } else {
            app.send(&ada, &[&bob], text).await;
        }
    }
    assert_eq!(bodies(&to.messages(strings.len()).await), strings, "live");
    assert_eq!(bodies(&app.inbox(&bob, strings.len()).await), strings, "stored and paged");
    assert_eq!(bodies(&app.socket_after(&bob, 0).await.messages(strings.len()).await), strings, "resumed");
    let id = app.get("conversations", &bob).await.items()[0]["conversationId"].as_str().unwrap().to_owned();
    let (mut got, mut next) = (Vec::new(), Some(String::new()));
    while let Some(before) = next {
        let page = app.get(&format!("conversations/{id}/messages?limit=100{before}"), &ada).await.assert(200);
        got.extend(page.items());
        next = page.json["next"].as_str().map(|seq| format!("&before={seq}"));
    }
    got.reverse();
    assert_eq!(bodies(&got), strings, "the conversation");
}

#[tokio::test]
async fn every_string_may_name_a_message_and_be_searched_for() {
    let app = TestApp::with(&[("session.message_burst", "100000"), ("session.other_frames_burst", "100000")]).await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    let mut names: HashMap<String, String> = HashMap::new();
    let strings = strings();
    for text in strings.iter().filter(|text| (1..=128).contains(&text.len())) {
        let uid = socket.accepted(send_frame(&[&ada], "x", text)).await;
        assert_eq!(*names.entry(text.clone()).or_insert_with(|| uid.clone()), uid);
    }
    let uids: std::collections::HashSet<&String> = names.values().collect();
    assert_eq!(uids.len(), names.len(), "two names, two messages");
    for text in &strings {
        // As a frame, as a frame's type, and as a name to look for: never an error of the server's.
        socket.send_text(text).await;
        socket.send(json!({"type": text})).await;
        for _ in 0..2 {
            let code = socket.expect("error").await["code"].as_str().unwrap().to_owned();
            assert!(["malformed_frame", "missing_field", "unknown_frame"].contains(&code.as_str()), "{text:?}: {code}");
        }
        let mut url = reqwest::Url::parse(&format!("{}/api/v1/users", app.url)).unwrap();
        url.query_pairs_mut().append_pair("search", text);
        let path = format!("{}?{}", url.path(), url.query().unwrap());
        app.get(&path, &ada).await.assert(200);
    }
    socket.assert_alive().await;
}

#[tokio::test]
async fn no_string_becomes_an_account_that_was_not_meant() {
    let app = TestApp::with(&[("accounts.limits.registrations_per_address", "{ attempts = 5000, seconds = 1 }")]).await;
    for text in strings() {
        let fine = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !fine {
            let reply = app.post("users", None, &json!({"username": text, "password": PASSWORD})).await;
            assert!([201, 422].contains(&reply.status), "{text:?}: {}", reply.text);
            let ok = reply.status == 422 || text.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
            assert!(ok, "{text:?}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn the_terminal_client_shows_every_string_without_a_control_character() {
    let app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let strings = strings();
    for text in &strings {
        app.send(&ada, &[&bob], text).await;
    }
    app.inbox(&bob, strings.len()).await;
    // The newest hundred, as history; all of them, as frames.
    for (args, input) in [(&["--with", "ada"][..], "/history 100\n"), (&["--json"][..], "")] {
        let mut command = parlor();
        command.args(["chat", "--as", "bob", "--url", &app.url]).args(args).env("PARLOR_PASSWORD", PASSWORD);
        let done = finish(command, input).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        harmless(&done.out);
        harmless(&done.err);
    }
    // Live, while they come.
    let mut command = parlor();
    command.args(["chat", "--as", "bob", "--url", &app.url, "--with", "ada"]).env("PARLOR_PASSWORD", PASSWORD);
    let chat = crate::app::Process::start(command);
    app.until_metric("parlor_sessions", crate::app::PATIENCE, |sessions| sessions >= 1.0).await;
    for text in &strings {
        app.send(&ada, &[&bob], text).await;
    }
    app.send(&ada, &[&bob], "that was all").await;
    wait_for(&chat, "that was all").await;
    chat.end_input();
    assert_eq!(chat.exited(crate::app::PATIENCE).await.code(), Some(0));
    let out = chat.out();
    assert!(out.len() >= strings.len(), "{} lines", out.len());
    out.iter().for_each(|line| harmless(line));
}

async fn wait_for(chat: &crate::app::Process, end: &str) {
    let deadline = tokio::time::Instant::now() + crate::app::PATIENCE;
    while !chat.out().iter().any(|line| line.ends_with(end)) {
        assert!(tokio::time::Instant::now() < deadline, "{:#?}", chat.out().last());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn harmless(text: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    let found = text.lines().find(|line| line.contains(bad));
    assert!(found.is_none(), "{found:?}");
}
