//! Messages that automation makes: who they are from, where they go, and which stages they pass.

use chrono::{DateTime, Utc};

use super::bus::Topic;
use crate::envelope::{Envelope, MADE_BY_AUTO_REPLY, MADE_BY_SCRIPT};
use crate::ids::{MessageUid, UserId};
use crate::script::call::Reply;

/// Where made messages begin: all stages of the pipeline but `outgoing`, so that no script edits what a script wrote.
#[derive(Clone, Debug)]
pub struct MadeRoute(Vec<Topic>);

impl MadeRoute {
    /// The way of made messages in a pipeline of these topics, of which `outgoing` is one.
    #[must_use]
    pub fn new(pipeline: &[Topic], outgoing: &Topic) -> Self {
        Self(pipeline.iter().filter(|topic| *topic != outgoing).cloned().collect())
    }

    /// The `index`-th reply of `owner`'s script to `cause`. A re-run makes the same message.
    #[must_use]
    pub fn reply(&self, cause: &Envelope, owner: UserId, index: usize, reply: Reply, now: DateTime<Utc>) -> Envelope {
        let uid = cause.message_uid.made(owner, index);
        self.made(cause, uid, owner, reply.to, reply.message_body, MADE_BY_SCRIPT, now)
    }

    /// `owner`'s auto-reply to the sender of `cause`. A re-run makes the same message.
    #[must_use]
    pub fn auto_reply(&self, cause: &Envelope, owner: UserId, text: String, now: DateTime<Utc>) -> Envelope {
        let uid = cause.message_uid.auto_reply(owner);
        self.made(cause, uid, owner, cause.sender_id, text, MADE_BY_AUTO_REPLY, now)
    }

    #[expect(clippy::too_many_arguments, reason = "private, and each is another field")]
    fn made(
        &self,
        cause: &Envelope,
        message_uid: MessageUid,
        owner: UserId,
        to: UserId,
        message_body: String,
        made_by: &str,
        now: DateTime<Utc>,
    ) -> Envelope {
        Envelope {
            message_uid,
            session_id: cause.session_id,
            message_body,
            // Never a script's to say.
            sender_id: owner,
            recipient_ids: vec![to],
            from_auto_reply: true,
            event_destinations: self.0.clone(),
            participant_ids: None,
            sent_at: Some(now),
            hops: cause.hops,
            cause_uid: Some(cause.message_uid),
            made_by: Some(made_by.to_owned()),
            filtered_ids: Vec::new(),
            answered_by: Vec::new(),
            other: Default::default(),
        }
    }
}
