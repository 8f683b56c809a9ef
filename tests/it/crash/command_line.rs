//! `parlor user` beside a running server under load: what it does takes effect, and disturbs nobody.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

use super::load::{Habits, Load};
use super::server::{Home, Server, user};

/// `parlor user` of the folder, while this test's clients go on; what it printed.
async fn run(data: &Path, arguments: &[&str], password: &str) -> String {
    let (data, password) = (data.to_owned(), password.to_owned());
    let owned: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let work = move || user(&data, &owned.iter().map(String::as_str).collect::<Vec<_>>(), &password);
    let output = tokio::task::spawn_blocking(work).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn login(server: &Server, name: &str, password: &str) -> (u16, Value) {
    let credentials = json!({"username": name, "password": password});
    let answer = reqwest::Client::new().post(server.url("/login")).json(&credentials).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn me(server: &Server, token: &str) -> (u16, Value) {
    let answer = reqwest::Client::new().get(server.url("/me")).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Opens a socket; resolves with the code with which it is closed.
async fn closed(server: &Server, token: &str) -> tokio::task::JoinHandle<u16> {
    let uri = format!("ws://{}/ws", server.address).parse().unwrap();
    let request = ClientRequestBuilder::new(uri)
        .with_header("Authorization", format!("Bearer {token}"))
        .with_sub_protocol("parlor.v1");
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Text(_)))), "welcome");
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(Some(frame)) = message {
                return frame.code.into();
            }
        }
        0
    })
}

#[tokio::test]
async fn accounts_are_looked_after_while_the_server_is_under_load() {
    let home = Home::new();
    let server = home.start().await;
    let data = &home.data;
    let mut load = Load::start(&server, 4, Habits::default(), 7).await;
    load.until_accepted(50).await;

    run(data, &["add", "ada", "--password-stdin", "--role", "admin"], "correct horse").await;
    run(data, &["add", "grace", "--password-stdin"], "correct horse").await;
    let (status, grant) = login(&server, "grace", "correct horse").await;
    assert_eq!(status, 200);
    let token = grant["accessToken"].as_str().unwrap();
    assert_eq!(me(&server, token).await.1["role"], "user");

    run(data, &["promote", "grace"], "").await;
    assert_eq!(me(&server, token).await.1["role"], "admin");

    let end = closed(&server, token).await;
    let begun = Instant::now();
    run(data, &["passwd", "grace", "--password-stdin"], "battery staple").await;
    assert_eq!(end.await.unwrap(), 4401);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(login(&server, "grace", "correct horse").await.0, 401);
    let (status, grant) = login(&server, "grace", "battery staple").await;
    assert_eq!(status, 200);
    assert_eq!(me(&server, token).await.0, 401, "the old login has ended");

    let token = grant["accessToken"].as_str().unwrap();
    let end = closed(&server, token).await;
    run(data, &["disable", "grace"], "").await;
    assert_eq!(end.await.unwrap(), 4401);
    assert_eq!(login(&server, "grace", "battery staple").await.0, 403);
    assert_ne!(me(&server, token).await.0, 200);
    run(data, &["enable", "grace"], "").await;
    assert_eq!(login(&server, "grace", "battery staple").await.0, 200);

    let listed = run(data, &["list"], "").await;
    for name in ["ada", "grace", "user0", "user3"] {
        assert!(listed.lines().any(|line| line.ends_with(&format!(" {name}"))), "{name}: {listed}");
    }
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    server.stop().await;
}

#[tokio::test]
async fn many_accounts_made_at_once_beside_a_server_under_load_are_all_there() {
    let home = Home::new();
    let server = home.start().await;
    let mut load = Load::start(&server, 4, Habits { rate: 400, ..Habits::default() }, 8).await;
    load.until_accepted(50).await;
    let mut running = Vec::new();
    for number in 0..12 {
        let data = home.data.clone();
        running.push(tokio::spawn(async move {
            run(&data, &["add", &format!("new{number}"), "--password-stdin"], "correct horse").await;
        }));
    }
    for one in running {
        one.await.unwrap();
    }
    let listed = run(&home.data, &["list", "--search", "new"], "").await;
    assert_eq!(listed.lines().count(), 13, "{listed}");
    assert_eq!(load.settle(&server).await, []);
    server.stop().await;
}
