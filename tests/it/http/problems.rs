//! Requests that cannot be answered: always a problem document, with a code that stays.

use reqwest::Method;
use serde_json::json;

use crate::app::{TestApp, reply};

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_why() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let send = |text: String, kind: &'static str| {
        let request = app.request(Method::POST, "messages", Some(&ada)).header("Content-Type", kind).body(text);
        reply(request)
    };
    let json = "application/json";
    let broken = send("{\"messageBody\":\n \"x\",}".into(), json).await.assert_problem(400, "malformed_json");
    assert_eq!((&broken.json["line"], &broken.json["column"]), (&json!(2), &json!(6)));
    send(String::new(), json).await.assert_problem(400, "malformed_json");
    send(format!(r#"{{"x":{}"#, "[".repeat(10_000)), json).await.assert_problem(400, "malformed_json");
    send("[]".into(), json).await.assert_problem(422, "invalid_body");
    send("{}".into(), json).await.assert_problem(422, "invalid_body");
    send(r#"{"messageBody":1,"recipientIds":[1]}"#.into(), json).await.assert_problem(422, "invalid_body");
    let fine = format!(r#"{{"messageBody":"x","recipientIds":[{}]}}"#, ada.id);
    send(fine.clone(), "text/plain").await.assert_problem(415, "unsupported_media_type");
    send(fine.clone(), "application/json; charset=utf-8").await.assert(202);
    let none = app.request(Method::POST, "messages", Some(&ada)).body(fine);
    reply(none).await.assert_problem(415, "unsupported_media_type");
    // Larger than any message can be, whether it says so before or not.
    let large = " ".repeat(500_000);
    send(large.clone(), json).await.assert_problem(413, "body_too_large");
    app.post("login", None, &json!({"username": "ada", "password": large})).await.assert_problem(413, "body_too_large");
    app.get("me", &ada).await.assert(200);
}

#[tokio::test]
async fn what_is_not_there_is_404_and_a_wrong_method_says_which_are_right() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    for path in ["/api/v1", "/api/v1/nothing", "/api/v2/me", "/nothing", "/api/v1/users/x", "/api/v1/me/more"] {
        reply(app.request(Method::GET, path, Some(&ada))).await.assert_problem(404, "not_found");
        reply(app.request(Method::DELETE, path, None)).await.assert_problem(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::DELETE, "users", "GET, POST"),
        (Method::GET, "login", "POST"),
        (Method::GET, "logout", "POST"),
        (Method::GET, "token/refresh", "POST"),
        (Method::POST, "me", "GET"),
        (Method::GET, "messages", "POST"),
        (Method::POST, "inbox", "GET"),
        (Method::PUT, "conversations", "GET"),
        (Method::POST, "admin/nodes", "GET"),
        (Method::GET, "admin/nodes/0/drain", "POST"),
        (Method::POST, "admin/users", "GET"),
        (Method::GET, "admin/users/1/disable", "POST"),
        (Method::GET, "admin/users/1/enable", "POST"),
        (Method::POST, "admin/users/1/role", "PUT"),
        (Method::POST, "admin/users/1/password", "PUT"),
        (Method::POST, "openapi.json", "GET"),
    ] {
        let answer = reply(app.request(method, path, Some(&ada))).await.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_is_refused() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let nil = uuid::Uuid::nil();
    for path in [
        "inbox?after=-1".to_owned(),
        "inbox?after=x".to_owned(),
        "inbox?after=9223372036854775808".to_owned(),
        "inbox?limit=0".to_owned(),
        "inbox?limit=-1".to_owned(),
        "inbox?limit=x".to_owned(),
        "conversations?before=-1".to_owned(),
        "conversations?limit=0".to_owned(),
        format!("conversations/{nil}/messages?before=x"),
        "users?limit=0".to_owned(),
        "users?after=%F0".to_owned(),
        "users?after=!".to_owned(),
    ] {
        app.get(&path, &ada).await.assert_problem(400, "invalid_query");
    }
    let root = app.admin("root").await;
    for path in ["admin/users/x/disable", "admin/users/1.5/disable", "admin/users/99999999999999999999/disable"] {
        app.post(path, Some(&root), &json!({})).await.assert_problem(400, "invalid_path");
    }
}

#[tokio::test]
async fn without_a_good_token_there_is_nothing_to_see() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    for path in ["me", "users", "inbox", "conversations", "admin/nodes", "admin/users"] {
        let bare = reply(app.request(Method::GET, path, None)).await.assert_problem(401, "token_missing");
        assert_eq!(bare.header("www-authenticate"), Some("Bearer realm=\"parlor\""));
        let forged = crate::app::Account { access_token: format!("{}x", ada.access_token), ..ada.clone() };
        let forged = app.get(path, &forged).await.assert_problem(401, "token_wrong_signature");
        assert!(forged.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    }
    let message = json!({"messageBody": "x", "recipientIds": [ada.id]});
    app.post("messages", None, &message).await.assert_problem(401, "token_missing");
}
