//! The connection's state machine: what it does with lost, repeated and refused things.

use std::time::Duration;

use uuid::Uuid;

use super::returning::HELD;
use super::*;
use crate::chat::event::Failure;
use crate::chat::frames::{ClientFrame, Message, ServerFrame};
use crate::ids::{ConversationId, Seq};

const ME: UserId = UserId(1);
const BOB: UserId = UserId(2);

/// A machine and its clock.
struct Chat {
    machine: Machine,
    now: Moment,
}

impl Chat {
    fn new() -> Self {
        Self { machine: Machine::new(ME, 7), now: Duration::ZERO }
    }

    /// A chat that is live with an inbox that ends at `head`.
    fn live(head: i64) -> Self {
        let mut chat = Self::new();
        assert_eq!(chat.take(Event::Start), [Action::Connect(None)]);
        assert_eq!(chat.take(Event::Connected), []);
        chat.welcome(head);
        chat
    }

    fn take(&mut self, event: Event) -> Vec<Action> {
        self.machine.handle(self.now, event)
    }

    fn frame(&mut self, frame: ServerFrame) -> Vec<Action> {
        self.take(Event::Frame(frame))
    }

    fn welcome(&mut self, head: i64) -> Vec<Action> {
        self.frame(ServerFrame::Welcome { head_seq: Seq(head), ping_interval_seconds: 20, max_message_bytes: 100 })
    }

    fn message(&mut self, seq: i64, sender: UserId, uid: MessageUid, body: &str) -> Vec<Action> {
        self.frame(ServerFrame::Message(message(seq, sender, uid, body)))
    }

    fn bob_says(&mut self, seq: i64) -> Vec<Action> {
        self.message(seq, BOB, MessageUid(Uuid::from_u128(seq as u128)), "hi")
    }

    fn write(&mut self, id: &str) -> Vec<Action> {
        self.take(Event::Write { id: id.into(), body: format!("body {id}"), recipients: vec![BOB] })
    }

    fn accepted(&mut self, id: &str) -> Vec<Action> {
        self.frame(ServerFrame::Accepted { client_message_id: Some(id.into()) })
    }

    /// Lets the time come for which the machine waits.
    fn tick(&mut self) -> Vec<Action> {
        self.now = self.now.max(self.machine.wake().expect("the machine waits for something"));
        self.take(Event::Tick)
    }

    /// Closes, and returns the wait that follows.
    fn wait_after(&mut self, code: u16) -> Duration {
        match self.take(Event::Closed(Some(code))).as_slice() {
            [Action::Tell(Notice::Reconnecting { after, .. })] => *after,
            other => panic!("{code}: {other:?}"),
        }
    }
}

fn message(seq: i64, sender: UserId, uid: MessageUid, body: &str) -> Message {
    Message {
        seq: Seq(seq),
        message_uid: uid,
        conversation_id: ConversationId::of([ME, BOB]),
        sender_id: sender,
        recipient_ids: vec![if sender == ME { BOB } else { ME }],
        message_body: body.into(),
        from_auto_reply: false,
        sent_at: None,
    }
}

fn sent(id: &str) -> Action {
    Action::Send(ClientFrame::SendMessage {
        message_body: format!("body {id}"),
        recipient_ids: vec![BOB],
        client_message_id: id.into(),
    })
}

fn tell(notice: Notice) -> Action {
    Action::Tell(notice)
}

fn delivered(actions: &[Action]) -> Vec<i64> {
    let seq = |action: &Action| match action {
        Action::Deliver(message) => Some(message.seq.0),
        _ => None,
    };
    actions.iter().filter_map(seq).collect()
}

#[test]
fn what_is_written_before_the_welcome_goes_out_with_it() {
    let mut chat = Chat::new();
    assert_eq!(chat.write("a"), []);
    chat.take(Event::Start);
    chat.take(Event::Connected);
    assert_eq!(chat.write("b"), []);
    let joined = Action::Joined { first: true };
    assert_eq!(chat.welcome(0), [joined, tell(Notice::Connected), sent("a"), sent("b")]);
    assert_eq!(chat.write("c"), [sent("c")]);
}

#[test]
fn an_accepted_message_leaves_the_queue_and_a_slow_one_is_told() {
    let mut chat = Chat::live(0);
    chat.write("a");
    assert_eq!(chat.accepted("a"), [tell(Notice::Accepted(None))]);
    chat.write("b");
    assert_eq!(chat.tick(), [tell(Notice::Slow)]);
    assert_eq!(chat.now, Duration::from_millis(500));
    assert_eq!(chat.accepted("b"), [tell(Notice::Accepted(Some("body b".into())))]);
    assert_eq!((chat.accepted("b"), chat.machine.unsent_count()), (vec![], 0));
}

#[test]
fn a_rejected_message_is_told_with_its_reason_and_not_sent_again() {
    let mut chat = Chat::live(0);
    chat.write("a");
    let frame =
        ServerFrame::Rejected { client_message_id: Some("a".into()), code: "c".into(), detail: Some("no".into()) };
    assert_eq!(chat.frame(frame), [tell(Notice::Refused { body: "body a".into(), reason: "no".into() })]);
    assert_eq!((chat.machine.unsent_count(), chat.machine.refused()), (0, ["body a".to_owned()].as_slice()));
}

#[test]
fn what_is_too_long_is_refused_before_it_costs_the_connection() {
    let mut chat = Chat::live(0);
    let actions = chat.take(Event::Write { id: "a".into(), body: "x".repeat(101), recipients: vec![BOB] });
    assert!(matches!(actions.as_slice(), [Action::Tell(Notice::Refused { .. })]), "{actions:?}");
}

#[test]
fn after_a_loss_it_resumes_and_sends_again_in_order_under_the_same_ids() {
    let mut chat = Chat::live(4);
    chat.bob_says(5);
    for id in ["a", "b", "c"] {
        chat.write(id);
    }
    chat.accepted("b");
    chat.wait_after(1006);
    chat.write("d");
    let mut actions = chat.tick();
    actions.retain(|action| *action != tell(Notice::Slow));
    assert_eq!(actions, [Action::Connect(Some(Seq(5)))]);
    chat.take(Event::Connected);
    let unsent = ["body a", "body c", "body d"].map(str::to_owned).to_vec();
    let expected = [
        Action::Joined { first: false },
        tell(Notice::Back { missed: 0 }),
        tell(Notice::Unsent(unsent)),
        sent("a"),
        sent("c"),
        sent("d"),
    ];
    assert_eq!(chat.welcome(5), expected);
}

#[test]
fn what_came_meanwhile_is_shown_and_others_messages_counted() {
    let mut chat = Chat::live(0);
    chat.wait_after(1012);
    chat.tick();
    chat.take(Event::Connected);
    assert_eq!(chat.welcome(3), [Action::Joined { first: false }]);
    assert_eq!(delivered(&chat.bob_says(1)), [1]);
    assert_eq!(delivered(&chat.message(2, ME, MessageUid(Uuid::nil()), "from my telephone")), [2]);
    let actions = chat.bob_says(3);
    assert_eq!((delivered(&actions), actions.last()), (vec![3], Some(&tell(Notice::Back { missed: 2 }))));
    assert_eq!(chat.bob_says(4).len(), 1);
}

#[test]
fn an_own_message_that_comes_back_is_not_shown_twice_unless_a_script_changed_it() {
    let mut chat = Chat::live(0);
    chat.write("a");
    chat.write("b");
    assert_eq!(chat.message(1, ME, MessageUid::from_client(ME, "a"), "body a"), []);
    assert_eq!(delivered(&chat.message(2, ME, MessageUid::from_client(ME, "b"), "body b\n-- edited")), [2]);
}

#[test]
fn a_repeat_is_not_shown_and_a_gap_is_resumed() {
    let mut chat = Chat::live(0);
    assert_eq!(delivered(&chat.bob_says(1)), [1]);
    assert_eq!(chat.bob_says(1), []);
    let actions = chat.bob_says(3);
    let why = "a message is missing".to_owned();
    assert_eq!(actions, [Action::Disconnect, tell(Notice::Reconnecting { why, after: Duration::ZERO })]);
    assert_eq!(chat.tick(), [Action::Connect(Some(Seq(1)))]);
}

#[test]
fn each_close_code_has_its_way_back() {
    let mut chat = Chat::live(0);
    chat.frame(ServerFrame::Reconnect { after_ms: 1234 });
    assert_eq!(chat.wait_after(1012), Duration::from_millis(1234));

    assert!(Chat::live(0).wait_after(4408) <= Duration::from_millis(250));
    assert!(Chat::live(0).wait_after(4429) >= Duration::from_secs(5));
    assert_eq!(Chat::live(0).wait_after(4508), Duration::ZERO);
    for code in [1002, 1003, 1009] {
        let actions = Chat::live(0).take(Event::Closed(Some(code)));
        assert!(matches!(actions.as_slice(), [Action::Stop(_)]), "{code}: {actions:?}");
    }
}

#[test]
fn an_ended_token_is_renewed_before_the_next_connection() {
    let mut chat = Chat::live(0);
    assert_eq!(chat.take(Event::Closed(Some(4401))), [Action::RenewToken]);
    assert_eq!(chat.take(Event::TokenRenewed), [Action::Connect(Some(Seq(0)))]);
    // A token that is refused again at once is not renewed in a hot loop.
    let actions = chat.take(Event::ConnectFailed(Failure::Token));
    assert!(matches!(actions.as_slice(), [Action::Tell(Notice::Reconnecting { .. })]), "{actions:?}");
    assert_eq!(chat.tick(), [Action::RenewToken]);
    let actions = chat.take(Event::TokenFailed(Failure::Passing("away".into())));
    assert!(matches!(actions.as_slice(), [Action::Tell(Notice::Reconnecting { .. })]), "{actions:?}");
    assert_eq!(chat.tick(), [Action::RenewToken]);
    let actions = chat.take(Event::TokenFailed(Failure::Token));
    assert!(matches!(actions.as_slice(), [Action::Stop(_)]), "{actions:?}");
}

#[test]
fn an_expiring_token_is_replaced_while_the_connection_lives() {
    let mut chat = Chat::live(0);
    assert_eq!(chat.frame(ServerFrame::TokenExpiring), [Action::RenewToken]);
    assert_eq!(chat.take(Event::TokenRenewed), [Action::OfferToken]);
    assert!(chat.machine.is_live());
}

#[test]
fn a_silent_server_is_left_and_a_heartbeat_keeps_it() {
    let mut chat = Chat::live(0);
    chat.now = Duration::from_secs(39);
    assert_eq!(chat.take(Event::Heard), []);
    assert_eq!(chat.machine.wake(), Some(Duration::from_secs(79)));
    let actions = chat.tick();
    assert!(
        matches!(actions.as_slice(), [Action::Disconnect, Action::Tell(Notice::Reconnecting { .. })]),
        "{actions:?}"
    );
    // The close that the I/O may still report of the dropped connection changes nothing.
    assert_eq!(chat.take(Event::Closed(None)), []);
}

#[test]
fn a_connection_without_a_welcome_is_left() {
    let mut chat = Chat::new();
    chat.take(Event::Start);
    chat.take(Event::Connected);
    let actions = chat.tick();
    assert_eq!((chat.now, actions.first()), (WELCOME, Some(&Action::Disconnect)));
}

#[test]
fn waits_grow_while_connections_do_not_hold_and_begin_anew_when_one_did() {
    let mut chat = Chat::live(0);
    let mut waits = vec![chat.wait_after(1006)];
    for _ in 0..20 {
        chat.tick();
        chat.take(Event::Connected);
        chat.welcome(0);
        waits.push(chat.wait_after(1006));
    }
    assert!(waits.iter().max() > Some(&Duration::from_secs(5)), "{waits:?}");
    assert!(waits.iter().max() <= Some(&Duration::from_secs(15)), "{waits:?}");
    chat.tick();
    chat.take(Event::Connected);
    chat.welcome(0);
    chat.now += HELD;
    assert!(chat.wait_after(1006) <= Duration::from_millis(250));
}
