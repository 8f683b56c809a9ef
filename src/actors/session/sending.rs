//! What a client sends, from the draft to `accepted`: in order, with reading stopped while a draft waits.

use std::pin::Pin;

use actix::prelude::*;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::SessionActor;
use crate::ids::MessageUid;
use crate::intake::{Admitted, Rejection};
use crate::protocol::session::Draft;

/// A message in line on the bus: the client's name for it, and what it will come to.
pub(super) type Unconfirmed = (Option<String>, LocalBoxFuture<'static, Result<MessageUid, Rejection>>);

impl SessionActor {
    /// Puts a draft in line. Reading stops until it is, so that the drafts of a session keep their order.
    pub(super) fn submit(&mut self, draft: Draft, context: &mut Context<Self>) {
        let client_message_id = draft.client_message_id.clone();
        let deps = self.deps.clone();
        let (user, session) = (self.who.user_id, self.who.session_id);
        let mut admission = Box::pin(async move { deps.intake.admit(user, session, draft).await });
        if let Some(result) = admission.as_mut().now_or_never() {
            self.admitted(client_message_id, result, context);
            return;
        }
        self.admitting = true;
        self.set_gate();
        let wait = admission.into_actor(self).map(move |result, actor, context| {
            actor.admitting = false;
            actor.set_gate();
            actor.with(context, |session, now, _| {
                session.held_back(now);
                Vec::new()
            });
            actor.admitted(client_message_id, result, context);
            if actor.leaving {
                actor.leave(context);
            }
        });
        context.spawn(wait);
    }

    fn admitted(&mut self, id: Option<String>, result: Result<Admitted, Rejection>, context: &mut Context<Self>) {
        match result {
            Ok(admitted) => {
                self.unconfirmed.push_back((id, admitted.durable().boxed_local()));
                self.confirm(context);
                self.set_gate();
            }
            Err(rejection) => self.reject(id, &rejection, context),
        }
    }

    /// Waits for the first message in line to be durable, then says so: one future at a time, because the bus confirms
    /// in order.
    fn confirm(&mut self, context: &mut Context<Self>) {
        if self.confirming {
            return;
        }
        while let Some((id, mut receipt)) = self.unconfirmed.pop_front() {
            match Pin::new(&mut receipt).now_or_never() {
                Some(result) => self.confirmed(id, result, context),
                None => {
                    self.confirming = true;
                    let wait = receipt.into_actor(self).map(move |result, actor, context| {
                        actor.confirming = false;
                        actor.confirmed(id, result, context);
                        actor.confirm(context);
                        actor.set_gate();
                        if actor.leaving {
                            actor.leave(context);
                        }
                    });
                    context.spawn(wait);
                    return;
                }
            }
        }
    }

    /// Reads on unless a draft waits at the door or too many wait for the bus.
    pub(super) fn set_gate(&self) {
        if self.leaving || self.admitting || self.unconfirmed.len() >= self.deps.options.in_flight {
            self.gate.shut();
        } else {
            self.gate.open();
        }
    }

    fn confirmed(&mut self, id: Option<String>, result: Result<MessageUid, Rejection>, context: &mut Context<Self>) {
        match result {
            Ok(uid) => {
                crate::metrics::accepted();
                self.with(context, |session, _, _| vec![session.accepted(id, uid)]);
            }
            Err(rejection) => self.reject(id, &rejection, context),
        }
    }

    fn reject(&mut self, id: Option<String>, rejection: &Rejection, context: &mut Context<Self>) {
        crate::metrics::rejected(rejection.code());
        let (code, detail) = (rejection.code(), rejection.to_string());
        self.with(context, |session, now, options| session.rejected(id, code, detail, now, options));
    }
}
