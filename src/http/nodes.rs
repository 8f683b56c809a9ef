//! `/admin/nodes`: which nodes there are, and telling one to stop.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use super::auth::Admin;
use super::page::Page;
use super::problem::resource;
use crate::actors::node::NodeHandle;
use crate::protocol::frames::at;

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/admin/nodes", "GET").route(web::get().to(list)))
        .service(resource("/admin/nodes/{id}/drain", "POST").route(web::post().to(drain)));
}

/// One running `parlor` process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeBody {
    /// Its name; an embedded node is called `0`.
    id: String,
    /// The version that it runs.
    version: &'static str,
    /// When it was started: RFC 3339.
    started_at: String,
    /// Live websockets.
    sessions: usize,
    /// The stages that it hosts.
    stages: Vec<String>,
    /// Whether it is about to stop.
    draining: bool,
}

/// All nodes.
#[utoipa::path(get, path = "/api/v1/admin/nodes", tag = "administration", security(("bearer" = [])), responses(
    (status = 200, description = "The nodes", body = Page<NodeBody>),
    (status = 401, description = "`token_missing`, `token_expired` …"),
    (status = 403, description = "`admin_required`"),
))]
async fn list(_: Admin, node: Data<NodeHandle>) -> Json<Page<NodeBody>> {
    let body = NodeBody {
        id: node.id().to_owned(),
        version: env!("CARGO_PKG_VERSION"),
        started_at: at(node.started_at()),
        sessions: node.sessions().await,
        stages: node.stages().to_vec(),
        draining: node.draining(),
    };
    Json(Page { items: vec![body], next: None })
}

/// Tells a node to hand its clients over and stop.
#[utoipa::path(post, path = "/api/v1/admin/nodes/{id}/drain", tag = "administration", security(("bearer" = [])),
    params(("id" = String, Path, description = "The node's id")), responses(
        (status = 202, description = "It drains, and then stops"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 403, description = "`admin_required`"),
        (status = 404, description = "`unknown_node`"),
    ))]
async fn drain(Admin(identity): Admin, node: Data<NodeHandle>, id: Path<String>) -> Result<HttpResponse, Problem> {
    if id.as_str() != node.id() {
        return Err(Problem::missing("unknown_node", "there is no such node"));
    }
    tracing::info!(user_id = %identity.user_id, "an administrator drains this node");
    node.stop();
    Ok(HttpResponse::Accepted().finish())
}
