//! Pages of other origins: those that are allowed may read their answers, others may not.

use reqwest::Method;

use crate::app::TestApp;

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_use_the_interface_and_another_may_not() {
    let app = TestApp::with(&[("session.allowed_origins", r#"["https://chat.example"]"#)]).await;
    for (origin, fine) in [("https://chat.example", true), ("https://other.example", false)] {
        let preflight = app
            .request(Method::OPTIONS, "/api/v1/messages", None)
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "authorization,content-type");
        let answer = preflight.send().await.unwrap();
        let allowed = answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!((answer.status().is_success(), allowed), (fine, fine.then_some(origin)));
        let answer =
            app.request(Method::GET, "/api/v1/openapi.json", None).header("Origin", origin).send().await.unwrap();
        assert_eq!(answer.headers().contains_key("access-control-allow-origin"), fine, "{origin}");
    }
}
