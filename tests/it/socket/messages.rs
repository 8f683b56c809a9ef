//! A message: taken, delivered to everybody concerned, once.

use serde_json::{Value, json};

use crate::app::{TestApp, send_frame};

#[tokio::test]
async fn a_socket_is_welcomed_with_what_a_client_needs() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let first = app.socket(&ada).await;
    let welcome = &first.welcome;
    assert_eq!(welcome["userId"], ada.id);
    assert_eq!(welcome["headSeq"], 0);
    assert_eq!(welcome["pingIntervalSeconds"], 25);
    assert_eq!(welcome["maxMessageBytes"], 65_536);
    let ends = chrono::DateTime::parse_from_rfc3339(welcome["tokenExpiresAt"].as_str().unwrap()).unwrap();
    let left = (ends.to_utc() - parlor::clock::Clock::system().now()).num_seconds();
    assert!((880..=900).contains(&left), "{left} s");
    let second = app.socket(&ada).await;
    assert_ne!(first.welcome["sessionId"], second.welcome["sessionId"]);
    app.send(&ada, &[&ada], "note").await;
    app.inbox(&ada, 1).await;
    assert_eq!(app.socket(&ada).await.welcome["headSeq"], 1);
}

#[tokio::test]
async fn a_message_reaches_its_recipients_and_every_device_of_its_sender_in_step() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    let mut desk = app.socket(&ada).await;
    let mut phone = app.socket(&app.login("ada").await).await;
    let mut others = [app.socket(&bob).await, app.socket(&bob).await, app.socket(&carol).await];
    let uid = desk.accepted(send_frame(&[&bob, &carol], "Hello, world!", "m-1")).await;
    let sent = desk.expect("message").await;
    assert_eq!(sent["messageUid"], uid.as_str());
    assert_eq!((&sent["senderId"], &sent["seq"]), (&json!(ada.id), &json!(1)));
    assert_eq!(sent["recipientIds"], json!([bob.id, carol.id]));
    assert_eq!((&sent["messageBody"], &sent["fromAutoReply"]), (&json!("Hello, world!"), &json!(false)));
    let at = sent["sentAt"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == 24 && chrono::DateTime::parse_from_rfc3339(at).is_ok(), "{at}");
    assert_eq!(sent.as_object().unwrap().len(), 9, "{sent}");
    assert_eq!(phone.expect("message").await, sent);
    for other in &mut others {
        assert_eq!(other.expect("message").await, sent, "the first message of each inbox, so even `seq` is the same");
    }
    // Both devices write; both see both, in one order.
    for n in 0..10 {
        desk.send(send_frame(&[&bob], &format!("desk {n}"), &format!("d{n}"))).await;
        phone.send(send_frame(&[&bob], &format!("phone {n}"), &format!("p{n}"))).await;
    }
    let seen = desk.messages(20).await;
    assert_eq!(phone.messages(20).await, seen);
    let bodies =
        |messages: &[Value]| -> Vec<Value> { messages.iter().map(|message| message["messageBody"].clone()).collect() };
    assert_eq!(bodies(&others[0].messages(20).await), bodies(&seen));
    assert_eq!(bodies(&others[1].messages(20).await), bodies(&seen));
    others[2].expect_none("message", std::time::Duration::from_millis(100)).await;
}

#[tokio::test]
async fn accepted_names_the_message_as_the_client_did_or_null() {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let mut socket = app.socket(&ada).await;
    socket.send(send_frame(&[&ada], "note", "my-id")).await;
    assert_eq!(socket.expect("accepted").await["clientMessageId"], "my-id");
    socket.send(json!({"type": "sendMessage", "messageBody": "", "recipientIds": [ada.id]})).await;
    let nameless = socket.expect("accepted").await;
    assert!(nameless["clientMessageId"].is_null() && nameless["messageUid"].is_string(), "{nameless}");
    let notes = socket.messages(2).await;
    assert_eq!(notes[1]["messageBody"], "", "an empty text is a text");
    assert_eq!(notes[1]["recipientIds"], json!([ada.id]), "a note to oneself is addressed to oneself");
}

#[tokio::test]
async fn sent_again_by_whatever_way_a_message_is_still_one() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let mut to = app.socket(&bob).await;
    let uid = from.accepted(send_frame(&[&bob], "once", "same")).await;
    assert_eq!(from.accepted(send_frame(&[&bob], "once", "same")).await, uid);
    let by_http = json!({"messageBody": "once", "recipientIds": [bob.id], "clientMessageId": "same"});
    for _ in 0..2 {
        assert_eq!(app.post("messages", Some(&ada), &by_http).await.assert(202).json["messageUid"], uid.as_str());
    }
    // Another user's `same` is another message.
    let of_bob = json!({"messageBody": "mine", "recipientIds": [ada.id], "clientMessageId": "same"});
    assert_ne!(app.post("messages", Some(&bob), &of_bob).await.assert(202).json["messageUid"], uid.as_str());
    from.accepted(send_frame(&[&bob], "end", "end")).await;
    let bodies: Vec<_> = to.messages(3).await.iter().map(|message| message["messageBody"].clone()).collect();
    assert_eq!(bodies, ["once", "mine", "end"]);
    assert_eq!(app.inbox(&ada, 3).await.len(), 3);
}

#[tokio::test]
async fn sent_again_after_a_restart_a_message_is_still_one() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut from = app.socket(&ada).await;
    let uid = from.accepted(send_frame(&[&bob], "once", "same")).await;
    app.kill9().await;
    let mut from = app.socket(&ada).await;
    assert_eq!(from.accepted(send_frame(&[&bob], "once", "same")).await, uid);
    from.accepted(send_frame(&[&bob], "end", "end")).await;
    let bodies: Vec<_> = app.inbox(&bob, 2).await.iter().map(|message| message["messageBody"].clone()).collect();
    assert_eq!(bodies, ["once", "end"]);
}

#[tokio::test]
async fn what_was_accepted_survives_a_kill_in_the_order_sent() {
    let mut app = TestApp::with(&[("session.message_burst", "100000")]).await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    for round in 0..3usize {
        let mut from = app.socket(&ada).await;
        for n in 0..100 {
            from.send(send_frame(&[&bob], &format!("{round}/{n}"), &format!("{round}/{n}"))).await;
        }
        let mut accepted = 0;
        while accepted < 40 + 20 * round {
            from.expect("accepted").await;
            accepted += 1;
        }
        app.kill9().await;
        // What was accepted must be there; what was not may be. This one comes behind all of them.
        app.send(&ada, &[&bob], "end").await;
        let ends = |all: &[Value]| all.iter().filter(|message| message["messageBody"] == "end").count();
        let mut all = Vec::new();
        while ends(&all) <= round {
            all = app.inbox(&bob, 1).await;
        }
        let prefix = format!("{round}/");
        let number = |message: &Value| message["messageBody"].as_str()?.strip_prefix(&prefix)?.parse::<usize>().ok();
        let of_round: Vec<usize> = all.iter().filter_map(number).collect();
        assert!(of_round.len() >= accepted, "{of_round:?}");
        assert_eq!(of_round, (0..of_round.len()).collect::<Vec<usize>>(), "in the order sent, none twice");
    }
}

#[tokio::test]
async fn recipients_named_twice_or_oneself_among_them_get_one() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mut socket = app.socket(&ada).await;
    let frame = send_frame(&[&bob, &ada, &bob], "hi", "1");
    socket.accepted(frame).await;
    let direct = socket.accepted(send_frame(&[&bob], "again", "2")).await;
    let inbox = app.inbox(&bob, 2).await;
    assert_eq!(inbox.len(), 2);
    assert_eq!(inbox[1]["messageUid"], direct.as_str());
    assert_eq!(inbox[0]["conversationId"], inbox[1]["conversationId"], "the sender takes part anyway");
}
