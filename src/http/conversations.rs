//! `GET /conversations`, their messages, and how far others have read in them.

use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::page::{BackwardsQuery, Page};
use super::problem::resource;
use super::{Problem, State};
use crate::actors::session::view;
use crate::ids::{ConversationId, Seq, UserId};
use crate::protocol::frames::{MessageView, at};

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/conversations", "GET").route(web::get().to(list)))
        .service(resource("/conversations/{id}/messages", "GET").route(web::get().to(messages)))
        .service(resource("/conversations/{id}/reads", "GET").route(web::get().to(reads)));
}

/// A conversation in the caller's list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConversationBody {
    /// Derived from its participants.
    conversation_id: ConversationId,
    /// All who take part, the caller too, ascending.
    participants: Vec<UserId>,
    /// When its first message was sent: RFC 3339.
    created_at: String,
    /// How far the caller has read: a place in the caller's inbox.
    read_seq: Seq,
    /// Messages of others behind that; 1000 means that many or more.
    unread: i64,
    /// The newest message.
    last_message: MessageView,
}

/// The caller's conversations, the one with the newest message first. `next` is the `before` of the next page.
#[utoipa::path(get, path = "/api/v1/conversations", tag = "messages", security(("bearer" = [])), params(BackwardsQuery),
    responses(
        (status = 200, description = "A page of conversations", body = Page<ConversationBody>),
        (status = 400, description = "`invalid_query`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
    ))]
async fn list(
    Caller(identity): Caller,
    state: Data<State>,
    query: Query<BackwardsQuery>,
) -> Result<Json<Page<ConversationBody>>, Problem> {
    let (before, limit) = query.read()?;
    let before = before.map(Seq);
    let mut found = state.store.conversations(identity.user_id, before, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| last.last.seq.to_string());
    let items = found.iter().map(|summary| ConversationBody {
        conversation_id: summary.conversation_id,
        participants: summary.participants.clone(),
        created_at: at(summary.created_at),
        read_seq: summary.read_seq,
        unread: summary.unread,
        last_message: view(&summary.last),
    });
    Ok(Json(Page { items: items.collect(), next }))
}

/// A conversation's messages, newest first. `next` is the `before` of the next page: what is written meanwhile moves
/// nothing.
#[utoipa::path(get, path = "/api/v1/conversations/{id}/messages", tag = "messages", security(("bearer" = [])),
    params(("id" = ConversationId, Path, description = "The conversation"), BackwardsQuery), responses(
        (status = 200, description = "A page of messages", body = Page<MessageView>),
        (status = 400, description = "`invalid_query`, `invalid_path`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`unknown_conversation`: there is none of the caller's with this id"),
    ))]
async fn messages(
    Caller(identity): Caller,
    state: Data<State>,
    id: Path<ConversationId>,
    query: Query<BackwardsQuery>,
) -> Result<Json<Page<MessageView>>, Problem> {
    let (before, limit) = query.read()?;
    let before = before.map(Seq);
    let found = state.store.history(identity.user_id, id.into_inner(), before, limit + 1).await?;
    let mut found = found.ok_or_else(unknown)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| last.seq.to_string());
    Ok(Json(Page { items: found.iter().map(view).collect(), next }))
}

/// How far another participant has read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadBody {
    /// Who has read.
    user_id: UserId,
    /// Up to which message: its place in the caller's inbox.
    seq: Seq,
}

/// How far the others in a conversation have read; who has read nothing is left out. What is read later is told by the
/// frame `read`. There is one page.
#[utoipa::path(get, path = "/api/v1/conversations/{id}/reads", tag = "messages", security(("bearer" = [])),
    params(("id" = ConversationId, Path, description = "The conversation")), responses(
        (status = 200, description = "Who has read, and how far", body = Page<ReadBody>),
        (status = 400, description = "`invalid_path`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`unknown_conversation`: there is none of the caller's with this id"),
    ))]
async fn reads(
    Caller(identity): Caller,
    state: Data<State>,
    id: Path<ConversationId>,
) -> Result<Json<Page<ReadBody>>, Problem> {
    let found = state.store.readers(identity.user_id, id.into_inner()).await?.ok_or_else(unknown)?;
    let items = found.into_iter().map(|reader| ReadBody { user_id: reader.user, seq: reader.seq });
    Ok(Json(Page { items: items.collect(), next: None }))
}

fn unknown() -> Problem {
    Problem::missing("unknown_conversation", "no conversation of yours has this id")
}
