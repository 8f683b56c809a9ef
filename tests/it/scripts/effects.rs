//! What scripts do to messages, and what reaches whom.

use std::time::Duration;

use serde_json::json;

use super::{activate, answering, bodies, log, upload};
use crate::app::{TestApp, send_frame};

const FIREWALL: &str = "function incoming(message)\n  if message.messageBody:find('spam') then return { action = 'DROP' } \
                        end\n  return { action = 'FORWARD' }\nend";

#[tokio::test]
async fn a_dropped_message_stays_out_of_its_owners_inbox_and_nobody_is_told() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    activate(&app, &bob, "incoming", FIREWALL).await;
    let mut ada_socket = app.socket(&ada).await;
    ada_socket.accepted(send_frame(&[&bob, &carol], "spam for two", "1")).await;
    ada_socket.accepted(send_frame(&[&bob, &carol], "lunch?", "2")).await;
    let (of_ada, of_bob, of_carol) = (app.inbox(&ada, 2).await, app.inbox(&bob, 1).await, app.inbox(&carol, 2).await);
    assert_eq!(bodies(&of_bob), ["lunch?"]);
    assert_eq!(bodies(&of_carol), ["spam for two", "lunch?"]);
    assert_eq!(bodies(&of_ada), ["spam for two", "lunch?"], "the sender sees what everybody else sees");
    let conversations: Vec<_> =
        of_carol.iter().chain(&of_bob).chain(&of_ada).map(|message| message["conversationId"].clone()).collect();
    assert!(conversations.iter().all(|id| *id == conversations[0]), "a drop does not split the group");
    assert_eq!(of_carol[0]["recipientIds"], json!([bob.id, carol.id]), "nobody sees that bob did not get it");
    let entry = log(&app, &bob, "incoming", "drop", 1).await.remove(0);
    assert_eq!(entry["messageUid"], of_ada[0]["messageUid"]);
    let filtered = app.get("filtered", &bob).await.assert(200);
    assert_eq!(bodies(&filtered.items()), ["spam for two"]);
    assert!(app.get("filtered", &carol).await.assert(200).items().is_empty());
    let path = format!("filtered/{}/restore", entry["messageUid"].as_str().unwrap());
    app.post(&path, Some(&bob), &json!({})).await.assert(200);
    assert_eq!(bodies(&app.inbox(&bob, 2).await), ["lunch?", "spam for two"]);
}

#[tokio::test]
async fn a_reply_is_an_automatic_message_of_its_owner_and_the_message_goes_on() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    activate(&app, &bob, "incoming", &answering("got it")).await;
    let sent = app.send(&ada, &[&bob], "hello").await;
    let of_ada = app.inbox(&ada, 2).await;
    let reply = of_ada.iter().find(|message| message["messageBody"] == "got it").unwrap();
    assert_eq!((reply["senderId"].as_i64(), &reply["fromAutoReply"]), (Some(bob.id), &json!(true)));
    assert_eq!(reply["conversationId"], of_ada[0]["conversationId"]);
    let original = of_ada.iter().find(|message| message["messageUid"] == *sent).unwrap();
    assert_eq!(original["fromAutoReply"], false);
    assert_eq!(app.inbox(&bob, 2).await.len(), 2, "the owner sees what was answered");
    let entry = log(&app, &bob, "incoming", "forward", 1).await.remove(0);
    assert_eq!(entry["replies"], json!([{"to": ada.id, "message": "got it"}]));
}

#[tokio::test]
async fn scripts_that_answer_each_other_answer_each_message_of_a_person_once_and_stop() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    for (user, name) in [(&ada, "ada"), (&bob, "bob"), (&carol, "carol")] {
        activate(&app, user, "incoming", &answering(&format!("{name} answers"))).await;
    }
    app.send(&ada, &[&bob, &carol], "hello").await;
    // The message, and one answer of each of the two.
    let mut came: Vec<String> = bodies(&app.inbox(&ada, 3).await).into_iter().map(str::to_owned).collect();
    came.sort_unstable();
    assert_eq!(came, ["bob answers", "carol answers", "hello"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (user, count) in [(&ada, 3), (&bob, 2), (&carol, 2)] {
        assert_eq!(app.inbox(user, count).await.len(), count, "nobody answers an answer");
    }
    let unanswered = log(&app, &ada, "incoming", "forward", 1).await.remove(0);
    assert_eq!(unanswered["unanswered"][0]["message"], "ada answers", "{unanswered}");
}

#[tokio::test]
async fn an_outgoing_script_edits_what_everybody_gets_and_no_script_edits_what_a_script_wrote() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let sign = "function outgoing(message)\n  return { messageBody = message.messageBody .. ' -- A' }\nend";
    activate(&app, &ada, "outgoing", sign).await;
    activate(&app, &ada, "incoming", &answering("later")).await;
    app.send(&ada, &[&bob], "hello").await;
    assert_eq!(bodies(&app.inbox(&bob, 1).await), ["hello -- A"]);
    assert_eq!(bodies(&app.inbox(&ada, 1).await), ["hello -- A"]);
    app.send(&bob, &[&ada], "when?").await;
    assert_eq!(bodies(&app.inbox(&bob, 3).await), ["hello -- A", "when?", "later"]);
}

#[tokio::test]
async fn a_change_counts_from_the_next_message_on() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let mark = |n: usize| format!("function outgoing(m)\n  return {{ messageBody = m.messageBody .. '{n}' }}\nend");
    app.send(&ada, &[&bob], "none").await;
    upload(&app, &ada, "outgoing", &mark(1)).await;
    app.send(&ada, &[&bob], "uploaded").await;
    activate(&app, &ada, "outgoing", &mark(2)).await;
    app.send(&ada, &[&bob], "second").await;
    app.post("users/me/scripts/outgoing/activate", Some(&ada), &json!({"version": 1})).await.assert(200);
    app.send(&ada, &[&bob], "rolled back").await;
    app.post("users/me/scripts/outgoing/disable", Some(&ada), &json!({})).await.assert(200);
    app.send(&ada, &[&bob], "off").await;
    let came = app.inbox(&bob, 5).await;
    assert_eq!(bodies(&came), ["none", "uploaded", "second2", "rolled back1", "off"]);
}

#[tokio::test]
async fn a_script_keeps_nothing_from_one_message_to_the_next_and_knows_a_first_contact() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    let source = "count = (count or 0) + 1\nfunction incoming(m)\n  count = count + 1\n  return { action = 'FORWARD', reply \
                  = { { to = m.senderId, message = count .. tostring(m.firstContact) } } }\nend";
    activate(&app, &bob, "incoming", source).await;
    for n in 0..3 {
        app.send(&ada, &[&bob], &n.to_string()).await;
    }
    app.send(&carol, &[&bob], "hi").await;
    let answers = |messages: Vec<serde_json::Value>| -> Vec<String> {
        let automatic = messages.iter().filter(|message| message["fromAutoReply"] == true);
        automatic.map(|message| message["messageBody"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(answers(app.inbox(&ada, 6).await), ["2true", "2false", "2false"]);
    assert_eq!(answers(app.inbox(&carol, 2).await), ["2true"]);
}
