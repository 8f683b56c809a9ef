//! `/filtered`: what the caller's script kept out of their inbox, and how it gets there after all.

use std::num::NonZeroU32;

use actix_web::web::{self, Data, Json, Path, Query, ServiceConfig};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::page::{self, Page};
use super::problem::resource;
use super::{Problem, State};
use crate::actors::session::{SessionDeps, view};
use crate::ids::{ConversationId, MessageUid, UserId};
use crate::protocol::frames::MessageView;
use crate::store::inbox::InboxEntry;

/// Registers the resources.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(resource("/filtered", "GET").route(web::get().to(list)))
        .service(resource("/filtered/{messageUid}/restore", "POST").route(web::post().to(restore)));
}

/// A message that the caller's script dropped: a message without a place.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilteredMessage {
    /// Its uid.
    message_uid: MessageUid,
    /// Its conversation.
    conversation_id: ConversationId,
    /// Who wrote it.
    sender_id: UserId,
    /// All whom the sender addressed.
    recipient_ids: Vec<UserId>,
    /// What was written.
    message_body: String,
    /// Whether a script or an auto-reply made it.
    from_auto_reply: bool,
    /// When it was sent: RFC 3339, UTC, milliseconds.
    sent_at: String,
}

impl From<&InboxEntry> for FilteredMessage {
    fn from(entry: &InboxEntry) -> Self {
        let MessageView {
            seq: _,
            message_uid,
            conversation_id,
            sender_id,
            recipient_ids,
            message_body,
            from_auto_reply,
            sent_at,
        } = view(entry);
        Self { message_uid, conversation_id, sender_id, recipient_ids, message_body, from_auto_reply, sent_at }
    }
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FilteredQuery {
    /// Only what is older than this message: the `next` of the page before.
    before: Option<String>,
    /// How many; 50 by default, 100 at most.
    #[param(value_type = Option<u32>, minimum = 1)]
    limit: Option<NonZeroU32>,
}

/// What the caller's own incoming script dropped, newest first. `next` is the `before` of the next page.
#[utoipa::path(get, path = "/api/v1/filtered", tag = "automation", security(("bearer" = [])), params(FilteredQuery),
    responses(
        (status = 200, description = "A page of messages", body = Page<FilteredMessage>),
        (status = 400, description = "`invalid_query`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
    ))]
async fn list(
    Caller(identity): Caller,
    state: Data<State>,
    query: Query<FilteredQuery>,
) -> Result<Json<Page<FilteredMessage>>, Problem> {
    let refused = || Problem::bad_query("`before` must be the `next` of the page before").field("before");
    let before = query.before.as_deref().map(|uid| uid.parse().map(MessageUid).map_err(|_| refused())).transpose()?;
    let limit = page::limit(query.limit);
    let found = state.store.filtered(identity.user_id, before, limit + 1).await?;
    let mut found = found.ok_or_else(refused)?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|last| last.message_uid.to_string());
    Ok(Json(Page { items: found.iter().map(FilteredMessage::from).collect(), next }))
}

/// Put a message where the script kept it from: it gets the next place in the caller's inbox. Asked again, it stays
/// where it is. Its sender is not told.
#[utoipa::path(post, path = "/api/v1/filtered/{messageUid}/restore", tag = "automation", security(("bearer" = [])),
    params(("messageUid" = MessageUid, Path, description = "The message")), responses(
        (status = 200, description = "The message, with its place", body = MessageView),
        (status = 400, description = "`invalid_path`"),
        (status = 401, description = "`token_missing`, `token_expired` …"),
        (status = 404, description = "`unknown_message`: none of the caller's was kept back under this uid"),
        (status = 503, description = "`unavailable`, with `Retry-After`"),
    ))]
async fn restore(
    Caller(identity): Caller,
    state: Data<State>,
    deps: Data<SessionDeps>,
    uid: Path<MessageUid>,
) -> Result<Json<MessageView>, Problem> {
    let (user, uid) = (identity.user_id, uid.into_inner());
    // In a task of its own: what is written is told, also when the client hangs up between the two.
    let restored = actix_web::rt::spawn(async move {
        let restored = state.store.restore(user, uid).await?;
        if let Some(entry) = &restored {
            // Written it is; a session that is not told now reads it with the next message.
            deps.bridge.deliver(Vec::new(), vec![(user, entry.seq)]).await.safe().await;
        }
        Ok::<_, crate::store::Error>(restored)
    });
    let restored = restored.await.map_err(|error| Problem::internal(&error))??;
    let missing = || Problem::missing("unknown_message", "no message of yours was kept back under this uid");
    Ok(Json(view(&restored.ok_or_else(missing)?)))
}
