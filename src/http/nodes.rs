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
use crate::cluster::nodes::Node;
use crate::intake::Rejection;
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
    /// Its name: the number of its slot in a cluster; a node alone is called `0`.
    id: String,
    /// The name of its host; empty for a node alone.
    host: String,
    /// The version that it runs.
    version: String,
    /// When it was started: RFC 3339.
    started_at: String,
    /// Live websockets; of another node a few seconds old.
    sessions: usize,
    /// The stages that it hosts.
    stages: Vec<String>,
    /// Whether it is about to stop.
    draining: bool,
    /// Whether it is the node that answers.
    answers: bool,
}

impl From<Node> for NodeBody {
    fn from(Node { seat, record }: Node) -> Self {
        Self {
            id: seat.slot.to_string(),
            host: record.host,
            version: record.version,
            started_at: record.started_at,
            sessions: record.sessions,
            stages: record.stages,
            draining: record.draining,
            answers: false,
        }
    }
}

/// All nodes, by slot. Without Redis, the one that answers.
#[utoipa::path(get, path = "/api/v1/admin/nodes", tag = "administration", security(("bearer" = [])), responses(
    (status = 200, description = "The nodes", body = Page<NodeBody>),
    (status = 401, description = "`token_missing`, `token_expired` …"),
    (status = 403, description = "`admin_required`"),
))]
async fn list(_: Admin, node: Data<NodeHandle>) -> Json<Page<NodeBody>> {
    let own = NodeBody {
        id: node.id(),
        host: node.host(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: at(node.started_at()),
        sessions: node.sessions().await,
        stages: node.stages().to_vec(),
        draining: node.draining(),
        answers: true,
    };
    let mut items: Vec<NodeBody> = node.others().into_iter().map(NodeBody::from).chain([own]).collect();
    items.sort_by_key(|node| node.id.parse::<u32>().unwrap_or(u32::MAX));
    Json(Page { items, next: None })
}

/// Tells a node to hand its clients over and stop.
#[utoipa::path(post, path = "/api/v1/admin/nodes/{id}/drain", tag = "administration", security(("bearer" = [])),
    params(("id" = String, Path, description = "The node's id")), responses(
        (status = 202, description = "It drains, and then stops"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 403, description = "`admin_required`"),
        (status = 404, description = "`unknown_node`"),
        (status = 503, description = "`unavailable`: the node cannot be told"),
    ))]
async fn drain(Admin(identity): Admin, node: Data<NodeHandle>, id: Path<String>) -> Result<HttpResponse, Problem> {
    if id.as_str() == node.id() {
        tracing::info!(admin_id = %identity.user_id, "an administrator drains this node");
        node.stop();
        return Ok(HttpResponse::Accepted().finish());
    }
    match node.drain_other(&id).await {
        Ok(true) => {
            tracing::info!(admin_id = %identity.user_id, node = %id, "an administrator drains another node");
            Ok(HttpResponse::Accepted().finish())
        }
        Ok(false) => Err(Problem::missing("unknown_node", "there is no such node")),
        Err(error) => Err(Rejection::Bus(error).into()),
    }
}
