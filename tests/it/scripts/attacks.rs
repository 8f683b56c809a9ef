//! What hostile users, and hostile groups of them, try by way of scripts: others are not slowed, nobody gets more than
//! their share, nobody reads what is not theirs.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{activate, answering, bodies, log, upload};
use crate::app::{Account, PATIENCE, TestApp, reply, send_frame};

/// Hangs its worker in a C function that no interrupt reaches.
const HANGING: &str = "function incoming(m)\n  local a = string.rep('a', 2000000)\n  while true do \
                       a:find(string.rep('a', 1000000) .. 'b', 1, true) end\nend";

async fn accounts(app: &TestApp, name: &str, count: usize) -> Vec<Account> {
    let mut all = Vec::new();
    for n in 0..count {
        all.push(app.register(&format!("{name}{n}")).await);
    }
    all
}

/// A script that takes so many milliseconds of processor time and then returns this; by trying how fast it is here.
async fn busy(direction: &str, ms: u64, result: &str, app: &TestApp, by: &Account) -> String {
    let source = |rounds: u64| {
        format!("function {direction}(m)\n  for i = 1, {rounds} do local _ = i % 7 end\n  return {result}\nend")
    };
    let sample = json!({"source": source(1_000_000), "messages": [{"messageBody": "x"}]});
    let tried = app.post(&format!("users/me/scripts/{direction}/try"), Some(by), &sample).await.assert(200);
    let micros = tried.json["results"][0]["cpuMicros"].as_u64().unwrap().max(1);
    source(1_000_000 * ms * 1000 / micros)
}

#[tokio::test]
async fn a_group_message_does_not_wait_for_one_members_hanging_script_and_that_one_is_switched_off_all_the_same() {
    let app = TestApp::with(&[("scripts.wait_ms", "300"), ("scripts.wall_ms", "1500")]).await;
    let (ada, bob, eve) = (app.register("ada").await, app.register("bob").await, app.register("eve").await);
    activate(&app, &eve, "incoming", HANGING).await;
    let mut eve_socket = app.socket(&eve).await;
    let began = Instant::now();
    for n in 0..20 {
        app.send(&ada, &[&eve, &bob], &n.to_string()).await;
    }
    assert_eq!(bodies(&app.inbox(&bob, 20).await), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(began.elapsed() < Duration::from_millis(1500), "waited {:?} for another's script", began.elapsed());
    assert_eq!(eve_socket.expect("scriptFailed").await["reason"], "overloaded");
    // What became of the run is known later, and counts.
    let deadline = Instant::now() + PATIENCE * 2;
    loop {
        app.send(&ada, &[&eve], "again").await;
        let scripts = app.get("users/me/scripts", &eve).await.assert(200);
        if scripts.json["incoming"]["switchedOff"].as_str().is_some_and(|why| why.starts_with("kills_workers")) {
            break;
        }
        assert!(Instant::now() < deadline, "{}", scripts.json);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_crowd_with_slow_scripts_takes_the_node_from_nobody() {
    // A small window, which the crowd would fill.
    let settings = [("in_flight", "64"), ("scripts.wait_ms", "300"), ("scripts.budget_cpu_ms", "3600000")];
    let app = TestApp::with(&settings).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let crowd = accounts(&app, "crowd", 12).await;
    let slow = busy("outgoing", 30, "{ messageBody = m.messageBody }", &app, &bob).await;
    for one in &crowd {
        activate(&app, one, "outgoing", &slow).await;
    }
    for n in 0..25 {
        for one in &crowd {
            let body = json!({"messageBody": n.to_string(), "recipientIds": [bob.id]});
            app.post("messages", Some(one), &body).await.assert(202);
        }
    }
    let began = Instant::now();
    app.send(&ada, &[&ada], "mine").await;
    app.inbox(&ada, 1).await;
    assert!(began.elapsed() < Duration::from_millis(1500), "waited {:?}", began.elapsed());
    assert_eq!(app.inbox(&bob, 300).await.len(), 300);
}

#[tokio::test]
async fn a_flood_upon_a_failing_script_switches_it_off_once() {
    let settings = [("scripts.waiting", "2"), ("scripts.max_failures", "3")];
    let app = TestApp::with(&settings).await;
    let eve = app.register("eve").await;
    let crowd = accounts(&app, "crowd", 10).await;
    activate(
        &app,
        &eve,
        "incoming",
        "function incoming(m)\n  for i = 1, 200000 do local _ = i % 7 end\n  error('no')\nend",
    )
    .await;
    let mut eve_socket = app.socket(&eve).await;
    let mut sockets = Vec::new();
    for one in &crowd {
        sockets.push(app.socket(one).await);
    }
    for n in 0..30 {
        for socket in &mut sockets {
            socket.send(send_frame(&[&eve], &n.to_string(), &n.to_string())).await;
        }
    }
    app.inbox(&eve, 300).await;
    let told = eve_socket.gather("scriptFailed", Duration::from_millis(500)).await;
    let off = told.iter().filter(|frame| frame["reason"] == "switched_off").count();
    assert_eq!(off, 1, "{told:#?}");
    assert!(told.len() < 12, "{} frames", told.len());
    assert_eq!(app.metric("parlor_scripts_switched_off_total").await, 1.0);
    assert_eq!(log(&app, &eve, "incoming", "switched_off", 1).await.len(), 1);
}

#[tokio::test]
async fn another_version_gets_no_more_processor_time_than_the_first() {
    let app = TestApp::with(&[("scripts.budget_cpu_ms", "100")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut socket = app.socket(&ada).await;
    let mut sent = 0;
    for round in 0..4 {
        let source = format!(
            "function outgoing(m) -- {round}\n  for i = 1, 600000 do local _ = i % 7 end\n  return {{ messageBody = m.messageBody }}\nend"
        );
        activate(&app, &ada, "outgoing", &source).await;
        for _ in 0..40 {
            socket.accepted(send_frame(&[&bob], &sent.to_string(), &sent.to_string())).await;
            sent += 1;
        }
        app.inbox(&bob, sent).await;
    }
    assert_eq!(bodies(&app.inbox(&bob, sent).await), (0..sent).map(|n| n.to_string()).collect::<Vec<_>>());
    let used = app.metric("parlor_script_cpu_seconds_sum").await;
    assert!(used < 0.2, "{used} s of processor time with a budget of 0.1");
}

#[tokio::test]
async fn tries_that_hang_hold_up_the_worker_that_all_share_only_so_long() {
    let app = TestApp::with(&[("scripts.wall_ms", "400"), ("scripts.budget_cpu_ms", "1000")]).await;
    let (bob, eve) = (app.register("bob").await, app.register("eve").await);
    let messages: Vec<_> = (0..20).map(|n| json!({"messageBody": n.to_string()})).collect();
    let attack = json!({"source": HANGING, "messages": messages});
    let began = Instant::now();
    let tried = app.post("users/me/scripts/incoming/try", Some(&eve), &attack).await.assert(200);
    let results = tried.json["results"].as_array().unwrap();
    assert_eq!(results.len(), 20);
    assert_eq!(results[0]["failure"]["kind"], "worker_killed", "{}", results[0]);
    assert!(results[1]["failure"]["detail"].as_str().unwrap().starts_with("not tried"), "{}", results[1]);
    for _ in 0..10 {
        let tried = app.post("users/me/scripts/incoming/try", Some(&eve), &attack).await;
        if tried.status == 429 {
            tried.assert_problem(429, "rate_limited");
            break;
        }
    }
    assert!(began.elapsed() < Duration::from_secs(6), "the worker was held up for {:?}", began.elapsed());
    app.post("users/me/scripts/incoming/try", Some(&eve), &attack).await.assert_problem(429, "rate_limited");
    let began = Instant::now();
    upload(&app, &bob, "incoming", &answering("here")).await;
    let fine = json!({"source": answering("here"), "messages": messages});
    app.post("users/me/scripts/incoming/try", Some(&bob), &fine).await.assert(200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_script_sends_no_more_than_its_owner_may_and_filters_on() {
    let settings = [("session.messages_per_second", "1"), ("session.message_burst", "20")];
    let app = TestApp::with(&settings).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let loud = "function incoming(m)\n  local r = {}\n  for i = 1, 8 do r[i] = { to = m.senderId, message = 'r' .. i } end\n  \
                return { action = 'DROP', reply = r }\nend";
    activate(&app, &bob, "incoming", loud).await;
    // Of 20 messages at once all may be answered, and more come from others.
    let eve = app.register("eve").await;
    for n in 0..20 {
        app.send(&ada, &[&bob], &n.to_string()).await;
        app.send(&eve, &[&bob], &n.to_string()).await;
    }
    let refused = log(&app, &bob, "incoming", "drop", 40).await;
    let refused: Vec<_> = refused.iter().filter(|entry| entry["reason"] == "rate_limited").collect();
    assert!(!refused.is_empty());
    assert_eq!(refused[0]["unanswered"].as_array().unwrap().len(), 8, "{}", refused[0]);
    let answers = app.inbox(&ada, 20).await.len() + app.inbox(&eve, 20).await.len() - 40;
    assert!((160..=200).contains(&answers), "{answers} answers");
    let of_bob = app.inbox(&bob, 0).await;
    assert!(of_bob.iter().all(|message| message["senderId"] == bob.id), "what is filtered stays filtered");
}

#[tokio::test]
async fn the_replies_of_a_run_together_are_no_larger_than_a_message() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let large = "function incoming(m)\n  local x = string.rep('x', tonumber(m.messageBody))\n  return { action = 'FORWARD', \
                 reply = { { to = m.senderId, message = x }, { to = m.senderId, message = x } } }\nend";
    activate(&app, &bob, "incoming", large).await;
    let mut bob_socket = app.socket(&bob).await;
    app.send(&ada, &[&bob], "32768").await;
    assert_eq!(app.inbox(&ada, 3).await.len(), 3);
    app.send(&ada, &[&bob], "32769").await;
    let told = bob_socket.expect("scriptFailed").await;
    assert_eq!(told["reason"], "bad_result");
    assert!(told["detail"].as_str().unwrap().contains("65538 bytes together"), "{told}");
}

#[tokio::test]
async fn a_source_that_is_damaged_or_gone_costs_no_message_and_works_again_when_it_is_back() {
    let mut app = TestApp::start().await;
    app.expect_errors();
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let version = activate(&app, &bob, "incoming", &answering("here")).await;
    let found = app.get(&format!("users/me/scripts/incoming/versions/{version}"), &bob).await.assert(200);
    let hash = found.json["sha256"].as_str().unwrap().to_owned();
    let file = app.data().join("scripts").join(&hash[..2]).join(format!("{hash}.luau"));
    // What is in memory already would do without the file.
    let mut bob_socket = app.socket(&bob).await;
    std::fs::write(&file, "function incoming(m) return { action = 'DROP' } end").unwrap();
    for n in 0..50 {
        app.send(&ada, &[&bob], &n.to_string()).await;
    }
    app.inbox(&bob, 50).await;
    assert_eq!(bob_socket.expect("scriptFailed").await["reason"], "unavailable");
    let errors = app.process().log().iter().filter(|line| line.contains(" ERROR ")).count();
    assert!(errors <= 3, "{errors} lines for one damaged file");
    std::fs::write(&file, answering("here")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut n = 50;
    while !bodies(&app.inbox(&ada, n).await).contains(&"here") {
        app.send(&ada, &[&bob], "again").await;
        n += 1;
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let scripts = app.get("users/me/scripts", &bob).await.assert(200);
    assert!(scripts.json["incoming"]["switchedOff"].is_null(), "it is none of the script's fault");
}

#[tokio::test]
async fn an_administrator_does_not_read_messages_by_way_of_somebodys_script() {
    let app = TestApp::with(&[("scripts.max_failures", "2")]).await;
    let (ada, bob, root) = (app.register("ada").await, app.register("bob").await, app.admin("root").await);
    let leaky = "function incoming(m)\n  print('it says ' .. m.messageBody)\n  return { action = 'FORWARD', reply = { { to = \
                 m.senderId, message = 'you said ' .. m.messageBody } } }\nend";
    activate(&app, &bob, "incoming", leaky).await;
    app.send(&ada, &[&bob], "SECRET").await;
    activate(&app, &bob, "outgoing", "function outgoing(m)\n  error(m.messageBody)\nend").await;
    app.send(&bob, &[&ada], "SECRET").await;
    app.send(&bob, &[&ada], "SECRET").await;
    log(&app, &bob, "outgoing", "switched_off", 1).await;
    let own = app.get("users/me/scripts/incoming/log", &bob).await.assert(200);
    assert!(own.text.contains("it says SECRET") && own.text.contains("you said SECRET"), "{}", own.text);
    for path in [
        format!("users/{}/scripts/incoming/log", bob.id),
        format!("users/{}/scripts/outgoing/log", bob.id),
        format!("users/{}/scripts", bob.id),
        "admin/scripts/switched-off".to_owned(),
    ] {
        let seen = app.get(&path, &root).await.assert(200);
        assert!(!seen.text.contains("SECRET"), "{path}: {}", seen.text);
    }
    assert!(!app.process().log().iter().any(|line| line.contains("SECRET")), "{:#?}", app.process().log());
}

#[tokio::test]
async fn a_server_that_is_stopped_in_the_middle_of_runs_lets_nothing_pass_a_filter() {
    let settings = [("drain_limit_seconds", "1"), ("scripts.cpu_ms", "5000"), ("scripts.wall_ms", "20000")];
    let more = [("scripts.wait_ms", "60000"), ("scripts.budget_cpu_ms", "3600000")];
    let mut app = TestApp::with(&[settings.as_slice(), &more].concat()).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let slow = busy("incoming", 1500, "{ action = 'DROP' }", &app, &bob).await;
    activate(&app, &bob, "incoming", &slow).await;
    for n in 0..2 {
        app.send(&ada, &[&bob], &n.to_string()).await;
    }
    app.restart().await;
    let deadline = Instant::now() + PATIENCE * 3;
    loop {
        assert!(app.get("inbox", &bob).await.assert(200).items().is_empty(), "a message passed the filter");
        if app.get("filtered", &bob).await.assert(200).items().len() == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "the filtered ones are lost");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_others_own_cannot_be_told_from_what_is_not_there() {
    let app = TestApp::start().await;
    let (bob, eve) = (app.register("bob").await, app.register("eve").await);
    let source = answering("private");
    activate(&app, &bob, "incoming", &source).await;
    for id in [bob.id, 999_999] {
        for path in ["", "/incoming/versions", "/incoming/versions/1", "/incoming/versions/1/source", "/incoming/log"] {
            app.get(&format!("users/{id}/scripts{path}"), &eve).await.assert_problem(404, "user_not_found");
        }
        let post =
            async |path: &str, body| app.post(&format!("users/{id}/scripts/incoming{path}"), Some(&eve), &body).await;
        post("/activate", json!({"version": 1})).await.assert_problem(404, "user_not_found");
        post("/disable", json!({})).await.assert_problem(404, "user_not_found");
        post("/try", json!({"version": 1, "last": 1})).await.assert_problem(404, "user_not_found");
        let request = app.request(reqwest::Method::POST, &format!("users/{id}/scripts/incoming"), Some(&eve));
        let request = request.header("content-type", "text/x-luau").body(source.clone());
        reply(request).await.assert_problem(404, "user_not_found");
    }
    // The same source of two people is one object, and neither notices.
    activate(&app, &eve, "incoming", &source).await;
    app.post("users/me/scripts/incoming/disable", Some(&eve), &json!({})).await.assert(200);
    app.send(&eve, &[&bob], "hello").await;
    assert!(bodies(&app.inbox(&eve, 2).await).contains(&"private"));
}
