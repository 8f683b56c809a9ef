//! What a frame asks for beyond sending: the store, the registry or the accounts are asked, and the answer comes later.

use std::time::Duration;

use actix::prelude::*;

use super::{LOW_WATER, PAGE_BYTES, PAGE_MESSAGES, Phase, SessionActor, SessionDeps, view};
use crate::ids::{ConversationId, Seq, UserId};
use crate::pipeline::bridge::FrameKind;
use crate::protocol::frames::ServerFrame;
use crate::store;

impl SessionActor {
    pub(super) fn mark_read(&mut self, conversation: ConversationId, seq: Seq, context: &mut Context<Self>) {
        let (deps, user) = (self.deps.clone(), self.who.user_id);
        let work = async move { mark_read(&deps, user, conversation, seq).await };
        context.spawn(work.into_actor(self).map(|result, actor, context| {
            let (code, detail) = match result {
                Ok(true) => return,
                Ok(false) => ("unknown_conversation", "`conversationId` is no conversation of yours".to_owned()),
                Err(error) => {
                    tracing::warn!(%error, "a read mark was not stored");
                    ("unavailable", "the read mark could not be stored: try again".to_owned())
                }
            };
            actor.send(ServerFrame::Error { code, detail }.text(), context);
        }));
    }

    pub(super) fn typing(&mut self, recipients: Vec<UserId>, context: &mut Context<Self>) {
        let user_id = self.who.user_id;
        let conversation_id = ConversationId::of(recipients.iter().copied().chain([user_id]));
        let users = recipients.into_iter().filter(|&id| id != user_id).collect();
        let frame = ServerFrame::Typing { user_id, conversation_id };
        let bridge = self.deps.bridge.clone();
        context.spawn(async move { bridge.tell(users, &frame, FrameKind::Typing).await }.into_actor(self));
    }

    pub(super) fn check_token(&mut self, token: String, context: &mut Context<Self>) {
        let deps = self.deps.clone();
        let work = async move { deps.accounts.verify(&token).await };
        context.spawn(work.into_actor(self).map(|result, actor, context| match result {
            Ok(identity) if identity.user_id == actor.who.user_id => {
                if identity.family_id != actor.family_id {
                    let detail = "`accessToken` belongs to another login: open a new connection with it".to_owned();
                    actor.send(ServerFrame::Error { code: "token_of_other_login", detail }.text(), context);
                    return;
                }
                if let Phase::Open(session) = &mut actor.phase {
                    session.token_renewed(identity.expires_at);
                }
                actor.schedule(context);
            }
            Ok(_) => {
                let detail = "`accessToken` belongs to another user".to_owned();
                actor.send(ServerFrame::Error { code: "token_of_other_user", detail }.text(), context);
            }
            Err(error) => {
                let detail = format!("`accessToken` is refused: {error}");
                actor.send(ServerFrame::Error { code: "token_refused", detail }.text(), context);
            }
        }));
    }

    /// Reads the next page when the client has taken most of the one before.
    pub(super) fn read_inbox(&mut self, after: Seq, context: &mut Context<Self>) {
        let (store, outbox, user) = (self.deps.store.clone(), self.outbox.clone(), self.who.user_id);
        let work = async move {
            outbox.below(LOW_WATER).await;
            store.inbox_after(user, after, PAGE_MESSAGES, PAGE_BYTES).await
        };
        context.spawn(work.into_actor(self).map(move |page, actor, context| match page {
            Ok(page) => {
                crate::metrics::gap_healed();
                let page = page.iter().map(view).collect();
                actor.with(context, |session, _, _| session.page(page));
            }
            Err(error) => {
                tracing::warn!(%error, user_id = %actor.who.user_id, "an inbox could not be read; it is tried again");
                actor.with(context, |session, _, _| {
                    session.page_failed();
                    Vec::new()
                });
                context.run_later(Duration::from_secs(1), |actor, context| {
                    actor.with(context, |session, _, _| session.read_on().into_iter().collect());
                });
            }
        }));
    }
}

/// Notes that `user` has read `conversation` up to `seq` and tells everybody who has a session: the user's other
/// devices, and the other participants, each in the numbers of their own inbox. `false`: no such conversation.
async fn mark_read(
    deps: &SessionDeps,
    user: UserId,
    conversation: ConversationId,
    seq: Seq,
) -> Result<bool, store::Error> {
    let Some(participants) = deps.store.participants(user, conversation).await? else { return Ok(false) };
    let listeners = deps.bridge.online(participants).await;
    let Some(marks) = deps.store.mark_read(user, conversation, seq, &listeners).await? else { return Ok(false) };
    for mark in marks {
        let frame = ServerFrame::Read { conversation_id: conversation, user_id: user, seq: mark.seq };
        deps.bridge.tell(vec![mark.for_user], &frame, FrameKind::Read).await;
    }
    Ok(true)
}
