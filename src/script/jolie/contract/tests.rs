//! The contract, case by case.

use super::*;
use crate::ids::ConversationId;

fn limits() -> RunLimits {
    RunLimits {
        heap_bytes: 1 << 27,
        cpu_micros: 1,
        message_bytes: 10,
        replies: 2,
        print_lines: 3,
        print_bytes: 12,
        states_bytes: 0,
    }
}

fn input() -> Input {
    Input {
        message_body: "a \"quoted\" line\n".into(),
        own_id: UserId(2),
        sender_id: UserId(4_294_967_299),
        recipient_ids: vec![UserId(2), UserId(3)],
        from_auto_reply: true,
        conversation_id: ConversationId::of([UserId(2), UserId(3)]),
        first_contact: true,
        sent_at: 0,
    }
}

fn incoming(output: &str) -> Result<Wanted, Failure> {
    wanted(Direction::Incoming, printed(output.as_bytes(), &limits()).result, &limits())
}

fn forward(replies: &[(i64, &str)]) -> Result<Wanted, Failure> {
    let replies = replies.iter().map(|(to, text)| Reply { to: UserId(*to), message_body: (*text).to_owned() });
    Ok(Wanted::Incoming { drop: false, replies: replies.collect() })
}

#[test]
fn a_script_reads_the_fields_of_the_old_system_and_no_others() {
    let read = |direction| serde_json::from_str::<Value>(&argument(direction, &input())).unwrap();
    assert_eq!(
        read(Direction::Incoming),
        json!({"messageBody": "a \"quoted\" line\n", "ownID": 2, "senderID": 4_294_967_299_i64, "recipientIDs": [2, 3]})
    );
    assert_eq!(
        read(Direction::Outgoing),
        json!({"messageBody": "a \"quoted\" line\n", "ownID": 2, "recipientIDs": [2, 3]})
    );
}

#[test]
fn the_last_line_that_is_an_object_counts_and_the_others_are_prints() {
    let of = |output: &str| {
        let Printed { result, prints } = printed(output.as_bytes(), &limits());
        (result.map(|result| Value::Object(result).to_string()), prints.lines, prints.cut)
    };
    let line = |text: &str| Some(text.to_owned());
    let lines = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    assert_eq!(of("a\n{\"x\":1}\nb"), (line("{\"x\":1}"), lines(&["a", "b"]), false));
    assert_eq!(of("{\"x\":1}\n  {\"y\":2}  \n"), (line("{\"y\":2}"), lines(&["{\"x\":1}"]), false));
    assert_eq!(of("{\"x\":1}\n{\"y\":"), (line("{\"x\":1}"), lines(&["{\"y\":"]), false));
    for nothing in ["", "\n", "5", "\"text\"", "null", "[{}]", "{x: 1}"] {
        assert_eq!(of(nothing).0, None, "{nothing}");
    }
    assert_eq!(of("1\n2\n3\n{}"), (line("{}"), lines(&["1", "2", "3"]), false));
    assert_eq!(of("1\n2\n3\n4\n{}"), (line("{}"), lines(&["1", "2", "3"]), true));
    assert_eq!(of("123456789012"), (None, lines(&["123456789012"]), false));
    assert_eq!(of("12345678901é"), (None, lines(&["12345678901"]), true));
}

#[test]
fn an_action_is_read_in_either_case_and_must_be_there() {
    for (action, drop) in [("FORWARD", false), ("forward", false), ("DROP", true), ("Drop", true)] {
        let found = incoming(&json!({"action": action}).to_string());
        assert_eq!(found, Ok(Wanted::Incoming { drop, replies: Vec::new() }), "{action}");
    }
    for wrong in [json!({}), json!({"action": null}), json!({"action": "KEEP"}), json!({"action": 1})] {
        let failure = incoming(&wrong.to_string()).unwrap_err();
        assert!(failure.kind == FailureKind::BadResult && failure.detail.starts_with("action: "), "{failure}");
    }
}

#[test]
fn a_reply_is_absent_null_one_object_or_a_list() {
    let of = |reply: Value| incoming(&json!({"action": "FORWARD", "reply": reply}).to_string());
    assert_eq!(of(Value::Null), forward(&[]));
    assert_eq!(of(json!([])), forward(&[]));
    assert_eq!(of(json!({"to": 1, "message": "x"})), forward(&[(1, "x")]));
    assert_eq!(of(json!([{"to": 1, "message": "x"}, {"to": 3.0, "message": 42}])), forward(&[(1, "x"), (3, "42")]));
    for (wrong, place) in [
        (json!("x"), "reply[1]: "),
        (json!([null]), "reply[1]: "),
        (json!({"to": "1", "message": "x"}), "reply[1].to: "),
        (json!({"to": 1.5, "message": "x"}), "reply[1].to: "),
        (json!({"to": 0, "message": "x"}), "reply[1].to: "),
        (json!({"message": "x"}), "reply[1].to: "),
        (json!([{"to": 1, "message": "x"}, {"to": 1}]), "reply[2].message: "),
        (json!([{"to": 1, "message": "x"}, {"to": 1, "message": "x"}, {"to": 1, "message": "x"}]), "reply: has 3"),
        (json!({"to": 1, "message": "12345678901"}), "reply[1].message: has 11 bytes"),
    ] {
        let failure = of(wrong).unwrap_err();
        assert!(failure.detail.starts_with(place), "{failure}");
    }
}

#[test]
fn outgoing_wants_a_body_within_the_bound() {
    let outgoing = |output: &str| wanted(Direction::Outgoing, printed(output.as_bytes(), &limits()).result, &limits());
    let body = |text: &str| Ok(Wanted::Outgoing { message_body: text.to_owned() });
    assert_eq!(outgoing("{\"messageBody\": \"1234567890\"}"), body("1234567890"));
    assert_eq!(outgoing("{\"messageBody\": 7}"), body("7"));
    for wrong in ["{\"messageBody\": \"12345678901\"}", "{\"messageBody\": null}", "{}", "nothing"] {
        assert_eq!(outgoing(wrong).unwrap_err().kind, FailureKind::BadResult, "{wrong}");
    }
}

#[test]
fn a_fault_is_told_by_its_name() {
    assert_eq!(fault("[script.ol] Thrown unhandled fault: Bad\nContent (if any):string = \"x\""), "Bad:string = \"x\"");
    assert_eq!(fault("something else"), "something else");
    assert_eq!(fault("java.lang.Error: no\n\tat jolie.Interpreter\n\tat jolie.Other"), "java.lang.Error: no");
    let drawn =
        "Thrown unhandled fault: IOException\nContent (if any):string = \"no\"\n╰─── stackTrace:string = \"java.io…";
    assert_eq!(fault(drawn), "IOException:string = \"no\"");
}

#[test]
fn a_refusal_has_its_line_when_the_interpreter_says_it() {
    assert_eq!(refusal("[script.ol] /jolie/./script.ol:12: no such port"), ("no such port".to_owned(), Some(12)));
    assert_eq!(refusal("No service to be run"), ("No service to be run".to_owned(), None));
}
