//! Who gets a socket at all.

use reqwest::Method;

use crate::app::{ConnectOptions, TestApp};

#[tokio::test]
async fn pages_of_foreign_origins_are_kept_out() {
    let app = TestApp::with(&[("session.allowed_origins", r#"["https://chat.example"]"#)]).await;
    let ada = app.register("ada").await;
    let own = app.url.clone();
    for origin in [own.as_str(), "https://chat.example"] {
        let options = ConnectOptions { origin: Some(origin), by_subprotocol: true, ..Default::default() };
        app.connect(&ada, options).await.assert_alive().await;
    }
    for origin in ["https://evil.example", "http://chat.example", "https://chat.example.evil.example", "null", ""] {
        for by_subprotocol in [true, false] {
            let options = ConnectOptions { origin: Some(origin), by_subprotocol, ..Default::default() };
            let refused = app.upgrade(&ada, options).await.err().unwrap();
            assert_eq!((refused.status, &refused.problem["code"]), (403, &"foreign_origin".into()), "{origin}");
        }
    }
}

#[tokio::test]
async fn without_a_token_there_is_no_socket() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let upgrade = |by| {
        let request =
            app.request(Method::GET, "/ws", by).header("Connection", "Upgrade").header("Upgrade", "websocket");
        request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    let bare = crate::app::reply(upgrade(None)).await.assert_problem(401, "token_missing");
    assert_eq!(bare.header("www-authenticate"), Some("Bearer realm=\"parlor\""));
    let only_ours = upgrade(None).header("Sec-WebSocket-Protocol", "parlor.v1");
    crate::app::reply(only_ours).await.assert_problem(401, "token_missing");
    let basic = upgrade(None).header("Authorization", "Basic YWRhOng=");
    crate::app::reply(basic).await.assert_problem(401, "token_missing");
    // A token in the URL would stand in every log on the way.
    let in_url = app.request(Method::GET, &format!("/ws?token={}", ada.access_token), None);
    crate::app::reply(in_url).await.assert_problem(401, "token_missing");
}

#[tokio::test]
async fn what_is_no_upgrade_is_told_so() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    crate::app::reply(app.request(Method::GET, "/ws", Some(&ada))).await.assert_problem(400, "not_a_websocket");
    let post = crate::app::reply(app.request(Method::POST, "/ws", Some(&ada))).await;
    assert_eq!(post.assert_problem(405, "method_not_allowed").header("allow"), Some("GET"));
    for after in ["x", "1.5", "9223372036854775808"] {
        let request = app.request(Method::GET, &format!("/ws?after={after}"), Some(&ada));
        crate::app::reply(request).await.assert_problem(400, "invalid_query");
    }
}
