//! A message in flight: the JSON record that every stage understands, ours or anybody's.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::{ConversationId, MessageUid, SessionId, UserId};
use crate::pipeline::bus::Topic;

mod answered;

pub use self::answered::{Answered, MAX_ANSWERED_BYTES, TextHash};

/// Stages that an envelope may pass before it is taken for one that goes in circles.
pub const MAX_HOPS: u32 = 64;
/// A script's reply, in `madeBy`.
pub const MADE_BY_SCRIPT: &str = "script";
/// A standing auto-reply, in `madeBy`.
pub const MADE_BY_AUTO_REPLY: &str = "auto-reply";

/// The record. The first seven fields are the contract with every stage in every language; the optional ones have
/// defaults that make an envelope without them work, and what is unknown passes through untouched.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The message, the same on every retry and re-run.
    pub message_uid: MessageUid,
    /// The session that it came in by.
    pub session_id: SessionId,
    /// What was written.
    pub message_body: String,
    /// Who wrote it.
    pub sender_id: UserId,
    /// Who is still to get it.
    pub recipient_ids: Vec<UserId>,
    /// True for every message that a script or an auto-reply made.
    pub from_auto_reply: bool,
    /// The topics that it has yet to visit; the first is the one that it stands in.
    pub event_destinations: Vec<Topic>,
    /// All that the sender addressed, so that a recipient who drops it does not split the conversation.
    /// Default: `recipient_ids`.
    pub participant_ids: Option<Vec<UserId>>,
    /// When its sender sent it. Default: when the router writes it.
    pub sent_at: Option<DateTime<Utc>>,
    /// Stages passed so far, see [`MAX_HOPS`].
    pub hops: u32,
    /// The message that an automatic one answers.
    pub cause_uid: Option<MessageUid>,
    /// What made an automatic message: [`MADE_BY_SCRIPT`] or [`MADE_BY_AUTO_REPLY`].
    pub made_by: Option<String>,
    /// Recipients whose own scripts dropped it: it is kept for them, out of their inboxes. Default: none.
    pub filtered_ids: Vec<UserId>,
    /// Auto-replies that it got, to be remembered when it is written. Default: none.
    pub answered_by: Vec<Answered>,
    /// Fields of somebody else's, byte for byte.
    pub other: BTreeMap<String, Box<RawValue>>,
}

/// Why a record is not an envelope that this stage can take.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON object with the seven fields.
    #[error("not an envelope: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Its next destination is another topic.
    #[error("stands in {here}, but its next destination is {next}")]
    WrongTopic {
        /// Where it was found.
        here: Topic,
        /// What it says.
        next: String,
    },
    /// It has passed more stages than any pipeline has.
    #[error("passed {0} stages, at most {MAX_HOPS} are allowed: does the pipeline go in circles?")]
    TooManyHops(u32),
}

impl Envelope {
    /// Reads a record that was found in `here`.
    ///
    /// # Errors
    /// Each case of [`Error`]; the record then belongs into the dead-letter topic.
    pub fn read(payload: &[u8], here: &Topic) -> Result<Self, Error> {
        let envelope: Self = serde_json::from_slice(payload)?;
        match envelope.event_destinations.first() {
            Some(next) if next == here => {}
            next => {
                let next = next.map_or_else(|| "nowhere".to_owned(), ToString::to_string);
                return Err(Error::WrongTopic { here: here.clone(), next });
            }
        }
        if envelope.hops > MAX_HOPS {
            return Err(Error::TooManyHops(envelope.hops));
        }
        Ok(envelope)
    }

    /// The record as it is published.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and raw JSON cannot fail to serialise into memory.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Takes the topic that it stands in off the front; what follows, if anything, is the next destination.
    pub fn advance(&mut self) -> Option<&Topic> {
        if !self.event_destinations.is_empty() {
            self.event_destinations.remove(0);
        }
        self.hops += 1;
        self.event_destinations.first()
    }

    /// All who take part in its conversation, ascending: the sender and all that were addressed, whether or not their
    /// scripts dropped it.
    #[must_use]
    pub fn participants(&self) -> Vec<UserId> {
        let addressed = self.participant_ids.as_ref().unwrap_or(&self.recipient_ids);
        let mut all: Vec<UserId> =
            addressed.iter().chain(&self.recipient_ids).chain(&self.filtered_ids).copied().collect();
        all.push(self.sender_id);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The conversation that it belongs to.
    #[must_use]
    pub fn conversation_id(&self) -> ConversationId {
        ConversationId::of(self.participants())
    }
}

/// A time as it stands in every frame and record: RFC 3339, UTC, milliseconds.
#[must_use]
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("messageUid", &self.message_uid)?;
        map.serialize_entry("sessionId", &self.session_id)?;
        map.serialize_entry("messageBody", &self.message_body)?;
        map.serialize_entry("senderId", &self.sender_id)?;
        map.serialize_entry("recipientIds", &self.recipient_ids)?;
        map.serialize_entry("fromAutoReply", &self.from_auto_reply)?;
        map.serialize_entry("eventDestinations", &self.event_destinations)?;
        if let Some(ids) = &self.participant_ids {
            map.serialize_entry("participantIds", ids)?;
        }
        if let Some(at) = self.sent_at {
            map.serialize_entry("sentAt", &rfc3339(at))?;
        }
        if self.hops > 0 {
            map.serialize_entry("hops", &self.hops)?;
        }
        if let Some(uid) = self.cause_uid {
            map.serialize_entry("causeUid", &uid)?;
        }
        if let Some(maker) = &self.made_by {
            map.serialize_entry("madeBy", maker)?;
        }
        if !self.filtered_ids.is_empty() {
            map.serialize_entry("filteredIds", &self.filtered_ids)?;
        }
        if !self.answered_by.is_empty() {
            map.serialize_entry("answeredBy", &self.answered_by)?;
        }
        for (name, value) in &self.other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// Reads the fields by hand, because `#[serde(flatten)]` would re-read unknown numbers and so change them.
struct EnvelopeVisitor;

#[derive(Default)]
struct Fields {
    message_uid: Option<MessageUid>,
    session_id: Option<SessionId>,
    message_body: Option<String>,
    sender_id: Option<UserId>,
    recipient_ids: Option<Vec<UserId>>,
    from_auto_reply: Option<bool>,
    event_destinations: Option<Vec<Topic>>,
    participant_ids: Option<Option<Vec<UserId>>>,
    sent_at: Option<Option<DateTime<Utc>>>,
    hops: Option<Option<u32>>,
    cause_uid: Option<Option<MessageUid>>,
    made_by: Option<Option<String>>,
    filtered_ids: Option<Option<Vec<UserId>>>,
    answered_by: Option<Option<Vec<Answered>>>,
    other: BTreeMap<String, Box<RawValue>>,
}

fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(de::Error::duplicate_field(name));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

fn given<T, E: de::Error>(slot: Option<T>, name: &'static str) -> Result<T, E> {
    slot.ok_or_else(|| de::Error::missing_field(name))
}

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match name.as_ref() {
                "messageUid" => once(&mut fields.message_uid, "messageUid", &mut map)?,
                "sessionId" => once(&mut fields.session_id, "sessionId", &mut map)?,
                "messageBody" => once(&mut fields.message_body, "messageBody", &mut map)?,
                "senderId" => once(&mut fields.sender_id, "senderId", &mut map)?,
                "recipientIds" => once(&mut fields.recipient_ids, "recipientIds", &mut map)?,
                "fromAutoReply" => once(&mut fields.from_auto_reply, "fromAutoReply", &mut map)?,
                "eventDestinations" => once(&mut fields.event_destinations, "eventDestinations", &mut map)?,
                "participantIds" => once(&mut fields.participant_ids, "participantIds", &mut map)?,
                "sentAt" => once(&mut fields.sent_at, "sentAt", &mut map)?,
                "hops" => once(&mut fields.hops, "hops", &mut map)?,
                "causeUid" => once(&mut fields.cause_uid, "causeUid", &mut map)?,
                "madeBy" => once(&mut fields.made_by, "madeBy", &mut map)?,
                "filteredIds" => once(&mut fields.filtered_ids, "filteredIds", &mut map)?,
                "answeredBy" => once(&mut fields.answered_by, "answeredBy", &mut map)?,
                _ => {
                    let value = map.next_value()?;
                    fields.other.insert(name.into_owned(), value);
                }
            }
        }
        Ok(Envelope {
            message_uid: given(fields.message_uid, "messageUid")?,
            session_id: given(fields.session_id, "sessionId")?,
            message_body: given(fields.message_body, "messageBody")?,
            sender_id: given(fields.sender_id, "senderId")?,
            recipient_ids: given(fields.recipient_ids, "recipientIds")?,
            from_auto_reply: given(fields.from_auto_reply, "fromAutoReply")?,
            event_destinations: given(fields.event_destinations, "eventDestinations")?,
            participant_ids: fields.participant_ids.flatten(),
            sent_at: fields.sent_at.flatten(),
            hops: fields.hops.flatten().unwrap_or(0),
            cause_uid: fields.cause_uid.flatten(),
            made_by: fields.made_by.flatten(),
            filtered_ids: fields.filtered_ids.flatten().unwrap_or_default(),
            answered_by: fields.answered_by.flatten().unwrap_or_default(),
            other: fields.other,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPECIMEN: &str = r#"{ "messageUid": "c0a630d2-8db3-4a03-9e19-7141582f37aa",
        "sessionId": "cf2bd7ca-ba13-40d9-8fb7-bab2064028d4", "messageBody": "Hello, world!", "senderId": 42,
        "recipientIds": [12, 8], "fromAutoReply": false,
        "eventDestinations": ["parlor.outgoing", "parlor.incoming", "parlor.auto-reply", "parlor.router"] }"#;

    fn specimen() -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(SPECIMEN).unwrap()
    }

    #[test]
    fn reads_the_contract_and_writes_it_back_the_same() {
        let envelope = Envelope::read(SPECIMEN.as_bytes(), &"parlor.outgoing".into()).unwrap();
        assert_eq!(envelope.recipient_ids, [UserId(12), UserId(8)]);
        assert_eq!(envelope.participants(), [UserId(8), UserId(12), UserId(42)]);
        let back: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&envelope.to_bytes()).unwrap();
        assert_eq!(back, specimen(), "no optional field appears that was not there");
    }

    #[test]
    fn each_of_the_seven_fields_is_needed_and_named() {
        for name in specimen().keys() {
            let mut without = specimen();
            without.remove(name);
            let text = serde_json::to_vec(&without).unwrap();
            let error = Envelope::read(&text, &"parlor.outgoing".into()).unwrap_err().to_string();
            assert!(error.contains(name.as_str()), "{error}");
        }
    }

    #[test]
    fn unknown_fields_pass_byte_for_byte() {
        let odd = SPECIMEN.replacen('{', r#"{"x-n": 1.000000000000000000001e400, "a": {"b" :[ ]},"#, 1);
        let envelope = Envelope::read(odd.as_bytes(), &"parlor.outgoing".into()).unwrap();
        let text = String::from_utf8(envelope.to_bytes()).unwrap();
        assert!(text.contains(r#""x-n":1.000000000000000000001e400"#), "{text}");
        assert!(text.contains(r#""a":{"b" :[ ]}"#), "{text}");
    }

    #[test]
    fn a_record_in_the_wrong_topic_or_going_in_circles_is_refused() {
        let wrong = Envelope::read(SPECIMEN.as_bytes(), &"parlor.router".into());
        assert!(matches!(wrong, Err(Error::WrongTopic { .. })));
        for (hops, fine) in [(MAX_HOPS, true), (MAX_HOPS + 1, false)] {
            let text = SPECIMEN.replacen('{', &format!(r#"{{"hops":{hops},"#), 1);
            assert_eq!(Envelope::read(text.as_bytes(), &"parlor.outgoing".into()).is_ok(), fine);
        }
        let nowhere =
            SPECIMEN.replace("\"parlor.outgoing\", \"parlor.incoming\", \"parlor.auto-reply\", \"parlor.router\"", "");
        assert!(Envelope::read(nowhere.as_bytes(), &"parlor.router".into()).is_err());
    }

    #[test]
    fn a_stage_takes_itself_off_the_front() {
        let mut envelope = Envelope::read(SPECIMEN.as_bytes(), &"parlor.outgoing".into()).unwrap();
        assert_eq!(envelope.advance(), Some(&Topic::from("parlor.incoming")));
        assert_eq!(envelope.hops, 1);
        envelope.advance();
        envelope.advance();
        assert_eq!(envelope.advance(), None);
    }

    proptest! {
        #[test]
        fn any_order_of_fields_and_any_body_survive(order in Just((0..9usize).collect::<Vec<_>>()).prop_shuffle(),
                body in ".*", extra in any::<i64>()) {
            let mut all = specimen();
            all.insert("messageBody".into(), body.clone().into());
            all.insert("sentAt".into(), "2026-11-23T12:00:00.123Z".into());
            all.insert("foreign".into(), extra.into());
            let entries: Vec<_> = all.iter().collect();
            let text = format!("{{{}}}", order.iter().map(|&i| {
                format!("{}:{}", serde_json::to_string(entries[i].0).unwrap(), entries[i].1)
            }).collect::<Vec<_>>().join(","));
            let envelope = Envelope::read(text.as_bytes(), &"parlor.outgoing".into()).unwrap();
            prop_assert_eq!(&envelope.message_body, &body);
            let back: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&envelope.to_bytes()).unwrap();
            prop_assert_eq!(back, all);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::read(&bytes, &"parlor.router".into());
        }
    }
}
