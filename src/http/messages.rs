//! `POST /messages`: send without a socket.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Json, ServiceConfig};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Problem;
use super::auth::Caller;
use super::problem::{json_config, resource};
use crate::actors::session::SessionDeps;
use crate::ids::{MessageUid, SessionId, UserId};
use crate::intake::Rejection;
use crate::protocol::frames::MAX_CLIENT_MESSAGE_ID_BYTES;
use crate::protocol::session::Draft;

/// Registers the resource; a request may have as many bytes as a frame.
pub fn routes(max_bytes: usize) -> impl FnOnce(&mut ServiceConfig) {
    move |cfg| {
        cfg.service(resource("/messages", "POST").app_data(json_config().limit(max_bytes)).route(web::post().to(send)));
    }
}

/// A message to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewMessage {
    /// What is written.
    #[schema(example = "Hello, world!")]
    message_body: String,
    /// Who shall get it.
    recipient_ids: Vec<UserId>,
    /// The client's own name for it, 1 to 128 bytes: sending it again changes nothing.
    client_message_id: Option<String>,
}

/// The message is durable and will reach every recipient.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedMessage {
    message_uid: MessageUid,
}

/// Sends a message. It is accepted when it is durable.
#[utoipa::path(post, path = "/api/v1/messages", tag = "messages", security(("bearer" = [])), request_body = NewMessage,
    responses(
        (status = 202, description = "Accepted", body = AcceptedMessage),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 413, description = "`message_too_large`, `body_too_large`"),
        (status = 422, description = "`no_recipients`, `too_many_recipients`, `unknown_recipient`, `client_message_id_invalid`"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
        (status = 503, description = "`unavailable`, `stopping`, with `Retry-After`"),
    ))]
async fn send(
    Caller(identity): Caller,
    deps: Data<SessionDeps>,
    body: Json<NewMessage>,
) -> Result<HttpResponse, Problem> {
    let NewMessage { message_body, recipient_ids, client_message_id } = body.into_inner();
    if client_message_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_CLIENT_MESSAGE_ID_BYTES) {
        return Err(Problem::client_message_id());
    }
    let draft = Draft { message_body, recipient_ids, client_message_id };
    // In a task of its own: a client that hangs up now has still sent its message.
    let intake = deps.into_inner();
    let sent = actix_web::rt::spawn(async move {
        let admitted = intake.intake.admit(identity.user_id, SessionId::fresh(), draft).await?;
        admitted.durable().await
    });
    let sent: Result<MessageUid, Rejection> = sent.await.map_err(|error| Problem::internal(&error))?;
    let message_uid = sent.inspect_err(|rejection| crate::metrics::rejected(rejection.code()))?;
    crate::metrics::accepted();
    Ok(HttpResponse::Accepted().json(AcceptedMessage { message_uid }))
}
