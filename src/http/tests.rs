//! The HTTP interface from end to end, without a socket.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::testing::{Answer, TestApi};
use crate::config::accounts::AccountsOptions;

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;

async fn api() -> TestApi {
    TestApi::new(AccountsOptions::default()).await
}

fn credentials(name: &str, password: &str) -> Option<Value> {
    Some(json!({"username": name, "password": password}))
}

fn token(grant: &Value) -> Option<&str> {
    grant["accessToken"].as_str()
}

async fn post_text(api: &TestApi, content_type: &str, body: impl Into<String>) -> Answer {
    let request = TestRequest::post().uri("/api/v1/login").insert_header(("Content-Type", content_type.to_owned()));
    api.send(request.set_payload(body.into())).await
}

#[actix_web::test]
async fn a_user_registers_logs_in_refreshes_and_logs_out() {
    let api = api().await;
    let grant = api.register("Ada").await;
    assert_eq!(grant["user"], json!({"id": 1, "username": "Ada", "role": "user"}));
    assert_eq!(grant["expiresIn"], 900);
    let me = api.call(GET, "/me", token(&grant), None).await;
    assert_eq!((me.status.as_u16(), me.body), (200, json!({"id": 1, "username": "Ada", "role": "user"})));

    let login = api.call(POST, "/login", None, credentials("ada", "correct horse")).await;
    assert_eq!((login.status.as_u16(), login.header("cache-control")), (200, "no-store"));
    assert_eq!(login.body.as_object().unwrap().len(), 4);
    let body = json!({"refreshToken": login.body["refreshToken"], "unknown": "is let be"});
    let next = api.call(POST, "/token/refresh", None, Some(body.clone())).await;
    assert_eq!((next.status.as_u16(), &next.body["user"]), (200, &grant["user"]));

    let logout = api.call(POST, "/logout", token(&next.body), None).await;
    assert_eq!((logout.status.as_u16(), logout.body), (204, Value::Null));
    api.call(GET, "/me", token(&next.body), None).await.problem(401, "login_ended");
    api.call(POST, "/token/refresh", None, Some(body)).await.problem(401, "login_ended");
    assert_eq!(api.call(GET, "/me", token(&grant), None).await.status.as_u16(), 200, "another login of theirs");
}

#[actix_web::test]
async fn a_refresh_token_that_comes_twice_ends_the_login() {
    let api = api().await;
    let first = api.register("ada").await;
    let body = json!({"refreshToken": first["refreshToken"]});
    let second = api.call(POST, "/token/refresh", None, Some(body.clone())).await.body;
    api.call(POST, "/token/refresh", None, Some(body)).await.problem(401, "refresh_token_reused");
    api.call(GET, "/me", token(&second), None).await.problem(401, "login_ended");
    let made_up = json!({"refreshToken": "made up"});
    api.call(POST, "/token/refresh", None, Some(made_up)).await.problem(401, "refresh_token_unknown");
}

#[actix_web::test]
async fn one_logs_out_by_refresh_token_when_the_access_token_is_over() {
    let api = api().await;
    let grant = api.register("ada").await;
    api.state.clock.advance(TimeDelta::hours(1));
    api.call(POST, "/logout", token(&grant), None).await.problem(401, "token_expired");
    api.call(POST, "/logout", None, None).await.problem(401, "token_missing");
    let body = json!({"refreshToken": grant["refreshToken"]});
    assert_eq!(api.call(POST, "/logout", token(&grant), Some(body.clone())).await.status.as_u16(), 204);
    assert_eq!(api.call(POST, "/logout", None, Some(body.clone())).await.status.as_u16(), 204, "nothing left to end");
    api.call(POST, "/token/refresh", None, Some(body)).await.problem(401, "login_ended");
}

#[actix_web::test]
async fn what_may_not_be_registered_is_refused_by_name() {
    let api = api().await;
    api.register("ada").await;
    let taken = api.call(POST, "/users", None, credentials("ADA", "correct horse")).await;
    assert_eq!(taken.problem(409, "username_taken").body["field"], "username");
    let bad = api.call(POST, "/users", None, credentials("a b", "correct horse")).await;
    assert_eq!(bad.problem(422, "invalid_username").body["field"], "username");
    let short = api.call(POST, "/users", None, credentials("bob", "1234567")).await;
    assert_eq!(short.problem(422, "invalid_password").body["field"], "password");
    let closed = TestApi::new(AccountsOptions { registration_open: false, ..AccountsOptions::default() }).await;
    let refused = closed.call(POST, "/users", None, credentials("ada", "correct horse")).await;
    refused.problem(403, "registration_closed");
}

#[actix_web::test]
async fn a_bad_token_is_refused_by_name_and_asks_for_a_better_one() {
    let api = api().await;
    let grant = api.register("ada").await;
    let missing = api.call(GET, "/me", None, None).await.problem(401, "token_missing");
    assert_eq!(missing.header("www-authenticate"), "Bearer realm=\"parlor\"");
    let junk = api.call(GET, "/me", Some("junk"), None).await.problem(401, "token_malformed");
    assert!(junk.header("www-authenticate").contains("error=\"invalid_token\""), "{junk:?}");
    let basic = TestRequest::get().uri("/api/v1/me").insert_header(("Authorization", "Basic YTpi"));
    api.send(basic).await.problem(401, "token_missing");
    // {"alg":"none"}
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token(&grant).unwrap().split('.').nth(1).unwrap());
    api.call(GET, "/me", Some(&unsigned), None).await.problem(401, "token_algorithm_none");
    api.state.clock.advance(TimeDelta::hours(1));
    api.call(GET, "/me", token(&grant), None).await.problem(401, "token_expired");
    let wrong = api.call(POST, "/login", None, credentials("ada", "wrong horse")).await;
    assert_eq!(wrong.problem(401, "wrong_credentials").header("www-authenticate"), "Bearer realm=\"parlor\"");
}

#[actix_web::test]
async fn a_body_that_is_not_understood_is_refused_by_name() {
    let api = api().await;
    let malformed = post_text(&api, "application/json", "{\n  \"username\": \"a\",\n  oops}").await;
    let malformed = malformed.problem(400, "malformed_json");
    assert_eq!((&malformed.body["line"], &malformed.body["column"]), (&json!(3), &json!(3)));
    post_text(&api, "application/json", "").await.problem(400, "malformed_json");
    post_text(&api, "application/json", "{\"username\": \"a\"}").await.problem(422, "invalid_body");
    post_text(&api, "text/plain", "{}").await.problem(415, "unsupported_media_type");
    let huge = format!("{{\"username\": \"{}\"}}", "a".repeat(super::problem::MAX_JSON_BYTES));
    post_text(&api, "application/json", huge).await.problem(413, "body_too_large");
    let logout = TestRequest::post().uri("/api/v1/logout").set_payload("{");
    api.send(logout).await.problem(400, "malformed_json");
}

#[actix_web::test]
async fn an_unknown_path_is_not_found_and_a_known_one_names_its_methods() {
    let api = api().await;
    api.call(GET, "/nothing", None, None).await.problem(404, "not_found");
    api.send(TestRequest::get().uri("/nothing")).await.problem(404, "not_found");
    let refused = api.call(Method::DELETE, "/users", None, None).await.problem(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), "GET, POST");
    assert_eq!(api.call(GET, "/login", None, None).await.problem(405, "method_not_allowed").header("allow"), "POST");
}

#[actix_web::test]
async fn users_are_searched_page_by_page_and_found_by_id() {
    let api = api().await;
    let grant = api.register("ada").await;
    for name in ["Adam", "adele", "bob"] {
        api.register(name).await;
    }
    let first = api.call(GET, "/users?search=AD&limit=2", token(&grant), None).await.body;
    assert_eq!(first["items"], json!([{"id": 1, "username": "ada"}, {"id": 2, "username": "Adam"}]));
    let path = format!("/users?search=AD&limit=2&after={}", first["next"].as_str().unwrap());
    let second = api.call(GET, &path, token(&grant), None).await.body;
    assert_eq!(second, json!({"items": [{"id": 3, "username": "adele"}], "next": null}));
    let by_id = api.call(GET, "/users?ids=4,1,99", token(&grant), None).await.body;
    assert_eq!(by_id["items"], json!([{"id": 1, "username": "ada"}, {"id": 4, "username": "bob"}]));
    assert_eq!(api.call(GET, "/users", token(&grant), None).await.body["items"].as_array().unwrap().len(), 4);
    api.call(GET, "/users", None, None).await.problem(401, "token_missing");
    let many = format!("/users?ids={}", vec!["1"; 101].join(","));
    for path in ["/users?limit=0", "/users?limit=x", "/users?after=%21", "/users?ids=1,x", "/users?ids=", &many] {
        api.call(GET, path, token(&grant), None).await.problem(400, "invalid_query");
    }
}

#[actix_web::test]
async fn administration_is_for_administrators() {
    let api = api().await;
    let grant = api.register("ada").await;
    for (method, path, body) in [
        (GET, "/admin/users", None),
        (POST, "/admin/users/1/disable", None),
        (POST, "/admin/users/1/enable", None),
        (PUT, "/admin/users/1/role", Some(json!({"role": "admin"}))),
        (PUT, "/admin/users/1/password", Some(json!({"password": "battery staple"}))),
    ] {
        api.call(method.clone(), path, token(&grant), body.clone()).await.problem(403, "admin_required");
        api.call(method, path, None, body).await.problem(401, "token_missing");
    }
}

#[actix_web::test]
async fn an_administrator_looks_after_users() {
    let api = api().await;
    let (ada, root) = (api.register("ada").await, api.admin("root").await);
    let root = Some(root.as_str());
    let list = api.call(GET, "/admin/users?search=a", root, None).await.body;
    let listed = json!({"id": 1, "username": "ada", "role": "user", "disabled": false,
        "createdAt": "2023-11-14T22:13:20Z"});
    assert_eq!(list, json!({"items": [listed], "next": null}));

    let disabled = api.call(POST, "/admin/users/1/disable", root, None).await;
    assert_eq!((disabled.status.as_u16(), &disabled.body["disabled"]), (200, &json!(true)));
    api.call(GET, "/me", token(&ada), None).await.problem(403, "account_disabled");
    api.call(POST, "/login", None, credentials("ada", "correct horse")).await.problem(403, "account_disabled");
    assert_eq!(api.call(GET, "/users?search=ada", root, None).await.body["items"], json!([]));
    assert_eq!(api.call(POST, "/admin/users/1/enable", root, None).await.body["disabled"], false);
    api.call(GET, "/me", token(&ada), None).await.problem(401, "login_ended");

    let new = Some(json!({"password": "battery staple"}));
    assert_eq!(api.call(PUT, "/admin/users/1/password", root, new.clone()).await.status.as_u16(), 204);
    let login = api.call(POST, "/login", None, credentials("ada", "battery staple")).await.body;
    let admin = Some(json!({"role": "admin"}));
    api.call(PUT, "/admin/users/me/role", root, Some(json!({"role": "user"}))).await.problem(409, "last_admin");
    api.call(POST, "/admin/users/me/disable", root, None).await.problem(409, "last_admin");
    assert_eq!(api.call(PUT, "/admin/users/1/role", root, admin.clone()).await.body["role"], "admin");
    assert_eq!(api.call(GET, "/admin/users", token(&login), None).await.status.as_u16(), 200, "holds at once");

    api.call(PUT, "/admin/users/9/role", root, admin).await.problem(404, "user_not_found");
    api.call(PUT, "/admin/users/9/password", root, new).await.problem(404, "user_not_found");
    api.call(POST, "/admin/users/x/disable", root, None).await.problem(400, "invalid_path");
    api.call(PUT, "/admin/users/1/role", root, Some(json!({"role": "king"}))).await.problem(422, "invalid_body");
}

#[actix_web::test]
async fn too_many_logins_are_told_when_to_come_back() {
    let api = api().await;
    api.register("ada").await;
    for _ in 0..10 {
        api.call(POST, "/login", None, credentials("ada", "wrong")).await.problem(401, "wrong_credentials");
    }
    let limited = api.call(POST, "/login", None, credentials("ada", "correct horse")).await;
    assert_eq!(limited.problem(429, "too_many_attempts").header("retry-after"), "30");
}

#[actix_web::test]
async fn addresses_behind_a_trusted_proxy_are_counted_apart() {
    let api = api().await;
    let from = |address: &str, n: u32| {
        TestRequest::post()
            .uri("/api/v1/login")
            .insert_header(("X-Forwarded-For", format!("203.0.113.9, {address}")))
            .set_json(json!({"username": format!("nobody{n}"), "password": "short"}))
    };
    for n in 0..60 {
        api.send(from("192.0.2.1", n)).await.problem(401, "wrong_credentials");
    }
    api.send(from("192.0.2.1", 60)).await.problem(429, "too_many_attempts");
    api.send(from("192.0.2.2", 61)).await.problem(401, "wrong_credentials");
}

#[actix_web::test]
async fn the_description_names_every_path_and_the_shape_of_every_refusal() {
    let api = api().await;
    let doc = api.call(GET, "/openapi.json", None, None).await.body;
    let paths: Vec<_> = doc["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in ["/users", "/login", "/token/refresh", "/logout", "/me", "/admin/users", "/admin/users/{id}/disable"] {
        assert!(paths.contains(&format!("/api/v1{path}").as_str()), "{path} is not in {paths:?}");
    }
    let refused = &doc["paths"]["/api/v1/login"]["post"]["responses"]["401"]["content"]["application/problem+json"];
    assert_eq!(refused["schema"]["$ref"], "#/components/schemas/Problem");
    assert!(doc["components"]["schemas"]["Problem"]["properties"]["code"].is_object());
    let credentials = &doc["components"]["schemas"]["CredentialsBody"]["properties"];
    assert_eq!(credentials["password"]["type"], "string");
    assert_eq!(doc["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");

    let moved = api.send(TestRequest::get().uri("/api/docs")).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (307, "/api/docs/"));
    let page = api.send(TestRequest::get().uri("/api/docs/")).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html"));
}
