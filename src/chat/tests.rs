//! The client against a small server made up for the purpose.

mod mock;

use std::future::{Future, pending};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::mock::{Mock, Peer};
use super::api::{Api, Credentials};
use super::client::Client;
use super::terminal::{Input, Output};

/// The test's end of a terminal.
struct User {
    input: Option<mpsc::Sender<Input>>,
    screen: mpsc::Receiver<Output>,
}

impl User {
    async fn types(&self, line: &str) {
        self.input.as_ref().unwrap().send(Input::Line(line.into())).await.unwrap();
    }

    /// Ends the input.
    fn ends(&mut self) {
        self.input = None;
    }

    /// The next line for a person.
    async fn sees(&mut self) -> String {
        loop {
            if let Output::Say(line) = self.screen.recv().await.expect("the chat goes on") {
                return line;
            }
        }
    }

    /// Passes over lines until one holds `part`.
    async fn sees_some(&mut self, part: &str) -> String {
        loop {
            let line = self.sees().await;
            if line.contains(part) {
                return line;
            }
        }
    }
}

/// Runs a chat of alice beside a script of what the others do; returns how the chat ended. What the script returns, as
/// the ends that it holds, is kept until then.
async fn chat<F: Future>(mock: &Mock, is_interactive: bool, script: impl FnOnce(User) -> F) -> anyhow::Result<()> {
    let credentials = Credentials { username: "alice".into(), password: "secret".into() };
    let mut api = Api::new(&mock.url, credentials).unwrap();
    let user = api.enter(true).await.unwrap();
    let (input, lines) = mpsc::channel(64);
    let (outputs, screen) = mpsc::channel(1024);
    let mut client = Client::new(api, user, lines, outputs, is_interactive);
    let with = ["bob".to_owned()];
    let both = async {
        let script = script(User { input: Some(input), screen });
        tokio::join!(client.run(&with, pending()), script).0
    };
    timeout(Duration::from_secs(20), both).await.expect("the chat ends")
}

fn message(seq: i64, sender: i64, body: &str) -> Value {
    json!({
        "type": "message", "seq": seq, "messageUid": uuid::Uuid::from_u128(seq as u128), "senderId": sender,
        "conversationId": crate::ids::ConversationId::of([1, 2].map(crate::ids::UserId)), "recipientIds": [1],
        "messageBody": body, "fromAutoReply": false, "sentAt": "2025-11-23T12:00:00Z",
    })
}

async fn accept(peer: &mut Peer, frame: &Value) {
    let uid = uuid::Uuid::new_v4();
    peer.says(json!({ "type": "accepted", "clientMessageId": frame["clientMessageId"], "messageUid": uid })).await;
}

#[tokio::test]
async fn a_script_joins_sends_and_ends_when_all_is_accepted() {
    let mut mock = Mock::start().await;
    mock.history(vec![message(3, 2, "bye\x1b[2J"), message(2, 1, "hi")]);
    let outcome = chat(&mock.handle(), false, async |mut user: User| {
        let mut peer = mock.connection().await;
        assert_eq!((peer.path.as_str(), peer.authorization.as_str()), ("/ws", "Bearer token-1"));
        user.types("hello").await;
        user.ends();
        peer.welcome(3).await;
        assert_eq!(user.sees().await, "* with bob, the last 2:");
        assert!(user.sees().await.ends_with(" alice: hi"));
        assert!(user.sees().await.ends_with(" bob: bye\\u{1b}[2J"));
        let frame = peer.hears().await;
        assert_eq!((&frame["messageBody"], &frame["recipientIds"]), (&json!("hello"), &json!([2])));
        assert_eq!(frame["type"], "sendMessage");
        accept(&mut peer, &frame).await;
        user.sees_some("✓").await;
        (user, peer)
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_drained_client_comes_back_when_told_and_loses_and_repeats_nothing() {
    let mut mock = Mock::start().await;
    let outcome = chat(&mock.handle(), true, async |mut user: User| {
        let mut peer = mock.connection().await;
        peer.welcome(3).await;
        peer.says(message(4, 2, "one")).await;
        assert!(user.sees_some("one").await.ends_with(" bob: one"));
        assert_eq!(peer.hears().await["type"], "markRead");
        user.types("first").await;
        user.types("second").await;
        let (first, second) = (peer.hears().await, peer.hears().await);
        peer.says(json!({ "type": "reconnect", "afterMs": 30 })).await;
        peer.closes(1012).await;
        assert_eq!(user.sees_some("reconnecting").await, "* the server restarts; reconnecting …");

        let mut peer = mock.connection().await;
        assert_eq!(peer.path, "/ws?after=4");
        peer.welcome(5).await;
        assert_eq!((peer.hears().await, peer.hears().await), (first.clone(), second.clone()));
        peer.says(message(4, 2, "one")).await;
        peer.says(message(5, 2, "two")).await;
        assert!(user.sees().await.ends_with(" bob: two"));
        assert_eq!(user.sees().await, "* back; 1 message came meanwhile");
        assert_eq!(user.sees().await, "* not yet accepted:\n  … first\n  … second");
        accept(&mut peer, &first).await;
        let refusal = json!({ "type": "rejected", "clientMessageId": second["clientMessageId"], "code": "no_such_recipient",
            "detail": "bob has gone" });
        peer.says(refusal).await;
        assert_eq!(user.sees_some("✗").await, "  ✗ second: bob has gone");
        user.types("/quit").await;
        (user, peer)
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn an_ended_token_is_renewed_and_an_expiring_one_replaced() {
    let mut mock = Mock::start().await;
    let outcome = chat(&mock.handle(), true, async |mut user: User| {
        let mut peer = mock.connection().await;
        peer.welcome(0).await;
        peer.says(json!({ "type": "tokenExpiring" })).await;
        assert_eq!(peer.hears().await, json!({ "type": "refreshToken", "accessToken": "token-2" }));
        peer.closes(4401).await;
        let mut peer = mock.connection().await;
        assert_eq!(peer.authorization, "Bearer token-3");
        peer.welcome(0).await;
        assert_eq!(user.sees_some("back").await, "* back; nothing was missed");
        user.ends();
        (user, peer)
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn a_refusal_fails_a_script_and_is_listed() {
    let mut mock = Mock::start().await;
    let outcome = chat(&mock.handle(), false, async |mut user: User| {
        user.types("hello").await;
        user.ends();
        let mut peer = mock.connection().await;
        peer.welcome(0).await;
        let id = peer.hears().await["clientMessageId"].clone();
        peer.says(json!({ "type": "rejected", "clientMessageId": id, "code": "too_long", "detail": null })).await;
        assert_eq!(user.sees_some("✗").await, "  ✗ hello: too_long");
        (user, peer)
    })
    .await;
    assert_eq!(outcome.unwrap_err().to_string(), "not accepted:\n  hello");
}

#[tokio::test]
async fn a_fault_of_the_clients_own_ends_it() {
    let mut mock = Mock::start().await;
    let outcome = chat(&mock.handle(), true, async |user: User| {
        let mut peer = mock.connection().await;
        peer.welcome(0).await;
        user.types("hello").await;
        peer.hears().await;
        peer.closes(1003).await;
        user
    })
    .await;
    let error = outcome.unwrap_err().to_string();
    assert_eq!(error, "the server did not understand this client (close code 1003)\n  not accepted: hello");
}

#[tokio::test]
async fn ctrl_c_ends_at_once_and_lists_what_was_not_accepted() {
    let mut mock = Mock::start().await;
    let outcome = chat(&mock.handle(), true, async |user: User| {
        let mut peer = mock.connection().await;
        peer.welcome(0).await;
        user.types("hello").await;
        peer.hears().await;
        user.input.as_ref().unwrap().send(Input::Interrupt).await.unwrap();
        (user, peer)
    })
    .await;
    assert_eq!(outcome.unwrap_err().to_string(), "not accepted:\n  hello");
}

#[tokio::test]
async fn frames_go_to_programs_as_they_came_and_strangers_are_named() {
    let mut mock = Mock::start().await;
    let outcome = chat(&mock.handle(), false, async |mut user: User| {
        let mut peer = mock.connection().await;
        peer.welcome(0).await;
        user.sees_some("nothing yet").await;
        let mut frame = message(1, 3, "hi");
        frame["conversationId"] = json!(uuid::Uuid::nil());
        peer.says(frame.clone()).await;
        let frames = async {
            loop {
                match user.screen.recv().await.unwrap() {
                    Output::Frame(line) if line.contains("\"message\"") => break line,
                    _ => {}
                }
            }
        };
        assert_eq!(serde_json::from_str::<Value>(&frames.await).unwrap(), frame);
        assert!(user.sees_some("hi").await.ends_with(" [carol] carol: hi"));
        user.ends();
        (user, peer)
    })
    .await;
    outcome.unwrap();
}

#[tokio::test]
async fn an_account_is_made_only_if_asked_for() {
    let mock = Mock::start().await;
    let api = |name: &str| {
        let credentials = Credentials { username: name.into(), password: "secret".into() };
        Api::new(&mock.url, credentials).unwrap()
    };
    assert_eq!(api("dora").enter(false).await.unwrap_err().status(), Some(401));
    assert_eq!(api("dora").enter(true).await.unwrap().username, "dora");
    // Taken, so that it is the password that is wrong.
    assert_eq!(api("bob").enter(true).await.unwrap_err().status(), Some(401));
}

#[test]
fn the_command_line_is_sound() {
    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        chat: super::ChatArgs,
    }
    use clap::{CommandFactory, Parser};
    Cli::command().debug_assert();
    let args = Cli::parse_from(["chat", "--as", "alice", "--with", "bob,carol", "--url", "http://localhost:1"]).chat;
    assert_eq!((args.login.name.as_str(), args.with.len(), args.register), ("alice", 2, false));
    assert!(Cli::try_parse_from(["chat", "--as", "a", "--password-stdin", "--password-file", "f"]).is_err());
}
