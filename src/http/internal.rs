//! The internal port: `/healthz`, `/readyz`, `/metrics`. For the operator's machines only; it asks nobody who they are.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::{self, Data, ServiceConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use super::problem::{not_found, resource};
use crate::actors::node::{Checks, NodeHandle, Startup};
use crate::metrics::{self, process};

/// The check of a node that is not up yet.
const START: &str = "start";

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/healthz", "GET").route(web::get().to(healthz)))
        .service(resource("/readyz", "GET").route(web::get().to(readyz)))
        .service(resource("/metrics", "GET").route(web::get().to(scrape)))
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

/// Of a node that is not up.
fn starting(startup: &Startup) -> Checks {
    let mut checks = Checks::default();
    checks.must(START, Err(startup.waits_for()));
    checks
}

/// Whether to send clients here, and what speaks against it.
async fn readyz(startup: Data<Startup>) -> HttpResponse {
    let checks = match startup.node() {
        Some(node) => node.checks().await,
        None => starting(&startup),
    };
    let ready = !checks.refused;
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Readiness { ready, checks: checks.said })
}

fn as_gauge(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

/// The metrics in Prometheus's text format, each gauge as of now; but whether the tables answer, as of the last time that somebody asked:
/// a scrape waits for nobody.
async fn scrape(startup: Data<Startup>, handle: Data<Option<PrometheusHandle>>) -> HttpResponse {
    let checks = startup.node().map_or_else(|| starting(&startup), NodeHandle::checks_of_late);
    metrics::ready(as_gauge(!checks.refused));
    metrics::check_ok(as_gauge(!checks.said.contains_key(START)), START);
    for (name, outcome) in checks.passed() {
        metrics::check_ok(as_gauge(outcome), name);
    }
    if let Some(node) = startup.node() {
        node.measure();
    }
    process::measure();
    let text = handle.as_ref().as_ref().map(PrometheusHandle::render).unwrap_or_default();
    HttpResponse::Ok().content_type(ContentType::plaintext()).body(text)
}
