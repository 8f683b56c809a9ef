//! The internal port: `/healthz`, `/readyz`, `/metrics`. For the operator's machines only; it asks nobody who they are.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{self, Data, ServiceConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use super::problem::{not_found, resource};
use crate::actors::node::{Checks, Startup};

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/healthz", "GET").route(web::get().to(healthz)))
        .service(resource("/readyz", "GET").route(web::get().to(readyz)))
        .service(resource("/metrics", "GET").route(web::get().to(metrics)))
        .default_service(web::to(not_found));
}

/// Whether the process lives: it answers.
async fn healthz() -> &'static str {
    "ok\n"
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: BTreeMap<&'static str, String>,
}

/// Whether to send clients here, and what speaks against it.
async fn readyz(startup: Data<Startup>) -> HttpResponse {
    let checks = match startup.node() {
        Some(node) => node.checks().await,
        None => {
            let mut checks = Checks::default();
            checks.must("start", Err(startup.waits_for()));
            checks
        }
    };
    let ready = !checks.refused;
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Readiness { ready, checks: checks.said })
}

/// The metrics in Prometheus's text format.
async fn metrics(startup: Data<Startup>, handle: Data<Option<PrometheusHandle>>) -> HttpResponse {
    if let Some(node) = startup.node() {
        node.measure();
    }
    let text = handle.as_ref().as_ref().map(PrometheusHandle::render).unwrap_or_default();
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(text)
}
