//! From what is told of a message to a span: a pure function.

use std::fmt;

use chrono::{DateTime, Utc};
use tracing::field::{Field, Visit};
use uuid::Uuid;

use crate::pipeline::bus::Topic;
use crate::pipeline::stages::ROUTER;
use crate::pipeline::trace;

/// Kinds of spans, as OTLP numbers them.
const INTERNAL: u8 = 1;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;

/// A step of a message that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace: Uuid,
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) kind: u8,
    /// Nanoseconds since 1970.
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) attributes: Vec<(&'static str, String)>,
}

/// The fields of an event that a span is made of.
#[derive(Default)]
pub(super) struct Told {
    step: String,
    message_uid: String,
    stage: String,
    place: String,
    from: String,
    session_id: String,
    cause_uid: String,
    took_ms: f64,
}

impl Told {
    fn set(&mut self, field: &Field, value: String) {
        let name = match field.name() {
            "step" => &mut self.step,
            "message_uid" => &mut self.message_uid,
            "stage" => &mut self.stage,
            "place" => &mut self.place,
            "from" => &mut self.from,
            "session_id" => &mut self.session_id,
            "cause_uid" => &mut self.cause_uid,
            _ => return,
        };
        *name = value;
    }

    /// The span of the step; none when what is told is no step that has one.
    pub(super) fn into_span(self, now: DateTime<Utc>) -> Option<Span> {
        let uid = Uuid::try_parse(&self.message_uid).ok()?;
        // `parlor.router[3]@1207`, or the name of a topic alone.
        let of_topic = |place: &str| place.split('[').next().filter(|name| !name.is_empty()).map(Topic::from);
        let to_topic = |place: &str| of_topic(place).map(|topic| trace::span(uid, &topic));
        let (id, parent, name, kind) = match self.step.as_str() {
            "accept" => (to_topic(&self.place)?, None, "accept".to_owned(), PRODUCER),
            "pass" => {
                (to_topic(&self.place)?, to_topic(&self.from), format!("publish {}", of_topic(&self.place)?), PRODUCER)
            }
            "stage" => {
                (trace::at_stage(uid, &self.stage), to_topic(&self.place), format!("stage {}", self.stage), CONSUMER)
            }
            "client" => {
                let parent = trace::at_stage(uid, ROUTER);
                (trace::to_session(uid, &self.session_id), Some(parent), "to client".to_owned(), INTERNAL)
            }
            _ => return None,
        };
        let end = now.timestamp_nanos_opt()?;
        let attributes = [
            ("parlor.place", self.place),
            ("parlor.session_id", self.session_id),
            ("parlor.cause_uid", self.cause_uid),
        ];
        Some(Span {
            trace: uid,
            id,
            parent,
            name,
            kind,
            start: end - (self.took_ms * 1e6) as i64,
            end,
            attributes: attributes.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        })
    }
}

impl Visit for Told {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "took_ms" {
            self.took_ms = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "c0a630d2-8db3-4a03-9e19-7141582f37aa";

    fn told(step: &str) -> Told {
        let place = "parlor.outgoing[3]@17".to_owned();
        Told { step: step.into(), message_uid: UID.into(), place, took_ms: 2.5, ..Told::default() }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_000_000).unwrap()
    }

    #[test]
    fn a_stage_continues_the_trace_that_stands_in_the_header_of_its_record() {
        let payload = format!(r#"{{"messageUid":"{UID}","sessionId":"x"}}"#);
        let header = trace::parent(payload.as_bytes(), &Topic::from("parlor.outgoing")).unwrap();
        let accept = told("accept").into_span(now()).unwrap();
        assert_eq!(header, format!("00-{}-{}-01", accept.trace.simple(), accept.id));
        assert_eq!((accept.parent.as_ref(), accept.kind), (None, PRODUCER));
        let stage = Told { stage: "incoming".into(), ..told("stage") }.into_span(now()).unwrap();
        assert_eq!((stage.trace, stage.parent.as_ref()), (accept.trace, Some(&accept.id)));
        assert_eq!(
            (stage.name.as_str(), stage.end - stage.start, stage.end),
            ("stage incoming", 2_500_000, 1_000_000_000_000)
        );
        let passed = Told { from: "parlor.outgoing".into(), place: "parlor.router[1]@2".into(), ..told("pass") };
        let passed = passed.into_span(now()).unwrap();
        assert_eq!((passed.name.as_str(), passed.parent.as_ref()), ("publish parlor.router", Some(&accept.id)));
        let router = Told { stage: ROUTER.into(), place: "parlor.router[1]@2".into(), ..told("stage") };
        let router = router.into_span(now()).unwrap();
        assert_eq!(router.parent, Some(passed.id));
        let client = Told { session_id: "s".into(), ..told("client") }.into_span(now()).unwrap();
        assert_eq!(client.parent, Some(router.id));
        assert_ne!(client.id, Told { session_id: "t".into(), ..told("client") }.into_span(now()).unwrap().id);
    }

    #[test]
    fn what_is_no_step_makes_no_span() {
        assert_eq!(told("").into_span(now()), None);
        assert_eq!(Told { message_uid: "nobody".into(), ..told("accept") }.into_span(now()), None);
        assert_eq!(Told { place: String::new(), ..told("accept") }.into_span(now()), None);
    }
}
