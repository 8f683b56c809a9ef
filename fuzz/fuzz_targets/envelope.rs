//! Whatever a foreign stage puts on the bus: it is refused with a reason, or read, and then it survives being written,
//! what is unknown in it untouched, and ends in a conversation of all who take part.
#![no_main]

use libfuzzer_sys::fuzz_target;
use parlor::envelope::{Envelope, MAX_HOPS};
use parlor::pipeline::bus::Topic;

fuzz_target!(|payload: &[u8]| {
    let here = Topic::from("parlor.router");
    let mut envelope = match Envelope::read(payload, &here) {
        Ok(envelope) => envelope,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(envelope.hops <= MAX_HOPS);
    let written = envelope.to_bytes();
    let again = Envelope::read(&written, &here).expect("what was written can be read");
    assert_eq!(again.to_bytes(), written);
    assert_eq!(again.message_uid, envelope.message_uid);
    assert_eq!(again.message_body, envelope.message_body);
    assert_eq!(again.conversation_id(), envelope.conversation_id());
    let participants = envelope.participants();
    assert!(participants.contains(&envelope.sender_id));
    assert!(envelope.recipient_ids.iter().all(|id| participants.contains(id)));
    assert!(participants.is_sorted_by(|a, b| a < b));
    envelope.advance();
});
