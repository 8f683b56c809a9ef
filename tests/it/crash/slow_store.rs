//! Tables that another process holds: messages are accepted all the same, and delivered when it lets go.

use std::time::{Duration, Instant};

use serde_json::json;

use super::checker::Order;
use super::holder::hold;
use super::load::{Habits, Load, register};
use super::server::{Home, user};

#[tokio::test]
async fn messages_are_accepted_while_the_tables_are_locked_and_delivered_after() {
    let home = Home::new();
    let server = home.start().await;
    let mut load = Load::start(&server, 3, Habits { drop_one_in: None, ..Habits::default() }, 1).await;
    load.until_accepted(50).await;
    // Longer than the store waits for a lock, so that its failure is seen too.
    for seconds in [2, 13] {
        let holder = hold(&home.data).await;
        load.until_accepted(200).await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        load.until_accepted(200).await;
        let waiting = load.checker().counts();
        holder.release().await;
        assert!(waiting.accepted >= 400, "{waiting:?}");
    }
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    let counts = load.checker().counts();
    assert_eq!(counts.sent, counts.accepted);
    server.until_ready_says(200, Duration::from_secs(5)).await;
    server.stop().await;
}

#[tokio::test]
async fn while_the_tables_are_locked_tokens_are_good_and_a_login_waits_or_is_refused_with_the_reason() {
    let home = Home::new();
    let server = home.start().await;
    let (_, token) = register(&server, "ada").await;
    let http = reqwest::Client::new();
    let credentials = json!({"username": "ada", "password": "correct horse"});
    let holder = hold(&home.data).await;
    let answer = http.get(server.url("/me")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 200, "reading takes no lock");

    let login = tokio::spawn(http.post(server.url("/login")).json(&credentials).send());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!login.is_finished());
    let begun = Instant::now();
    let refused = login.await.unwrap().unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.json::<serde_json::Value>().await.unwrap()["code"], "unavailable");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());

    let refused = tokio::task::spawn_blocking({
        let data = home.data.clone();
        move || user(&data, &["add", "grace", "--password-stdin"], "correct horse")
    });
    let refused = refused.await.unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("busy") || said.contains("locked"), "{said}");

    let login = tokio::spawn(http.post(server.url("/login")).json(&credentials).send());
    tokio::time::sleep(Duration::from_secs(1)).await;
    holder.release().await;
    assert_eq!(login.await.unwrap().unwrap().status(), 200, "it had only to wait");
    server.stop().await;
}

#[tokio::test]
async fn a_server_whose_tables_are_locked_stops_within_its_bound_and_delivers_at_the_next_start() {
    let settings = format!("drain_limit_seconds = 2\n{}", super::server::SETTINGS);
    let home = Home::with(&settings);
    let mut server = home.start().await;
    let habits = Habits { order: Order::Strict, drop_one_in: None, ..Habits::default() };
    let mut load = Load::start(&server, 3, habits, 2).await;
    let holder = hold(&home.data).await;
    load.until_accepted(100).await;
    load.server_is(None);
    server.signal(rustix::process::Signal::TERM);
    let begun = Instant::now();
    let status = server.ended(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", home.log());
    eprintln!("stopped after {:?} with the tables locked", begun.elapsed());
    holder.release().await;
    let server = home.start().await;
    load.server_is(Some(&server));
    let violations = load.settle(&server).await;
    assert_eq!(violations, []);
    server.stop().await;
}
