//! Scripts over HTTP, as far as no worker is needed: who may, what is refused, and what the tables come to.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::automation::log::{Details, LogEntry, Source};
use crate::config::accounts::AccountsOptions;
use crate::http::testing::{Answer, TestApi};
use crate::ids::UserId;
use crate::script::call::{Direction, Language};
use crate::store::inbox::Placement;
use crate::store::scripts::{NewVersion, Uploaded};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const IN: Direction = Direction::Incoming;
const ADA: UserId = UserId(1);

/// Ada (1) and Bob (2) with their tokens, and an administrator's (3).
async fn api() -> (TestApi, String, String, String) {
    let api = TestApi::new(AccountsOptions::default()).await;
    let ada = api.register("ada").await["accessToken"].as_str().unwrap().to_owned();
    let bob = api.register("bob").await["accessToken"].as_str().unwrap().to_owned();
    let root = api.admin("root").await;
    (api, ada, bob, root)
}

/// Keeps a source as a version, as an upload does when there are workers.
async fn upload(api: &TestApi, source: &str) -> u32 {
    let hash = api.state.scripts.sources.put(source).await.unwrap();
    let bytes = u32::try_from(source.len()).unwrap();
    let new = NewVersion { language: Language::Luau, hash, bytes, uploaded_by: ADA, now: api.state.clock.now() };
    match api.state.store.add_script_version(ADA, IN, new, 100).await.unwrap() {
        Uploaded::New(version) | Uploaded::Same(version) => version,
    }
}

async fn send(api: &TestApi, path: &str, token: &str, kind: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    let request = TestRequest::post().uri(&format!("/api/v1{path}"));
    let request = request.insert_header(("Authorization", format!("Bearer {token}")));
    let request = kind.into_iter().fold(request, |request, kind| request.insert_header(("Content-Type", kind)));
    api.send(request.set_payload(body.into())).await
}

#[actix_web::test]
async fn ones_own_and_an_administrators_and_to_anybody_else_not_there() {
    let (api, ada, bob, root) = api().await;
    upload(&api, "a").await;
    let version = Some(json!({"version": 1}));
    let sample = Some(json!({"messages": [{"messageBody": "x"}]}));
    let cases = [
        (GET, "", None),
        (GET, "/incoming/versions", None),
        (GET, "/incoming/versions/1", None),
        (GET, "/incoming/versions/1/source", None),
        (GET, "/incoming/log", None),
        (POST, "/incoming/activate", version),
        (POST, "/incoming/disable", None),
        (POST, "/incoming/try", sample),
    ];
    for (method, rest, body) in cases {
        let call = async |user: &str, token: Option<&str>| {
            api.call(method.clone(), &format!("/users/{user}/scripts{rest}"), token, body.clone()).await
        };
        // There is no worker here, so a try of one's own comes as far as that.
        let fine = if rest == "/incoming/try" { 503 } else { 200 };
        for (user, token) in [("me", &ada), ("1", &ada), ("1", &root)] {
            let answer = call(user, Some(token)).await;
            assert_eq!(answer.status.as_u16(), fine, "{rest} {user}: {answer:?}");
        }
        for (user, token) in [("1", &bob), ("99", &bob), ("99", &root)] {
            call(user, Some(token)).await.problem(404, "user_not_found");
        }
        call("1", None).await.problem(401, "token_missing");
        call("x", Some(&ada)).await.problem(400, "invalid_path");
    }
    let luau = Some("text/x-luau");
    send(&api, "/users/1/scripts/incoming", &bob, luau, "x").await.problem(404, "user_not_found");
    send(&api, "/users/99/scripts/incoming", &root, luau, "x").await.problem(404, "user_not_found");
    send(&api, "/users/me/scripts/sideways", &ada, luau, "x").await.problem(400, "invalid_path");
    api.call(GET, "/admin/scripts/switched-off", Some(&ada), None).await.problem(403, "admin_required");
    api.call(GET, "/admin/scripts/switched-off", None, None).await.problem(401, "token_missing");
}

#[actix_web::test]
async fn an_upload_that_cannot_be_looked_at_is_refused_by_name() {
    let (api, ada, ..) = api().await;
    let path = "/users/me/scripts/incoming";
    let limit = api.state.scripts.options.max_source_bytes;
    let cases: [(Option<&str>, Vec<u8>, u16, &str); 10] = [
        (None, b"x".to_vec(), 415, "unsupported_media_type"),
        (Some("text/plain"), b"x".to_vec(), 415, "unsupported_media_type"),
        (Some("application/x-www-form-urlencoded"), b"x".to_vec(), 415, "unsupported_media_type"),
        (Some("text/x-luau; charset=latin1"), b"x".to_vec(), 415, "unsupported_media_type"),
        (Some("text/x-luau"), Vec::new(), 422, "source_empty"),
        (Some("text/x-luau"), b" \n\t".to_vec(), 422, "source_empty"),
        (Some("text/x-luau"), b"-- \xff".to_vec(), 422, "source_not_utf8"),
        (Some("text/x-luau"), vec![b'x'; limit + 1], 413, "source_too_large"),
        // What may be looked at, comes to the workers, of which there are none here.
        (Some("text/x-luau"), vec![b'x'; limit], 503, "scripts_unavailable"),
        (Some("Text/X-Luau; charset=UTF-8"), b"x".to_vec(), 503, "scripts_unavailable"),
    ];
    for (kind, body, status, code) in cases {
        let answer = send(&api, path, &ada, kind, body).await.problem(status, code);
        if status == 415 {
            assert!(answer.body["detail"].as_str().unwrap().contains("text/x-luau"), "{answer:?}");
        }
        assert_eq!(answer.header("retry-after").is_empty(), status != 503, "{answer:?}");
    }
    assert_eq!(
        api.call(GET, "/users/me/scripts", Some(&ada), None).await.body,
        json!({"incoming": null, "outgoing": null})
    );
}

#[actix_web::test]
async fn uploads_and_tries_have_a_rate_of_each_user() {
    let (api, ada, bob, _) = api().await;
    let limit = api.state.scripts.options.requests_per_minute;
    let try_out = async |token: &str| {
        api.call(POST, "/users/me/scripts/incoming/try", Some(token), Some(json!({"last": 1}))).await
    };
    for n in 0..limit {
        if n % 2 == 0 {
            try_out(&ada).await.problem(404, "no_script");
        } else {
            send(&api, "/users/me/scripts/incoming", &ada, Some("text/x-luau"), "").await.problem(422, "source_empty");
        }
    }
    let limited = try_out(&ada).await.problem(429, "rate_limited");
    assert_eq!(limited.header("retry-after"), "1");
    try_out(&bob).await.problem(404, "no_script");
    api.state.clock.advance(chrono::TimeDelta::seconds(1));
    try_out(&ada).await.problem(404, "no_script");
}

#[actix_web::test]
async fn one_upload_or_try_of_a_user_is_under_way_at_a_time() {
    let (api, ada, ..) = api().await;
    let first = api.state.script_requests.admit(ADA).unwrap();
    let second = api.call(POST, "/users/me/scripts/incoming/try", Some(&ada), Some(json!({"last": 1}))).await;
    assert!(second.problem(429, "rate_limited").body["detail"].as_str().unwrap().contains("under way"));
    drop(first);
    let third = api.call(POST, "/users/me/scripts/incoming/try", Some(&ada), Some(json!({"last": 1}))).await;
    third.problem(404, "no_script");
}

#[actix_web::test]
async fn a_version_is_activated_rolled_back_and_disabled_and_the_next_message_knows() {
    let (api, ada, _, root) = api().await;
    let token = Some(ada.as_str());
    let post = async |rest: &str, body: Value| {
        api.call(POST, &format!("/users/me/scripts/incoming/{rest}"), token, Some(body)).await
    };
    let runs = async || api.state.scripts.automation.of(&[ADA]).await.unwrap()[0].clone().and_then(|on| on.incoming);
    post("activate", json!({"version": 1})).await.problem(404, "unknown_version");
    post("disable", json!({})).await.problem(404, "no_script");
    assert_eq!((upload(&api, "a").await, upload(&api, "b").await, runs().await), (1, 2, None));
    for (version, code) in [(json!(3), 404), (json!(0), 404), (json!(-1), 422), (json!("1"), 422), (json!(null), 422)] {
        assert_eq!(post("activate", json!({"version": version})).await.status.as_u16(), code, "{version}");
    }
    for version in [2, 1] {
        let script = post("activate", json!({"version": version})).await;
        assert_eq!((script.status.as_u16(), &script.body["activeVersion"]), (200, &json!(version)));
        assert_eq!(runs().await.unwrap().version, version);
    }
    let overview = api.call(GET, "/users/1/scripts", Some(&root), None).await.body;
    let stats = json!({"runs": 0, "forwarded": 0, "dropped": 0, "edited": 0, "failed": 0, "replies": 0, "cpuMicros": 0,
        "wallMicros": 0});
    assert_eq!(
        overview["incoming"],
        json!({"activeVersion": 1, "chosenVersion": 1, "lastVersion": 2,
        "switchedOff": null, "changedAt": "2023-11-14T22:13:20Z", "stats": stats})
    );
    assert_eq!(overview["outgoing"], Value::Null);
    let off = post("disable", json!({})).await;
    assert_eq!((&off.body["activeVersion"], &off.body["chosenVersion"]), (&Value::Null, &json!(1)));
    assert_eq!(runs().await, None);
    assert_eq!(post("disable", json!({})).await.status.as_u16(), 200, "it was so already");
}

#[actix_web::test]
async fn a_version_whose_source_is_gone_is_not_activated() {
    let (api, ada, ..) = api().await;
    let hash = crate::script::call::SourceHash::of("never put");
    let new = NewVersion { language: Language::Luau, hash, bytes: 9, uploaded_by: ADA, now: api.state.clock.now() };
    api.state.store.add_script_version(ADA, IN, new, 100).await.unwrap();
    let body = Some(json!({"version": 1}));
    api.call(POST, "/users/me/scripts/incoming/activate", Some(&ada), body).await.problem(500, "internal");
    assert_eq!(api.state.store.script(ADA, IN).await.unwrap().unwrap().active_version(), None);
}

#[actix_web::test]
async fn what_the_server_switched_off_is_listed_and_an_administrator_lets_it_run_again() {
    let (api, ada, _, root) = api().await;
    upload(&api, "a").await;
    let activate = async |token: &str| {
        api.call(POST, "/users/1/scripts/incoming/activate", Some(token), Some(json!({"version": 1}))).await
    };
    assert_eq!(activate(&ada).await.status.as_u16(), 200);
    let reason = "failing: 10 runs in a row failed";
    assert!(api.state.store.switch_script_off(ADA, IN, 1, reason, api.state.clock.now()).await.unwrap());
    let refused = activate(&ada).await.problem(409, "script_switched_off");
    assert!(refused.body["detail"].as_str().unwrap().contains("10 runs in a row"), "{refused:?}");
    let overview = api.call(GET, "/users/me/scripts", Some(&ada), None).await.body;
    assert_eq!(
        (&overview["incoming"]["switchedOff"], &overview["incoming"]["activeVersion"]),
        (&json!(reason), &Value::Null)
    );
    let path = "/admin/scripts/switched-off";
    let list = api.call(GET, path, Some(&root), None).await.body;
    assert_eq!(
        list,
        json!({"items": [{"userId": 1, "username": "ada", "direction": "incoming", "version": 1,
        "reason": reason, "switchedOffAt": "2023-11-14T22:13:20Z"}], "next": null})
    );
    assert_eq!(activate(&root).await.status.as_u16(), 200);
    assert_eq!(api.call(GET, path, Some(&root), None).await.body["items"], json!([]));
    // Pages: three scripts, two a page.
    for (owner, direction) in [(1, IN), (2, IN), (1, Direction::Outgoing)] {
        let hash = api.state.scripts.sources.put("x").await.unwrap();
        let new = NewVersion { language: Language::Luau, hash, bytes: 1, uploaded_by: ADA, now: api.state.clock.now() };
        api.state.store.add_script_version(UserId(owner), direction, new, 9).await.unwrap();
        api.state.store.activate_script(UserId(owner), direction, 1, true, api.state.clock.now()).await.unwrap();
        api.state.store.switch_script_off(UserId(owner), direction, 1, "x: y", api.state.clock.now()).await.unwrap();
    }
    let first = api.call(GET, &format!("{path}?limit=2"), Some(&root), None).await.body;
    let next = first["next"].as_str().unwrap();
    let second = api.call(GET, &format!("{path}?limit=2&after={next}"), Some(&root), None).await.body;
    let key = |item: &Value| (item["userId"].as_i64().unwrap(), item["direction"].as_str().unwrap().to_owned());
    let all: Vec<_> =
        [&first, &second].iter().flat_map(|page| page["items"].as_array().unwrap().iter().map(key)).collect();
    assert_eq!(all, [(1, "incoming".to_owned()), (1, "outgoing".to_owned()), (2, "incoming".to_owned())]);
    assert_eq!(second["next"], Value::Null);
    for bad in ["limit=0", "after=!", "after=eA", "after=MSAyIHg"] {
        api.call(GET, &format!("{path}?{bad}"), Some(&root), None).await.problem(400, "invalid_query");
    }
}

#[actix_web::test]
async fn versions_are_read_page_by_page_and_their_source_is_what_was_uploaded() {
    let (api, ada, ..) = api().await;
    let token = Some(ada.as_str());
    for n in 1..=5 {
        upload(&api, &format!("-- version {n}, é\n")).await;
    }
    api.call(POST, "/users/me/scripts/incoming/activate", token, Some(json!({"version": 4}))).await;
    let get = async |rest: &str| api.call(GET, &format!("/users/me/scripts/{rest}"), token, None).await;
    let first = get("incoming/versions?limit=2").await.body;
    let numbers = |page: &Value| -> Vec<(i64, bool)> {
        let of = |item: &Value| (item["version"].as_i64().unwrap(), item["active"].as_bool().unwrap());
        page["items"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!((numbers(&first), &first["next"]), (vec![(5, false), (4, true)], &json!("4")));
    let second = get("incoming/versions?limit=3&before=4").await.body;
    assert_eq!((numbers(&second), &second["next"]), (vec![(3, false), (2, false), (1, false)], &Value::Null));
    let one = get("incoming/versions/4").await.body;
    assert_eq!(one, first["items"][1]);
    assert_eq!((&one["language"], &one["bytes"], &one["uploadedBy"]), (&json!("luau"), &json!(17), &json!(1)));
    let source = get("incoming/versions/4/source").await;
    assert_eq!(source.body, "-- version 4, é\n");
    assert_eq!(source.header("content-type"), "text/x-luau; charset=utf-8");
    assert_eq!(source.header("etag"), format!("\"{}\"", one["sha256"].as_str().unwrap()));
    for rest in ["incoming/versions/6", "incoming/versions/6/source", "outgoing/versions/1", "incoming/versions/0"] {
        get(rest).await.problem(404, "unknown_version");
    }
    for rest in ["incoming/versions/x", "incoming/versions/-1", "sideways/versions", "sideways/log"] {
        get(rest).await.problem(400, "invalid_path");
    }
    for rest in ["incoming/versions?limit=0", "incoming/versions?before=-1", "incoming/log?before=x"] {
        get(rest).await.problem(400, "invalid_query");
    }
}

#[actix_web::test]
async fn the_log_is_read_backwards_with_all_that_was_noted() {
    let (api, ada, ..) = api().await;
    let entries: Vec<LogEntry> = (0..3)
        .map(|n| LogEntry {
            user_id: ADA,
            source: Source::Incoming,
            at: api.state.clock.now(),
            version: Some(n),
            message_uid: None,
            verdict: "failed",
            details: Details {
                reason: Some("error".into()),
                line: Some(7),
                prints: vec!["p".into()],
                ..Details::default()
            },
        })
        .collect();
    api.state.store.write_automation_log(&entries, &[], 200).await.unwrap();
    let first = api.call(GET, "/users/me/scripts/incoming/log?limit=2", Some(&ada), None).await.body;
    let item = &first["items"][0];
    assert_eq!(
        item,
        &json!({"id": item["id"], "at": "2023-11-14T22:13:20Z", "version": 2, "messageUid": null,
        "verdict": "failed", "reason": "error", "line": 7, "prints": ["p"]})
    );
    let path = format!("/users/me/scripts/incoming/log?before={}", first["next"].as_str().unwrap());
    let second = api.call(GET, &path, Some(&ada), None).await.body;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    assert_eq!(api.call(GET, "/users/me/scripts/outgoing/log", Some(&ada), None).await.body["items"], json!([]));
}

#[actix_web::test]
async fn a_try_that_cannot_be_made_is_refused_by_name() {
    let (api, ada, _, root) = api().await;
    upload(&api, "a").await;
    let sample = json!({"messageBody": "x"});
    let of = |n: usize| Value::from(vec![sample.clone(); n]);
    let (most, body) = (api.state.scripts.options.max_source_bytes, |n: usize| "x".repeat(n));
    for (request, status, code) in [
        (json!({}), 422, "invalid_body"),
        (json!({"messages": of(1), "last": 1}), 422, "invalid_body"),
        (json!({"messages": of(0)}), 422, "invalid_body"),
        (json!({"messages": of(21)}), 422, "invalid_body"),
        (json!({"messages": of(20)}), 503, "scripts_unavailable"),
        (json!({"last": 0}), 422, "invalid_body"),
        (json!({"last": 21}), 422, "invalid_body"),
        (json!({"last": 20, "version": 9}), 404, "unknown_version"),
        (json!({"messages": of(1), "version": 1, "source": "x"}), 422, "invalid_body"),
        (json!({"messages": of(1), "sample": 1}), 422, "invalid_body"),
        (json!({"messages": [{"body": "x"}]}), 422, "invalid_body"),
        (json!({"messages": [{"messageBody": "x", "recipientIds": []}]}), 422, "invalid_body"),
        (json!({"messages": [{"messageBody": body(1001)}]}), 413, "message_too_large"),
        (json!({"messages": [{"messageBody": body(1000)}]}), 503, "scripts_unavailable"),
        (json!({"messages": of(1), "source": " "}), 422, "source_empty"),
        (json!({"messages": of(1), "source": body(most + 1)}), 413, "source_too_large"),
        (json!({"messages": of(1), "source": body(most)}), 503, "scripts_unavailable"),
        (json!({"messages": [{"messageBody": body(2_000_000)}]}), 413, "body_too_large"),
    ] {
        let path = "/users/me/scripts/incoming/try";
        let answer = api.call(POST, path, Some(&ada), Some(request.clone())).await;
        let shown: String = request.to_string().chars().take(80).collect();
        assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (status, Some(code)), "{shown}");
    }
    let path = "/users/me/scripts/incoming/try";
    send(&api, path, &ada, Some("text/x-luau"), "{}").await.problem(415, "unsupported_media_type");
    send(&api, path, &ada, Some("application/json"), "{").await.problem(400, "malformed_json");
    let body = Some(json!({"last": 1}));
    // What others wrote to Ada is hers to read, not an administrator's.
    api.call(POST, "/users/1/scripts/incoming/try", Some(&root), body).await.problem(403, "own_messages_only");
}

#[actix_web::test]
async fn own_messages_of_a_direction_are_the_newest_that_others_sent_or_that_one_sent() {
    let (api, ..) = api().await;
    let placement = |n: usize, from: i64| Placement {
        filtered: Vec::new(),
        answered: Vec::new(),
        message_uid: crate::ids::MessageUid::from_client(UserId(from), &n.to_string()),
        conversation_id: crate::ids::ConversationId::of([ADA, UserId(2)]),
        participants: vec![ADA, UserId(2)],
        sender_id: UserId(from),
        owners: vec![ADA, UserId(2)],
        message_body: format!("{n} from {from}"),
        from_auto_reply: false,
        sent_at: api.state.clock.now(),
    };
    let all: Vec<Placement> = (0..6).map(|n| placement(n, if n % 3 == 0 { 1 } else { 2 })).collect();
    api.state.store.deliver(&all).await.unwrap();
    let bodies = async |sent, limit| -> Vec<String> {
        let found = api.state.store.newest_of(ADA, sent, limit).await.unwrap();
        found.into_iter().map(|entry| entry.message_body).collect()
    };
    assert_eq!(bodies(false, 3).await, ["5 from 2", "4 from 2", "2 from 2"]);
    assert_eq!(bodies(true, 9).await, ["3 from 1", "0 from 1"]);
    assert!(api.state.store.newest_of(UserId(3), true, 9).await.unwrap().is_empty());
}
