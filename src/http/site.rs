//! The web page: the files of `web/dist`, embedded, with what keeps a browser from running anything else.

use std::borrow::Cow;

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ContentType, ETAG, EntityTag, HOST,
    HeaderMap, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::{self, resource};

/// What `npm run build` made. A debug build reads the folder whenever it is asked; a release build holds it.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/web/dist"]
struct Dist;

/// What `/` says when the page was not built before the server.
const UNBUILT: &str = include_str!("site/unbuilt.html");
/// The page; the paths that are its screens all lead to it.
const INDEX: &str = "index.html";
/// The screens of the page. What is not listed stays a 404, so that a wrong path of the interface is not a page.
const SCREENS: [&str; 9] = [
    "/",
    "/c/{rest:.*}",
    "/auto-reply",
    "/filtered",
    "/scripts",
    "/scripts/{rest:.*}",
    "/settings",
    "/admin",
    "/admin/{rest:.*}",
];
/// Files beside the page whose names are not made from what is in them.
const FIXED: [&str; 3] = ["/session-worker.js", "/icon.svg", "/manifest.webmanifest"];
/// A file under `assets/` has a hash in its name: another content is another name.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// The others are asked about each time, and mostly answered by 304.
const ASK: &str = "no-cache";

/// Registers the page and its files.
pub fn routes(cfg: &mut ServiceConfig) {
    for path in SCREENS {
        cfg.service(resource(path, "GET").route(web::get().to(page)));
    }
    for path in FIXED {
        cfg.service(resource(path, "GET").route(web::get().to(file)));
    }
    cfg.service(resource("/assets/{name}", "GET").route(web::get().to(file)));
}

async fn page(request: HttpRequest) -> Result<HttpResponse, super::Problem> {
    match serve(&request, INDEX, ASK) {
        Some(answer) => Ok(answer),
        None => Ok(HttpResponse::Ok()
            .content_type(ContentType::html())
            .insert_header((CONTENT_SECURITY_POLICY, policy(request.headers())))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(UNBUILT)),
    }
}

async fn file(request: HttpRequest) -> Result<HttpResponse, super::Problem> {
    let path = request.path().trim_start_matches('/');
    let caching = if path.starts_with("assets/") { FOR_EVER } else { ASK };
    match serve(&request, path, caching) {
        Some(answer) => Ok(answer),
        None => problem::not_found().await,
    }
}

/// A file, in the smallest form that the client takes.
fn serve(request: &HttpRequest, path: &str, caching: &'static str) -> Option<HttpResponse> {
    let (file, encoding) = smallest(request.headers(), path)?;
    let hash: String = file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = EntityTag::new_strong(hash);
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((VARY, "Accept-Encoding"))
        .insert_header((ETAG, tag.to_string()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header(("Cross-Origin-Opener-Policy", "same-origin"))
        .insert_header((CONTENT_SECURITY_POLICY, policy(request.headers())));
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag.to_string())) {
        return Some(answer.status(actix_web::http::StatusCode::NOT_MODIFIED).finish());
    }
    if let Some(encoding) = encoding {
        answer.insert_header((CONTENT_ENCODING, encoding));
    }
    Some(answer.content_type(media_type(path)).body(match file.data {
        Cow::Borrowed(bytes) => web::Bytes::from_static(bytes),
        Cow::Owned(bytes) => web::Bytes::from(bytes),
    }))
}

/// The build leaves `FILE.br` and `FILE.gz` beside what becomes smaller by it.
fn smallest(headers: &HeaderMap, path: &str) -> Option<(EmbeddedFile, Option<&'static str>)> {
    for (encoding, ending) in [("br", ".br"), ("gzip", ".gz")] {
        if accepts(headers, encoding)
            && let Some(file) = Dist::get(&format!("{path}{ending}"))
        {
            return Some((file, Some(encoding)));
        }
    }
    Dist::get(path).map(|file| (file, None))
}

fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let refused =
            |part: &str| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding)) && !parts.any(refused)
    })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// What the page may do: run and show its own files, and speak to this server. Nothing inline, nothing from elsewhere,
/// no text that becomes a script or markup. (`data:` images are the marks of the editor; a picture runs nothing.)
fn policy(headers: &HeaderMap) -> String {
    // 'self' does not cover sockets in every browser. The name is the browser's own, and is not taken when it is odd.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b));
    let sockets = if plain { format!(" ws://{host} wss://{host}") } else { String::new() };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; worker-src 'self'; \
         manifest-src 'self'; connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types parlor"
    )
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use actix_web::test::TestRequest;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn an_encoding_is_used_only_where_it_is_accepted() {
        for (value, br, gzip) in [
            ("gzip, deflate, br", true, true),
            ("gzip;q=1.0, br;q=0", false, true),
            ("BR", true, false),
            ("identity", false, false),
            ("", false, false),
        ] {
            let headers = headers(ACCEPT_ENCODING, value);
            assert_eq!((accepts(&headers, "br"), accepts(&headers, "gzip")), (br, gzip), "{value}");
        }
        assert!(!accepts(&HeaderMap::new(), "br"));
    }

    #[test]
    fn the_policy_lets_nothing_in_that_is_inline_or_from_elsewhere() {
        let own = policy(&headers(HOST, "chat.example:8080"));
        assert!(own.contains("connect-src 'self' ws://chat.example:8080 wss://chat.example:8080;"), "{own}");
        assert!(own.starts_with("default-src 'none'; "), "{own}");
        assert!(!own.contains("unsafe") && !own.contains('*'), "{own}");
        // A name with anything in it that could end a directive adds none.
        for odd in ["a; script-src *", "a b", "*", "a'"] {
            let policy = policy(&headers(HOST, odd));
            assert!(policy.contains("connect-src 'self';"), "{policy}");
        }
    }

    #[actix_web::test]
    async fn without_a_built_page_or_with_one_the_first_page_is_html_under_the_policy() {
        let answer = page(TestRequest::get().uri("/").to_http_request()).await.unwrap();
        let head = |name: HeaderName| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(answer.status(), 200);
        assert!(head(actix_web::http::header::CONTENT_TYPE).starts_with("text/html"));
        assert!(head(CONTENT_SECURITY_POLICY).contains("script-src 'self'"));
    }

    #[actix_web::test]
    async fn nothing_beside_the_built_files_is_served() {
        for path in ["/assets/..%2fpackage.json", "/assets/.gitkeep", "/assets/nothing.js"] {
            let missing = file(TestRequest::get().uri(path).to_http_request()).await;
            assert_eq!(missing.unwrap_err().code(), "not_found", "{path}");
        }
    }
}
