//! Lists stay right while they grow: inboxes, conversations, their messages, unread counts.

use serde_json::{Value, json};

use crate::app::{Account, TestApp};

fn bodies(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["messageBody"].as_str().unwrap().to_owned()).collect()
}

/// The conversations of a user: with whom, how many unread, the last text.
async fn conversations(app: &TestApp, of: &Account) -> Vec<(Value, i64, String)> {
    let items = app.get("conversations", of).await.assert(200).items();
    let line = |item: &Value| {
        let last = item["lastMessage"]["messageBody"].as_str().unwrap().to_owned();
        (item["participants"].clone(), item["unread"].as_i64().unwrap(), last)
    };
    items.iter().map(line).collect()
}

#[tokio::test]
async fn an_inbox_is_read_page_by_page_while_it_grows() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    assert_eq!(app.get("inbox", &bob).await.assert(200).json, json!({"items": [], "next": null}));
    for n in 0..7 {
        app.send(&ada, &[&bob], &n.to_string()).await;
    }
    app.inbox(&bob, 7).await;
    let (mut got, mut after) = (Vec::new(), Some("0".to_owned()));
    let mut extra = 7;
    while let Some(at) = after {
        let page = app.get(&format!("inbox?after={at}&limit=3"), &bob).await.assert(200);
        assert!(page.items().len() <= 3);
        got.extend(page.items());
        after = page.json["next"].as_str().map(str::to_owned);
        if extra < 9 {
            app.send(&ada, &[&bob], &extra.to_string()).await;
            extra += 1;
            app.inbox(&bob, extra).await;
        }
    }
    assert_eq!(bodies(&got), (0..9).map(|n| n.to_string()).collect::<Vec<_>>());
    let seqs: Vec<i64> = got.iter().map(|item| item["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
    assert_eq!(app.get("inbox?after=100", &bob).await.assert(200).items().len(), 0);
    assert_eq!(app.get("inbox?limit=1000000", &bob).await.assert(200).items().len(), 9, "as many as there may be");
}

#[tokio::test]
async fn a_conversations_messages_are_read_backwards_while_new_ones_come() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    for n in 0..7 {
        app.send(&ada, &[&bob], &n.to_string()).await;
        app.send(&bob, &[&bob], "a note between").await;
    }
    let inbox = app.inbox(&bob, 14).await;
    let of_ada = inbox.iter().find(|item| item["senderId"] == ada.id).unwrap();
    let path = format!("conversations/{}/messages", of_ada["conversationId"].as_str().unwrap());
    let (mut got, mut next) = (Vec::new(), Some(String::new()));
    while let Some(before) = next {
        let page = app.get(&format!("{path}?limit=3{before}"), &bob).await.assert(200);
        got.extend(page.items());
        next = page.json["next"].as_str().map(|seq| format!("&before={seq}"));
        app.send(&ada, &[&bob], "new").await;
    }
    assert_eq!(bodies(&got), ["6", "5", "4", "3", "2", "1", "0"]);
    // Each participant reads the same conversation in numbers of their own.
    let of_sender = app.get(&format!("{path}?limit=100"), &ada).await.assert(200).items();
    assert_eq!(bodies(&of_sender)[of_sender.len() - 7..], bodies(&got));
}

#[tokio::test]
async fn conversations_come_newest_first_page_by_page_while_they_move() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    app.send(&bob, &[&ada], "from bob").await;
    app.send(&carol, &[&ada], "from carol").await;
    app.send(&ada, &[&bob, &carol], "to both").await;
    app.send(&ada, &[&ada], "note").await;
    app.inbox(&ada, 4).await;
    let mut group = vec![ada.id, bob.id, carol.id];
    group.sort_unstable();
    let all = conversations(&app, &ada).await;
    let participants: Vec<&Value> = all.iter().map(|(participants, _, _)| participants).collect();
    assert_eq!(participants, [&json!([ada.id]), &json!(group), &json!([ada.id, carol.id]), &json!([ada.id, bob.id])]);
    let first = app.get("conversations?limit=2", &ada).await.assert(200);
    // The oldest becomes the newest: nobody who pages on sees one twice, and the first page has it next time.
    app.send(&bob, &[&ada], "again").await;
    app.inbox(&ada, 5).await;
    let before = first.json["next"].as_str().unwrap();
    let second = app.get(&format!("conversations?limit=2&before={before}"), &ada).await.assert(200);
    let texts: Vec<&Value> =
        second.json["items"].as_array().unwrap().iter().map(|item| &item["lastMessage"]["messageBody"]).collect();
    assert_eq!(texts, ["from carol"]);
    assert!(second.json["next"].is_null());
    assert_eq!(conversations(&app, &ada).await[0].2, "again");
}

#[tokio::test]
async fn unread_counts_what_others_wrote_behind_the_mark() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    for n in 0..3 {
        app.send(&ada, &[&bob], &n.to_string()).await;
    }
    let inbox = app.inbox(&bob, 3).await;
    assert_eq!(conversations(&app, &bob).await[0].1, 3);
    assert_eq!(conversations(&app, &ada).await[0].1, 0, "one's own messages are no news");
    let mut socket = app.socket(&bob).await;
    let mark = |seq: i64| json!({"type": "markRead", "conversationId": inbox[0]["conversationId"], "seq": seq});
    socket.send(mark(2)).await;
    socket.expect("read").await;
    let item = app.get("conversations", &bob).await.assert(200).items().remove(0);
    assert_eq!((&item["unread"], &item["readSeq"]), (&json!(1), &json!(2)));
    app.send(&bob, &[&ada], "an answer").await;
    app.send(&ada, &[&bob], "one more").await;
    app.inbox(&bob, 5).await;
    assert_eq!(conversations(&app, &bob).await[0].1, 2);
    socket.send(mark(5)).await;
    socket.expect("read").await;
    assert_eq!(conversations(&app, &bob).await[0].1, 0);
}

#[tokio::test]
async fn how_far_others_have_read_is_told_in_the_callers_numbers() {
    let app = TestApp::start().await;
    let (ada, bob, carol) = (app.register("ada").await, app.register("bob").await, app.register("carol").await);
    app.send(&carol, &[&bob], "moves bob's numbers by one").await;
    for n in 0..3 {
        app.send(&ada, &[&bob, &carol], &n.to_string()).await;
    }
    let conversation = app.inbox(&ada, 3).await[0]["conversationId"].clone();
    let path = format!("conversations/{}/reads", conversation.as_str().unwrap());
    assert_eq!(app.get(&path, &ada).await.assert(200).items().len(), 0, "nobody has read anything");
    app.inbox(&bob, 4).await;
    let mut socket = app.socket(&bob).await;
    socket.send(json!({"type": "markRead", "conversationId": conversation, "seq": 3})).await;
    socket.expect("read").await;
    let read = |who: &Account, seq: i64| json!({"userId": who.id, "seq": seq});
    assert_eq!(app.get(&path, &ada).await.assert(200).items(), [read(&bob, 2)]);
    app.inbox(&carol, 4).await;
    let mut socket = app.socket(&carol).await;
    socket.send(json!({"type": "markRead", "conversationId": conversation, "seq": 4})).await;
    socket.expect("read").await;
    assert_eq!(app.get(&path, &ada).await.assert(200).items(), [read(&bob, 2), read(&carol, 3)]);
    // One's own is in the list of conversations, not here.
    assert_eq!(app.get(&path, &carol).await.assert(200).items(), [read(&bob, 3)]);
}

#[tokio::test]
async fn a_conversation_of_others_is_not_there() {
    let app = TestApp::start().await;
    let (ada, bob, eve) = (app.register("ada").await, app.register("bob").await, app.register("eve").await);
    app.send(&ada, &[&bob], "secret").await;
    let id = app.inbox(&bob, 1).await[0]["conversationId"].as_str().unwrap().to_owned();
    for (path, status, code) in [
        (format!("conversations/{id}/messages"), 404, "unknown_conversation"),
        (format!("conversations/{id}/reads"), 404, "unknown_conversation"),
        (format!("conversations/{}/messages", uuid::Uuid::nil()), 404, "unknown_conversation"),
        ("conversations/secret/messages".to_owned(), 400, "invalid_path"),
    ] {
        app.get(&path, &eve).await.assert_problem(status, code);
    }
    assert_eq!(app.get("inbox", &eve).await.assert(200).items().len(), 0);
    assert_eq!(app.get("conversations", &eve).await.assert(200).items().len(), 0);
}
