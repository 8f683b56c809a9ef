//! `docs/asyncapi.yaml` says what the code does: frame by frame, field by field, close code by close code. Every frame
//! that any test receives is held to it too, see [`check_frame`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use parlor::protocol::close::Close;
use parlor::protocol::frames::{ClientFrame, MessageView, ServerFrame};
use serde_json::Value;
use utoipa::PartialSchema;

/// The fields of a frame, and those of them that must be there.
type Fields = (BTreeSet<String>, BTreeSet<String>);

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/asyncapi.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

static TOLD: LazyLock<BTreeMap<String, &'static Value>> = LazyLock::new(|| payloads("send"));

/// The payloads of an operation's frames, by `type`.
fn payloads(action: &str) -> BTreeMap<String, &'static Value> {
    let operations = DOCUMENT["operations"].as_object().unwrap().values();
    let messages = operations.filter(|operation| operation["action"] == action).flat_map(|operation| {
        assert!(resolve(&operation["channel"])["address"] == "/ws");
        operation["messages"].as_array().unwrap()
    });
    let payload = |message| {
        // Through the channel to the component.
        let payload = &resolve(resolve(message))["payload"];
        (payload["properties"]["type"]["const"].as_str().unwrap().to_owned(), payload)
    };
    messages.map(payload).collect()
}

fn resolve(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(reference) => DOCUMENT.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => value,
    }
}

fn fields(schema: &Value) -> Fields {
    let names =
        |value: &Value| value.as_array().into_iter().flatten().map(|name| camel(name.as_str().unwrap())).collect();
    (schema["properties"].as_object().unwrap().keys().map(|name| camel(name)).collect(), names(&schema["required"]))
}

/// utoipa does not know serde's `rename_all_fields`; that frames are spelt so is seen by [`check_frame`].
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

/// The frames that the code has, by `type`.
fn coded<T: PartialSchema>() -> BTreeMap<String, Fields> {
    let schema = serde_json::to_value(T::schema()).unwrap();
    let frame = |variant: &Value| {
        let mut found = (BTreeSet::new(), BTreeSet::new());
        let parts = variant["allOf"].as_array().cloned().unwrap_or_else(|| vec![variant.clone()]);
        let mut kind = String::new();
        for part in parts {
            // Only messages stand in other lists too.
            let part = match part["$ref"].as_str() {
                Some("#/components/schemas/MessageView") => serde_json::to_value(MessageView::schema()).unwrap(),
                Some(other) => panic!("{other}"),
                None => part,
            };
            if let Some(name) = part["properties"]["type"]["enum"][0].as_str() {
                name.clone_into(&mut kind);
            }
            let (all, required) = fields(&part);
            found.0.extend(all);
            found.1.extend(required);
        }
        (kind, found)
    };
    schema["oneOf"].as_array().unwrap().iter().map(frame).collect()
}

fn documented(action: &str) -> BTreeMap<String, Fields> {
    payloads(action).into_iter().map(|(kind, payload)| (kind, fields(payload))).collect()
}

/// Fails the test unless this frame of the server's is as the document says.
pub(crate) fn check_frame(frame: &Value) {
    let kind = frame["type"].as_str().unwrap_or_else(|| panic!("no type: {frame}"));
    let payload = TOLD.get(kind).unwrap_or_else(|| panic!("docs/asyncapi.yaml has no frame {kind:?}"));
    let (all, required) = fields(payload);
    let found: BTreeSet<String> = frame.as_object().unwrap().keys().cloned().collect();
    assert!(found.is_subset(&all) && found.is_superset(&required), "docs/asyncapi.yaml says otherwise: {frame}");
    for (name, value) in frame.as_object().unwrap() {
        let property = &payload["properties"][name];
        if let Some(codes) = property["enum"].as_array() {
            assert!(codes.contains(value), "docs/asyncapi.yaml has no code {value} for {kind}");
        }
        let fits = |kind: &str| match kind {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "null" => value.is_null(),
            other => panic!("{other}"),
        };
        match &resolve(property)["type"] {
            Value::String(kind) => assert!(fits(kind), "{name}: {frame}"),
            Value::Array(kinds) => assert!(kinds.iter().any(|kind| fits(kind.as_str().unwrap())), "{name}: {frame}"),
            _ => {}
        }
    }
}

#[test]
fn the_document_has_every_frame_with_every_field_and_no_other() {
    assert_eq!(documented("receive"), coded::<ClientFrame>());
    assert_eq!(documented("send"), coded::<ServerFrame>());
}

#[test]
fn the_document_has_every_close_code_and_no_other() {
    let all = Close::ALL;
    // A new kind of close does not compile before it stands here, and then above.
    for close in all {
        match close {
            Close::Normal | Close::Drained | Close::ProtocolError | Close::Binary | Close::NotUtf8 => {}
            Close::TooBig | Close::Token | Close::Disabled | Close::Silent => {}
            Close::TooMuch | Close::SlowReader | Close::Internal => {}
        }
    }
    let coded: BTreeSet<u64> = all.iter().map(|close| u64::from(close.code())).collect();
    let list = DOCUMENT["channels"]["socket"]["x-close-codes"].as_array().unwrap();
    let documented: Vec<u64> = list.iter().map(|item| item["code"].as_u64().unwrap()).collect();
    assert_eq!(documented, coded.into_iter().collect::<Vec<_>>(), "each once, ascending");
    for item in list {
        assert!(["yes", "no", "withNewToken", "withBackOff"].contains(&item["comeBack"].as_str().unwrap()), "{item}");
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_nothing_is_left_over() {
    let mut references = BTreeSet::new();
    gather(&DOCUMENT, &mut references);
    for reference in &references {
        assert!(DOCUMENT.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for group in ["messages", "schemas"] {
        for name in DOCUMENT["components"][group].as_object().unwrap().keys() {
            assert!(references.contains(&format!("#/components/{group}/{name}")), "{name} is used nowhere");
        }
    }
    assert_eq!(DOCUMENT["asyncapi"], "3.0.0");
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
}

fn gather(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| gather(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| gather(value, found)),
        _ => {}
    }
}
