//! The description of `/api/v1` for programs (`/api/v1/openapi.json`) and people (`/api/docs/`).

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, http::header::ContentType};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::problem::{CONTENT_TYPE, Document, resource};
use super::{Problem, admin, auto_reply, conversations, filtered, inbox, login, me, messages, nodes, scripts, users};

const JSON_PATH: &str = "/api/v1/openapi.json";

/// The description of everything under `/api/v1`. A new resource is listed here; its
/// refusals need a status and a description (the codes), no body.
#[derive(OpenApi)]
#[openapi(
    info(title = "Parlor", description = "A chat server whose users program their own messages. Errors are RFC 9457 \
         problem documents with a stable `code`; lists are `{items, next}`."),
    paths(
        users::register,
        users::search,
        login::login,
        login::refresh,
        login::logout,
        me::me,
        admin::list,
        admin::disable,
        admin::enable,
        admin::set_role,
        admin::set_password,
        messages::send,
        inbox::list,
        conversations::list,
        conversations::messages,
        conversations::reads,
        filtered::list,
        filtered::restore,
        auto_reply::get,
        auto_reply::put,
        auto_reply::log,
        nodes::list,
        nodes::drain,
        scripts::overview,
        scripts::upload::upload,
        scripts::activation::activate,
        scripts::activation::disable,
        scripts::versions::list,
        scripts::versions::one,
        scripts::versions::source,
        scripts::trial::try_out,
        scripts::log::list,
        scripts::switched_off::list,
        scripts::offered::languages,
        scripts::offered::templates,
    ),
    components(schemas(Document)),
    modifiers(&Bearer, &Problems, &Names),
    tags(
        (name = "accounts", description = "Register, log in and out"),
        (name = "users", description = "Whom one can write to"),
        (name = "messages", description = "Send, and read what was delivered"),
        (name = "automation", description = "What answers, edits and filters for a user"),
        (name = "scripts", description = "Look after one's scripts; the owner and administrators may, to others they are \
         not there"),
        (name = "administration", description = "For the role `admin`"),
    )
)]
pub struct ApiDoc;

/// Names the way in that the paths refer to as `bearer`.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        openapi.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Gives every refusal that a path lists the body that all of them have, so that none need say so.
struct Problems;

impl Modify for Problems {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let operations = openapi.paths.paths.values_mut().flat_map(operations);
        for (status, response) in operations.flat_map(|operation| operation.responses.responses.iter_mut()) {
            if let RefOr::T(response) = response
                && status.starts_with(['4', '5'])
                && response.content.is_empty()
            {
                let content = Content::new(Some(Ref::from_schema_name("Problem")));
                response.content.insert(CONTENT_TYPE.to_owned(), RefOr::T(content));
            }
        }
    }
}

/// Names every operation by its method and path: the names of handlers, `list` and `get`, stand there more than once,
/// and generators of clients go by them.
struct Names;

impl Modify for Names {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let PathItem { get, put, post, delete, patch, .. } = item;
            let by_method = [("get", get), ("put", put), ("post", post), ("delete", delete), ("patch", patch)];
            for (method, operation) in by_method {
                if let Some(operation) = operation {
                    operation.operation_id = Some(operation_id(method, path));
                }
            }
        }
    }
}

/// `get /api/v1/users/{id}/auto-reply` → `getUsersIdAutoReply`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut id = method.to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().filter_map(|operation| operation.as_mut())
}

/// Registers the document.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/openapi.json", "GET").route(web::get().to(document)));
}

/// Registers the pages for people.
pub fn ui(cfg: &mut ServiceConfig) {
    cfg.service(web::redirect("/api/docs", "/api/docs/"))
        .service(SwaggerUi::new("/api/docs/{_:.*}").config(Config::from(JSON_PATH)));
}

async fn document() -> Result<HttpResponse, Problem> {
    let json = ApiDoc::openapi().to_json().map_err(|error| Problem::internal(&error))?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(json))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The web page's types are made from this file.
    #[test]
    fn the_description_in_the_web_folder_is_that_of_this_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/web/openapi.json");
        let current = ApiDoc::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var_os("PARLOR_WRITE_OPENAPI").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap();
        assert!(
            kept == current,
            "web/openapi.json is not current: PARLOR_WRITE_OPENAPI=1 cargo test --lib http::openapi && npm --prefix web run types"
        );
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let mut document = ApiDoc::openapi();
        let named = |operation: &mut Operation| operation.operation_id.clone().unwrap();
        let names: Vec<String> = document.paths.paths.values_mut().flat_map(operations).map(named).collect();
        assert!(names.len() > 30 && names.contains(&"getUsersIdAutoReply".to_owned()), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}
