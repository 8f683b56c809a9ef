//! The interface describes itself, whole.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::app::{TestApp, reply};

/// Every route there is, and whether it is for administrators.
const ROUTES: [(&str, &str); 35] = [
    ("post", "/api/v1/users"),
    ("get", "/api/v1/users"),
    ("post", "/api/v1/login"),
    ("post", "/api/v1/token/refresh"),
    ("post", "/api/v1/logout"),
    ("get", "/api/v1/me"),
    ("post", "/api/v1/messages"),
    ("get", "/api/v1/inbox"),
    ("get", "/api/v1/conversations"),
    ("get", "/api/v1/conversations/{id}/messages"),
    ("get", "/api/v1/conversations/{id}/reads"),
    ("get", "/api/v1/filtered"),
    ("post", "/api/v1/filtered/{messageUid}/restore"),
    ("get", "/api/v1/users/{id}/auto-reply"),
    ("put", "/api/v1/users/{id}/auto-reply"),
    ("get", "/api/v1/users/{id}/auto-reply/log"),
    ("get", "/api/v1/admin/users"),
    ("post", "/api/v1/admin/users/{id}/disable"),
    ("post", "/api/v1/admin/users/{id}/enable"),
    ("put", "/api/v1/admin/users/{id}/role"),
    ("put", "/api/v1/admin/users/{id}/password"),
    ("get", "/api/v1/admin/nodes"),
    ("post", "/api/v1/admin/nodes/{id}/drain"),
    ("get", "/api/v1/users/{id}/scripts"),
    ("post", "/api/v1/users/{id}/scripts/{direction}"),
    ("post", "/api/v1/users/{id}/scripts/{direction}/activate"),
    ("post", "/api/v1/users/{id}/scripts/{direction}/disable"),
    ("get", "/api/v1/users/{id}/scripts/{direction}/versions"),
    ("get", "/api/v1/users/{id}/scripts/{direction}/versions/{version}"),
    ("get", "/api/v1/users/{id}/scripts/{direction}/versions/{version}/source"),
    ("post", "/api/v1/users/{id}/scripts/{direction}/try"),
    ("get", "/api/v1/users/{id}/scripts/{direction}/log"),
    ("get", "/api/v1/admin/scripts/switched-off"),
    ("get", "/api/v1/scripts/languages"),
    ("get", "/api/v1/scripts/templates"),
];

#[tokio::test]
async fn the_description_lists_the_routes_that_are_served_and_no_other() {
    let app = TestApp::start().await;
    let document = app.get_url(&format!("{}/api/v1/openapi.json", app.url)).await.assert(200);
    assert_eq!(document.header("content-type"), Some("application/json"));
    let methods = ["get", "put", "post", "delete", "patch"];
    let paths = document.json["paths"].as_object().unwrap();
    let described: BTreeSet<(&str, &str)> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(|method| (method.as_str(), path.as_str())))
        .filter(|(method, _)| methods.contains(method))
        .collect();
    assert_eq!(described, BTreeSet::from(ROUTES));
    for (method, path) in described {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let url = path.replace("{id}", "1").replace("{direction}", "incoming").replace("{version}", "1");
        let answer = reply(app.request(method.clone(), &url, None).json(&json!({}))).await;
        assert!(![404, 405, 500].contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text);
        // Whatever is refused is described.
        let operation = &document.json["paths"][path][method.as_str().to_lowercase()];
        let listed = operation["responses"].as_object().unwrap();
        let general = [400, 401, 413, 415, 422].contains(&answer.status);
        assert!(listed.contains_key(&answer.status.to_string()) || general, "{path}: {}", answer.status);
    }
    let problem = &document.json["components"]["schemas"]["Problem"]["properties"];
    assert!(problem["code"].is_object(), "{problem}");
}

#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    let app = TestApp::start().await;
    let document = app.get_url(&format!("{}/api/v1/openapi.json", app.url)).await.assert(200);
    let mut references = Vec::new();
    gather(&document.json, &mut references);
    assert!(references.len() > 10);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.json.pointer(pointer).is_some(), "{reference}");
    }
}

fn gather(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            found.extend(map.get("$ref").and_then(|text| text.as_str()).map(str::to_owned));
            map.values().for_each(|value| gather(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| gather(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn there_is_a_page_of_it_for_people() {
    let app = TestApp::start().await;
    let page = app.get_url(&format!("{}/api/docs", app.url)).await.assert(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"), "{:?}", page.headers);
    assert!(page.text.contains("swagger-ui"), "{}", page.text);
    let script = app.get_url(&format!("{}/api/docs/swagger-initializer.js", app.url)).await.assert(200);
    assert!(script.text.contains("/api/v1/openapi.json"), "{}", script.text);
    for file in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        app.get_url(&format!("{}/api/docs/{file}", app.url)).await.assert(200);
    }
}
