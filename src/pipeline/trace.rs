//! Trace context (W3C, `traceparent`) of records: a message's trace is its uid, so that every node and every stage in any
//! language finds the same without being told, and a run that is done again belongs to the same trace.

use uuid::Uuid;

use super::bus::Topic;

/// The header, as the standard and all clients spell it.
pub const TRACEPARENT: &str = "traceparent";
/// How every record of ours begins: `messageUid` is the first field of the envelope.
const UID_BEHIND: &str = r#"{"messageUid":""#;

/// The value of [`TRACEPARENT`] for an envelope that is published to a topic; none when it does not begin as ours do. The span is the
/// step to that topic: the same whenever it is taken again.
#[must_use]
pub fn parent(payload: &[u8], topic: &Topic) -> Option<String> {
    let uid = payload.strip_prefix(UID_BEHIND.as_bytes())?.get(..36)?;
    let uid = Uuid::try_parse_ascii(uid).ok().filter(|uid| !uid.is_nil())?;
    Some(format!("00-{}-{}-01", uid.simple(), span(uid, topic)))
}

/// The span of the step to a topic: what [`parent`] names.
pub(crate) fn span(uid: Uuid, topic: &Topic) -> String {
    derived(uid, &topic.0)
}

/// The span of the time at a stage.
pub(crate) fn at_stage(uid: Uuid, stage: &str) -> String {
    derived(uid, &format!("stage:{stage}"))
}

/// The span of the step to a session's client.
pub(crate) fn to_session(uid: Uuid, session: &str) -> String {
    derived(uid, &format!("session:{session}"))
}

fn derived(uid: Uuid, name: &str) -> String {
    Uuid::new_v5(&uid, name.as_bytes()).simple().to_string()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "c0a630d2-8db3-4a03-9e19-7141582f37aa";

    fn of(payload: &str, topic: &str) -> Option<String> {
        parent(payload.as_bytes(), &Topic::from(topic))
    }

    #[test]
    fn a_messages_trace_is_its_uid_and_each_topic_a_span_that_stays_the_same() {
        let payload = format!(r#"{{"messageUid":"{UID}","sessionId":"x"}}"#);
        let (first, again) = (of(&payload, "parlor.router").unwrap(), of(&payload, "parlor.router").unwrap());
        assert_eq!(first, again);
        let parts: Vec<&str> = first.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", "c0a630d28db34a039e197141582f37aa", "01"));
        assert!(parts[2].len() == 16 && parts[2].chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase()));
        assert_ne!(first, of(&payload, "parlor.incoming").unwrap());
    }

    #[test]
    fn what_is_no_envelope_of_ours_has_no_trace() {
        for payload in
            ["", "{}", r#"{"messageUid":"short"}"#, r#"{"messageUid":"00000000-0000-0000-0000-000000000000"}"#]
        {
            assert_eq!(of(payload, "parlor.router"), None, "{payload}");
        }
    }

    #[test]
    fn an_envelope_begins_as_this_expects() {
        let text = format!(
            r#"{{"sessionId":"{UID}","messageUid":"{UID}","messageBody":"","senderId":1,"recipientIds":[2],
            "fromAutoReply":false,"eventDestinations":["t"]}}"#
        );
        let envelope = crate::envelope::Envelope::read(text.as_bytes(), &Topic::from("t")).unwrap();
        assert!(parent(&envelope.to_bytes(), &Topic::from("t")).is_some());
    }
}
