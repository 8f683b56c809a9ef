//! The message that scripts are measured with.

use parlor::ids::{ConversationId, UserId};
use parlor::script::call::Input;

/// A message to `owner`, as the owner's script finds it.
pub(crate) fn input(owner: UserId) -> Input {
    Input {
        message_body: "Hello there, shall we meet tomorrow at noon?".into(),
        own_id: owner,
        sender_id: UserId(1),
        recipient_ids: vec![owner],
        from_auto_reply: false,
        conversation_id: ConversationId::of([owner, UserId(1)]),
        first_contact: false,
        sent_at: 1_700_000_000_000,
    }
}
