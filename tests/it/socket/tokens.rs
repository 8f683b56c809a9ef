//! A socket lives as long as its token, its login and its account.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::app::{Account, ConnectOptions, TestApp};

async fn renew(app: &TestApp, account: &Account) -> Account {
    app.post("token/refresh", None, &json!({"refreshToken": account.refresh_token})).await.assert(200).account()
}

#[tokio::test]
async fn a_socket_closes_with_4401_when_its_token_ends_and_says_so_before() {
    let app = TestApp::with(&[("accounts.access_seconds", "2")]).await;
    let ada = app.register("ada").await;
    let began = Instant::now();
    let mut socket = app.socket(&ada).await;
    let expiring = socket.expect("tokenExpiring").await;
    assert_eq!(expiring["tokenExpiresAt"], socket.welcome["tokenExpiresAt"]);
    assert_eq!(socket.expect_close().await, 4401);
    let lived = began.elapsed();
    assert!((900..3500).contains(&lived.as_millis()), "{lived:?}");
    assert_eq!(app.upgrade(&ada, ConnectOptions::default()).await.err().unwrap().problem["code"], "token_expired");
}

#[tokio::test]
async fn a_renewed_token_keeps_the_socket_open_past_the_old_ones_end() {
    let app = TestApp::with(&[("accounts.access_seconds", "4")]).await;
    let ada = app.register("ada").await;
    let began = Instant::now();
    let mut socket = app.socket(&ada).await;
    socket.expect("tokenExpiring").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let renewed = renew(&app, &ada).await;
    socket.send(json!({"type": "refreshToken", "accessToken": renewed.access_token})).await;
    let later = socket.expect("tokenExpiring").await["tokenExpiresAt"].as_str().unwrap().to_owned();
    assert!(later.as_str() > socket.welcome["tokenExpiresAt"].as_str().unwrap(), "{later}");
    // An older token does not shorten it.
    socket.send(json!({"type": "refreshToken", "accessToken": ada.access_token})).await;
    tokio::time::sleep_until(began + Duration::from_millis(4300)).await;
    socket.assert_alive().await;
    assert_eq!(socket.expect_close().await, 4401);
    assert!(began.elapsed() > Duration::from_millis(5400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_token_that_does_not_fit_is_refused_and_the_socket_stays() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let other_login = app.login("ada").await;
    let mut socket = app.socket(&ada).await;
    for (token, code) in [
        (bob.access_token.as_str(), "token_of_other_user"),
        (other_login.access_token.as_str(), "token_of_other_login"),
        (ada.refresh_token.as_str(), "token_refused"),
        ("garbage", "token_refused"),
        ("", "token_refused"),
    ] {
        socket.send(json!({"type": "refreshToken", "accessToken": token})).await;
        assert_eq!(socket.expect("error").await["code"], code);
    }
    socket.assert_alive().await;
}

#[tokio::test]
async fn a_bad_token_is_a_close_code_to_browsers_and_a_status_to_programs() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let forged = format!("{}x", ada.access_token);
    let ended = app.login("ada").await;
    app.post("logout", Some(&ended), &json!({})).await.assert(204);
    for (token, code) in [
        ("garbage", "token_malformed"),
        (forged.as_str(), "token_wrong_signature"),
        (ended.access_token.as_str(), "login_ended"),
    ] {
        let options = ConnectOptions { token: Some(token), ..Default::default() };
        let browser = ConnectOptions { by_subprotocol: true, ..options.clone() };
        assert_eq!(app.upgrade(&ada, browser).await.unwrap().expect_close().await, 4401, "{code}");
        let refused = app.upgrade(&ada, options).await.err().unwrap();
        assert_eq!((refused.status, refused.content_type.as_str()), (401, "application/problem+json"));
        assert_eq!(refused.problem["code"], code, "{}", refused.problem);
    }
    let browser = ConnectOptions { by_subprotocol: true, ..Default::default() };
    app.connect(&ada, browser).await.assert_alive().await;
}

#[tokio::test]
async fn logging_out_closes_the_sockets_of_that_login_and_no_other() {
    let app = TestApp::start().await;
    let desk = app.register("ada").await;
    let phone = app.login("ada").await;
    let mut sockets = [app.socket(&desk).await, app.socket(&desk).await];
    let mut other = app.socket(&phone).await;
    app.post("logout", Some(&desk), &json!({})).await.assert(204);
    for socket in &mut sockets {
        assert_eq!(socket.expect_close_within(Duration::from_secs(2)).await, 4401);
    }
    other.assert_alive().await;
    // A refresh token that is used twice was stolen: that login ends too.
    renew(&app, &phone).await;
    let again = json!({"refreshToken": phone.refresh_token});
    app.post("token/refresh", None, &again).await.assert_problem(401, "refresh_token_reused");
    assert_eq!(other.expect_close_within(Duration::from_secs(2)).await, 4401);
}

#[tokio::test]
async fn a_user_disabled_by_another_process_is_out_within_two_seconds_and_may_come_back_when_enabled() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let (mut socket, mut other) = (app.socket(&ada).await, app.socket(&bob).await);
    app.cli(&["user", "disable", "ada"], "").await;
    assert_eq!(socket.expect_close_within(Duration::from_secs(2)).await, 4401);
    let browser = ConnectOptions { by_subprotocol: true, ..Default::default() };
    assert_eq!(app.upgrade(&ada, browser).await.unwrap().expect_close().await, 4401);
    let credentials = json!({"username": "ada", "password": crate::app::PASSWORD});
    app.post("login", None, &credentials).await.assert_problem(403, "account_disabled");
    app.cli(&["user", "enable", "ada"], "").await;
    app.socket(&app.login("ada").await).await.assert_alive().await;
    other.assert_alive().await;
}

#[tokio::test]
async fn a_new_password_ends_every_login() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    app.cli(&["user", "passwd", "ada", "--password-stdin"], "another long one").await;
    assert_eq!(socket.expect_close_within(Duration::from_secs(2)).await, 4401);
    app.get("me", &ada).await.assert_problem(401, "login_ended");
}
