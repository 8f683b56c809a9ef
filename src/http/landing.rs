//! `GET /`: what a newcomer's browser finds until the web page comes (CHANGELOG, "not there yet").

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, ContentType};
use actix_web::web::{self, ServiceConfig};

use super::problem::resource;

const PAGE: &str = include_str!("landing.html");
/// The page needs its one inline style sheet and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// Registers the page.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/", "GET").route(web::get().to(page)));
}

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::html()).insert_header((CONTENT_SECURITY_POLICY, POLICY)).body(PAGE)
}
