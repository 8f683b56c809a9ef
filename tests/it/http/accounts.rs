//! Accounts, logins and their administration.

use serde_json::json;

use crate::app::{PASSWORD, TestApp};

#[tokio::test]
async fn a_login_is_a_pair_of_tokens_and_who_one_is() {
    let app = TestApp::start().await;
    let body = json!({"username": "Ada", "password": PASSWORD});
    let made = app.post("users", None, &body).await.assert(201);
    assert!((898..=900).contains(&made.json["expiresIn"].as_i64().unwrap()), "{}", made.text);
    assert_eq!(made.json["user"], json!({"id": made.account().id, "username": "Ada", "role": "user"}));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let me = app.get("me", &made.account()).await.assert(200);
    assert_eq!(me.json, made.json["user"]);
    app.post("users", None, &json!({"username": "ADA", "password": PASSWORD}))
        .await
        .assert_problem(409, "username_taken");
    let wrong = json!({"username": "Ada", "password": "not the password"});
    app.post("login", None, &wrong).await.assert_problem(401, "wrong_credentials");
    let nobody = json!({"username": "nobody", "password": PASSWORD});
    app.post("login", None, &nobody).await.assert_problem(401, "wrong_credentials");
    // Case does not make another name, at the login too.
    app.login("ada").await;
}

#[tokio::test]
async fn names_and_passwords_have_limits_on_both_sides() {
    let app = TestApp::start().await;
    for (name, password, code) in [
        (String::new(), PASSWORD.to_owned(), "invalid_username"),
        ("x".repeat(65), PASSWORD.to_owned(), "invalid_username"),
        ("a b".to_owned(), PASSWORD.to_owned(), "invalid_username"),
        ("a\u{202e}b".to_owned(), PASSWORD.to_owned(), "invalid_username"),
        ("ada".to_owned(), "1234567".to_owned(), "invalid_password"),
        ("ada".to_owned(), "x".repeat(1025), "invalid_password"),
    ] {
        let reply = app.post("users", None, &json!({"username": name, "password": password})).await;
        assert!(reply.assert_problem(422, code).json["field"].is_string());
    }
    for (name, password) in [("x".repeat(64), "12345678".to_owned()), ("y".to_owned(), "x".repeat(1024))] {
        app.post("users", None, &json!({"username": name, "password": password})).await.assert(201);
    }
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_logging_out_ends_the_login() {
    let app = TestApp::start().await;
    let first = app.register("ada").await;
    let refresh = |token: &str| json!({"refreshToken": token});
    let second = app.post("token/refresh", None, &refresh(&first.refresh_token)).await.assert(200).account();
    app.get("me", &second).await.assert(200);
    app.post("token/refresh", None, &refresh("garbage")).await.assert_problem(401, "refresh_token_unknown");
    // By the refresh token alone, as when the access token is over.
    app.post("logout", None, &refresh(&second.refresh_token)).await.assert(204);
    app.get("me", &second).await.assert_problem(401, "login_ended");
    app.post("token/refresh", None, &refresh(&second.refresh_token)).await.assert_problem(401, "login_ended");
    app.post("logout", None, &json!({})).await.assert_problem(401, "token_missing");
    let other = app.login("ada").await;
    let request = app.request(reqwest::Method::POST, "logout", Some(&other));
    crate::app::reply(request).await.assert(204);
    app.get("me", &other).await.assert_problem(401, "login_ended");
}

#[tokio::test]
async fn users_are_found_by_name_and_by_id_page_by_page_while_more_come() {
    let app = TestApp::start().await;
    for name in ["ann", "anna", "Anton"] {
        app.cli(&["user", "add", name, "--role", "user", "--password-stdin"], PASSWORD).await;
    }
    let ben = app.register("ben").await;
    let names = |items: Vec<serde_json::Value>| -> Vec<String> {
        items.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    let first = app.get("users?search=AN&limit=2", &ben).await.assert(200);
    assert_eq!(names(first.items()), ["ann", "anna"]);
    app.cli(&["user", "add", "aaron", "--role", "user", "--password-stdin"], PASSWORD).await;
    app.cli(&["user", "add", "antje", "--role", "user", "--password-stdin"], PASSWORD).await;
    let next = first.json["next"].as_str().unwrap();
    let second = app.get(&format!("users?search=AN&limit=2&after={next}"), &ben).await.assert(200);
    assert_eq!(names(second.items()), ["antje", "Anton"]);
    assert!(second.json["next"].is_null());
    assert_eq!(app.get("users?search=%25", &ben).await.assert(200).items().len(), 0, "no wildcard");
    let ids = app.get(&format!("users?ids={},999,1", ben.id), &ben).await.assert(200).items();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0].as_object().unwrap().len(), 2, "nothing but id and username: {ids:?}");
    app.get("users?ids=x", &ben).await.assert_problem(400, "invalid_query");
    let hundred = |count: usize| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    app.get(&format!("users?ids={}", hundred(100)), &ben).await.assert(200);
    app.get(&format!("users?ids={}", hundred(101)), &ben).await.assert_problem(400, "invalid_query");
}

#[tokio::test]
async fn an_administrator_looks_after_users_and_nobody_else_does() {
    let app = TestApp::start().await;
    let (root, ada) = (app.admin("root").await, app.register("ada").await);
    let path = |what: &str| format!("admin/users/{}{what}", ada.id);
    let (role, password) = (json!({"role": "admin"}), json!({"password": "another long one"}));
    app.get("admin/users", &ada).await.assert_problem(403, "admin_required");
    for what in ["/disable", "/enable"] {
        app.post(&path(what), Some(&ada), &json!({})).await.assert_problem(403, "admin_required");
        app.post(&path(what), None, &json!({})).await.assert_problem(401, "token_missing");
    }
    app.put(&path("/role"), &ada, &role).await.assert_problem(403, "admin_required");
    app.put(&path("/password"), &ada, &password).await.assert_problem(403, "admin_required");

    assert_eq!(app.get("admin/users", &root).await.assert(200).items().len(), 2);
    let disabled = app.post(&path("/disable"), Some(&root), &json!({})).await.assert(200);
    assert_eq!((&disabled.json["id"], &disabled.json["disabled"]), (&json!(ada.id), &json!(true)));
    app.get("me", &ada).await.assert(403);
    assert_eq!(app.post(&path("/enable"), Some(&root), &json!({})).await.assert(200).json["disabled"], false);
    let ada = app.login("ada").await;
    assert_eq!(app.put(&path("/role"), &root, &role).await.assert(200).json["role"], "admin");
    app.get("admin/users", &ada).await.assert(200);
    app.put(&path("/role"), &root, &json!({"role": "user"})).await.assert(200);
    app.get("admin/users", &ada).await.assert_problem(403, "admin_required");
    app.put(&path("/password"), &root, &password).await.assert(204);
    app.get("me", &ada).await.assert_problem(401, "login_ended");
    app.put("admin/users/me/role", &root, &json!({"role": "user"})).await.assert_problem(409, "last_admin");
    app.post("admin/users/999/disable", Some(&root), &json!({})).await.assert_problem(404, "user_not_found");
}

#[tokio::test]
async fn too_many_attempts_are_refused_and_say_when_to_come_back() {
    let app = TestApp::with(&[
        ("accounts.limits.per_account", "{ attempts = 3, seconds = 300 }"),
        ("accounts.limits.registrations_per_address", "{ attempts = 2, seconds = 300 }"),
    ])
    .await;
    app.register("ada").await;
    app.register("bob").await;
    let more = app.post("users", None, &json!({"username": "carol", "password": PASSWORD})).await;
    assert!(more.assert_problem(429, "too_many_attempts").header("retry-after").is_some());
    for _ in 0..3 {
        let wrong = json!({"username": "ada", "password": "not the password"});
        app.post("login", None, &wrong).await.assert_problem(401, "wrong_credentials");
    }
    let right = json!({"username": "ada", "password": PASSWORD});
    app.post("login", None, &right).await.assert_problem(429, "too_many_attempts");
    app.login("bob").await;
}

#[tokio::test]
async fn registration_can_be_closed() {
    let app = TestApp::with(&[("accounts.registration_open", "false")]).await;
    let body = json!({"username": "ada", "password": PASSWORD});
    app.post("users", None, &body).await.assert_problem(403, "registration_closed");
}
