//! Decisions by table, and the stage over real tables.

use std::time::Duration;

use super::super::bus::Topic;
use super::super::router::place;
use super::*;
use crate::ids::SessionId;
use crate::store::auto_reply::AutoReplySettings;
use crate::store::testing::{self, store};

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);
const CAROL: UserId = UserId(3);
/// Bytes of a message.
const LIMIT: usize = 10;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn uid(name: &str) -> MessageUid {
    MessageUid::from_client(ADA, name)
}

#[test]
fn a_sender_is_answered_once_within_the_window_and_again_at_its_end() {
    let before = |seconds| Decision::NotAnswered(Reason::AnsweredBefore(TimeDelta::seconds(seconds)));
    let never = ("", 0);
    // The window, the message answered last and when, and what becomes of `this`, sent at 10,000.
    for (window, last, decision) in [
        (3600, never, Decision::Answer),
        (3600, ("other", 6_401), before(3_599)),
        (3600, ("other", 6_400), Decision::Answer),
        (0, ("other", 10_000), Decision::Answer),
        (0, ("other", 9_000), Decision::Answer),
        (1, ("other", 10_000), before(0)),
        (1, ("other", 9_999), Decision::Answer),
        // It comes again, and gets the same answer, which is then the same message.
        (3600, ("this", 10_000), Decision::Answer),
        (3600, ("this", 9_000), Decision::Answer),
        // It was sent before one that was answered.
        (3600, ("other", 10_001), before(-1)),
        (3600, ("other", 13_599), before(-3_599)),
        (3600, ("other", 13_600), Decision::Answer),
        (0, ("other", 10_001), Decision::Answer),
    ] {
        let auto_reply = AutoReply { text: "away".to_owned(), repeat_after_seconds: window };
        let sent = Sent { cause_uid: uid(last.0), at: at(last.1) };
        let question = Question {
            owner: BOB,
            auto_reply: &auto_reply,
            sender: ADA,
            message_uid: uid("this"),
            automatic: false,
            sent_at: at(10_000),
            max_message_bytes: LIMIT,
            last: (last != never).then_some(sent),
        };
        assert_eq!(decide(&question), decision, "{window} {last:?}");
        let automatic = decide(&Question { automatic: true, ..question });
        assert_eq!(automatic, Decision::NotAnswered(Reason::Automatic));
        let own = decide(&Question { owner: ADA, ..question });
        assert_eq!(own, Decision::NotAnswered(Reason::OwnMessage));
    }
}

#[test]
fn a_text_that_no_message_may_have_is_not_sent() {
    for (bytes, decision) in [(LIMIT, Decision::Answer), (LIMIT + 1, Decision::NotAnswered(Reason::TextTooLong))] {
        let auto_reply = AutoReply { text: "x".repeat(bytes), repeat_after_seconds: 0 };
        let question = Question {
            owner: BOB,
            auto_reply: &auto_reply,
            sender: ADA,
            message_uid: uid("this"),
            automatic: false,
            sent_at: at(0),
            max_message_bytes: LIMIT,
            last: None,
        };
        assert_eq!(decide(&question), decision);
    }
}

#[test]
fn how_long_ago_is_told_in_the_largest_unit() {
    for (seconds, words) in [
        (-1, "a later message of theirs was answered"),
        (0, "answered 0 seconds ago"),
        (1, "answered 1 second ago"),
        (59, "answered 59 seconds ago"),
        (60, "answered 1 minute ago"),
        (1_200, "answered 20 minutes ago"),
        (3_599, "answered 59 minutes ago"),
        (3_600, "answered 1 hour ago"),
        (86_399, "answered 23 hours ago"),
        (86_400, "answered 1 day ago"),
        (30 * 86_400, "answered 30 days ago"),
    ] {
        assert_eq!(Reason::AnsweredBefore(TimeDelta::seconds(seconds)).detail(), words);
    }
}

/// Tables, and a stage over them that can be started anew.
struct Home {
    _tables: testing::Home,
    store: Store,
    stage: AutoReplyStage,
}

fn stage(store: &Store) -> AutoReplyStage {
    let automation = Automation::new(store.clone());
    let log = AutomationLog::start(store.clone(), 10);
    let route = MadeRoute::new(&[Topic::from("outgoing"), Topic::from("auto-reply")], &Topic::from("outgoing"));
    AutoReplyStage::new(automation, log, store.clone(), Clock::manual(at(0)), route, 1_000)
}

impl Home {
    async fn new() -> Self {
        let (home, store) = store().await;
        let stage = stage(&store);
        Self { _tables: home, store, stage }
    }

    fn restart(&mut self) {
        self.stage = stage(&self.store);
    }

    async fn set(&self, user: UserId, text: &str, repeat_after_seconds: u32) {
        let settings = AutoReplySettings { enabled: true, text: text.to_owned(), repeat_after_seconds };
        self.store.set_auto_reply(user, &settings, at(0)).await.unwrap();
        self.stage.automation.changed(user);
    }

    /// What the stage makes of a message; nothing is written.
    async fn pass(&self, message: Envelope) -> (Envelope, Vec<Envelope>) {
        let outcome = self.stage.apply(message, std::time::Instant::now()).await;
        (outcome.pass.unwrap(), outcome.made)
    }

    /// What answers the message, which is then written.
    async fn answers(&self, message: Envelope) -> Vec<(UserId, UserId, String)> {
        let (message, made) = self.pass(message).await;
        // Over the bus and back, as to a router elsewhere.
        let message = serde_json::from_slice::<Envelope>(&message.to_bytes()).unwrap();
        self.store.deliver(&[place(message, at(0))]).await.unwrap();
        made.into_iter().map(|made| (made.sender_id, made.recipient_ids[0], made.message_body)).collect()
    }
}

fn message(name: &str, to: &[UserId], seconds: i64) -> Envelope {
    Envelope {
        message_uid: uid(name),
        session_id: SessionId::fresh(),
        message_body: name.to_owned(),
        sender_id: ADA,
        recipient_ids: to.to_vec(),
        from_auto_reply: false,
        event_destinations: vec![Topic::from("auto-reply")],
        participant_ids: None,
        sent_at: Some(at(seconds)),
        hops: 0,
        cause_uid: None,
        made_by: None,
        filtered_ids: Vec::new(),
        answered_by: Vec::new(),
        other: Default::default(),
    }
}

fn from(owner: UserId, text: &str) -> (UserId, UserId, String) {
    (owner, ADA, text.to_owned())
}

#[actix::test]
async fn each_recipient_answers_for_themselves_and_only_the_sender() {
    let home = Home::new().await;
    home.set(ADA, "ada's own", 0).await;
    home.set(BOB, "bob is away", 3600).await;
    home.set(CAROL, "carol is away", 0).await;
    let all = [ADA, BOB, CAROL, UserId(4)];
    let both = [from(BOB, "bob is away"), from(CAROL, "carol is away")];
    assert_eq!(home.answers(message("1", &all, 0)).await, both);
    assert_eq!(home.answers(message("2", &all, 3_599)).await, [from(CAROL, "carol is away")]);
    assert_eq!(home.answers(message("3", &all, 3_600)).await, both);
    // Another text is news.
    home.set(BOB, "bob is back soon", 3600).await;
    assert_eq!(home.answers(message("4", &[BOB], 3_601)).await, [from(BOB, "bob is back soon")]);
    assert_eq!(home.answers(message("5", &[BOB], 3_602)).await, []);
    let mut automatic = message("6", &all, 100_000);
    automatic.from_auto_reply = true;
    assert_eq!(home.answers(automatic).await, []);
}

#[actix::test]
async fn an_answer_is_remembered_from_the_decision_on_and_across_a_restart_once_its_cause_is_written() {
    let mut home = Home::new().await;
    home.set(BOB, "away", 3600).await;
    // Decided, not written: whatever comes behind it is not answered, and the same again is, the same way.
    let (_, first) = home.pass(message("1", &[BOB], 0)).await;
    assert_eq!(home.pass(message("2", &[BOB], 1)).await.1.len(), 0);
    let (_, again) = home.pass(message("1", &[BOB], 5)).await;
    assert_eq!(again[0].message_uid, first[0].message_uid);
    assert_eq!(home.pass(message("3", &[BOB], 3_600)).await.1.len(), 1, "to be sent again moves no window");

    // Killed before it was written: it comes again, before any later one, and is answered the same way.
    home.restart();
    let (_, after) = home.pass(message("1", &[BOB], 0)).await;
    assert_eq!(after[0].message_uid, first[0].message_uid);

    // Written, and killed before its record was finished: the same.
    assert_eq!(home.answers(message("1", &[BOB], 0)).await.len(), 1);
    home.restart();
    assert_eq!(home.answers(message("1", &[BOB], 0)).await.len(), 1);
    home.restart();
    assert_eq!(home.answers(message("2", &[BOB], 3_599)).await.len(), 0);
    home.restart();
    assert_eq!(home.answers(message("3", &[BOB], 3_600)).await.len(), 1);

    // All three come again, as after a crash before any answer was safe: the same come of it.
    home.restart();
    for (name, seconds, answers) in [("1", 0, 1), ("2", 3_599, 0), ("3", 3_600, 1)] {
        assert_eq!(home.answers(message(name, &[BOB], seconds)).await.len(), answers);
    }
    // Older ones that come again change nothing about what is remembered.
    home.restart();
    home.answers(message("1", &[BOB], 0)).await;
    home.restart();
    assert_eq!(home.answers(message("4", &[BOB], 7_199)).await.len(), 0);
}

#[actix::test]
async fn what_is_known_to_be_off_takes_no_waiting() {
    let home = Home::new().await;
    home.set(CAROL, "away", 0).await;
    let cold = home.stage.apply(message("1", &[BOB], 0), std::time::Instant::now()).now_or_never();
    assert!(cold.is_none(), "nothing is known yet");
    home.pass(message("1", &[BOB, CAROL], 0)).await;
    let warm = home.stage.apply(message("2", &[BOB], 0), std::time::Instant::now()).now_or_never().unwrap();
    assert_eq!((warm.made.len(), warm.pass.unwrap().answered_by.len()), (0, 0));
    home.set(BOB, "away", 0).await;
    assert_eq!(home.pass(message("3", &[BOB], 0)).await.1.len(), 1, "at once after the change");
}

#[actix::test]
async fn tables_that_cannot_be_read_are_waited_for() {
    let home = Home::new().await;
    home.set(BOB, "away", 3600).await;
    home.store.meddle("ALTER TABLE auto_replies_sent RENAME TO aside").await;
    let mut waiting = home.stage.apply(message("1", &[BOB], 0), std::time::Instant::now());
    let early = tokio::time::timeout(Duration::from_millis(600), &mut waiting).await;
    assert!(early.is_err(), "it passed unanswered");
    home.store.meddle("ALTER TABLE aside RENAME TO auto_replies_sent").await;
    assert_eq!(waiting.await.made.len(), 1);
}
