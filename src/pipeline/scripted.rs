//! The stages `outgoing` and `incoming`: which scripts see an envelope, and what becomes of it. They run nothing
//! themselves: [`RunScripts`] does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all, ready};

use super::made::MadeRoute;
use super::stages::{Outcome, Stage};
use crate::automation::{ActiveScript, Automation, SwitchedOn};
use crate::clock::Clock;
use crate::envelope::Envelope;
use crate::ids::{MessageUid, UserId};
use crate::protocol::frames::addressed;
use crate::script::call::{Direction, Input};
use crate::script::effects::{Effects, Verdict};
use crate::store;

/// Time before tables that could not be read are asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// One run that a stage wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whose script.
    pub owner: UserId,
    /// Which.
    pub script: ActiveScript,
    /// Over which message.
    pub message_uid: MessageUid,
    /// Which function.
    pub direction: Direction,
    /// What it sees.
    pub input: Input,
    /// Since when its message has waited: for this run, or at this stage when the node is pressed for room.
    pub since: Instant,
}

/// Whoever runs scripts: in order for one owner, and always to an end.
pub trait RunScripts: Send + Sync + 'static {
    /// What the run comes to.
    fn run(&self, wish: Wish) -> BoxFuture<'static, Effects>;
}

/// The stage, for one direction.
pub struct Scripted {
    /// Which.
    pub direction: Direction,
    /// What is switched on for whom.
    pub automation: Automation,
    /// Who runs scripts.
    pub runs: Arc<dyn RunScripts>,
    /// Where replies go.
    pub route: MadeRoute,
    /// The time.
    pub clock: Clock,
    /// When the tables last answered after they had not: until then nobody waited for a script.
    pub read_again: Mutex<Option<Instant>>,
    /// Whether so many records are in flight on the node that nobody may wait long.
    pub pressed: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Stage for Scripted {
    fn apply(&self, envelope: Envelope, since: Instant) -> BoxFuture<'_, Outcome> {
        let owners = owners(self.direction, &envelope);
        let idle = |owner: &UserId| matches!(self.automation.remembered(*owner), Some(on) if on.as_ref().is_none_or(|on| on.script(self.direction).is_none()));
        if owners.iter().all(idle) {
            return ready(Outcome::pass(envelope)).boxed();
        }
        self.run(envelope, owners, since).boxed()
    }
}

impl Scripted {
    async fn run(&self, envelope: Envelope, owners: Vec<UserId>, since: Instant) -> Outcome {
        let began = now();
        let switched_on = until_read(|| self.automation.of(&owners)).await;
        let mut wishes = wishes(self.direction, &envelope, &owners, &switched_on);
        if self.direction == Direction::Incoming && !wishes.is_empty() {
            let (conversation, message) = (envelope.conversation_id(), envelope.message_uid);
            let first = until_read(|| self.automation.is_first_contact(conversation, message)).await;
            wishes.iter_mut().for_each(|wish| wish.input.first_contact = first);
        }
        // A sender's own messages wait behind each other, for as long as that takes from nobody else.
        let read_at = self.read_at(began).unwrap_or(since);
        let since = if (self.pressed)() { since.max(read_at) } else { now() };
        wishes.iter_mut().for_each(|wish| wish.since = since);
        let owners: Vec<UserId> = wishes.iter().map(|wish| wish.owner).collect();
        let effects = join_all(wishes.into_iter().map(|wish| self.runs.run(wish))).await;
        let effects = owners.into_iter().zip(effects).collect();
        conclude(envelope, effects, &self.route, &self.clock)
    }

    /// Up to when the tables kept messages waiting, if they did. They have been read since `began`.
    fn read_at(&self, began: Instant) -> Option<Instant> {
        let mut read_again = self.read_again.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        if now.saturating_duration_since(began) >= PAUSE {
            *read_again = Some(now);
        }
        *read_again
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Asks the tables until they answer: a message must not pass a script by because a disk is slow.
pub(super) async fn until_read<T, F: Future<Output = Result<T, store::Error>>>(ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::warn!(%error, "the tables of automation cannot be read; it is tried again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whose scripts see it: the sender's what goes out, each recipient's what comes in. What one writes to oneself comes
/// from nobody else, and what automation wrote is edited by nobody.
fn owners(direction: Direction, envelope: &Envelope) -> Vec<UserId> {
    match direction {
        Direction::Outgoing if envelope.from_auto_reply => Vec::new(),
        Direction::Outgoing => vec![envelope.sender_id],
        Direction::Incoming => {
            let mut owners: Vec<UserId> = envelope.recipient_ids.clone();
            owners.retain(|owner| *owner != envelope.sender_id);
            owners.sort_unstable();
            owners.dedup();
            owners
        }
    }
}

fn wishes(
    direction: Direction,
    envelope: &Envelope,
    owners: &[UserId],
    switched_on: &[Option<Arc<SwitchedOn>>],
) -> Vec<Wish> {
    let on = owners.iter().zip(switched_on);
    let scripts = on.filter_map(|(owner, on)| Some((*owner, on.as_ref()?.script(direction)?)));
    // One for all: there may be hundreds of them, and a body is long.
    let body: Arc<str> = envelope.message_body.as_str().into();
    let wish = |(owner, script)| Wish {
        owner,
        script,
        message_uid: envelope.message_uid,
        direction,
        input: Input {
            message_body: body.clone(),
            own_id: owner,
            sender_id: envelope.sender_id,
            recipient_ids: addressed(&envelope.participants(), envelope.sender_id),
            from_auto_reply: envelope.from_auto_reply,
            conversation_id: envelope.conversation_id(),
            first_contact: false,
            sent_at: envelope.sent_at.map_or(0, |at| at.timestamp_millis()),
        },
        since: now(),
    };
    scripts.map(wish).collect()
}

/// What becomes of the message when all its scripts have run.
fn conclude(mut envelope: Envelope, effects: Vec<(UserId, Effects)>, route: &MadeRoute, clock: &Clock) -> Outcome {
    let mut made = Vec::new();
    for (owner, effects) in effects {
        for (index, reply) in effects.replies.into_iter().enumerate() {
            made.push(route.reply(&envelope, owner, index, reply, clock.now()));
        }
        match effects.verdict {
            Verdict::Forward | Verdict::Failed(_) => {}
            Verdict::Edited(message_body) => envelope.message_body = message_body,
            Verdict::Drop => {
                if envelope.participant_ids.is_none() {
                    envelope.participant_ids = Some(envelope.recipient_ids.clone());
                }
                envelope.recipient_ids.retain(|recipient| *recipient != owner);
                if !envelope.filtered_ids.contains(&owner) {
                    envelope.filtered_ids.push(owner);
                }
            }
        }
    }
    Outcome { pass: Some(envelope), made }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::bus::Topic;
    use crate::script::call::{Language, Reply, SourceHash};

    fn envelope(sender: i64, recipients: &[i64], automatic: bool) -> Envelope {
        let text = format!(
            r#"{{"messageUid":"c0a630d2-8db3-4a03-9e19-7141582f37aa","sessionId":"cf2bd7ca-ba13-40d9-8fb7-bab2064028d4",
            "messageBody":"x","senderId":{sender},"recipientIds":{recipients:?},"fromAutoReply":{automatic},
            "eventDestinations":["p.incoming","p.router"]}}"#
        );
        Envelope::read(text.as_bytes(), &Topic::from("p.incoming")).unwrap()
    }

    fn route() -> MadeRoute {
        let topics = ["p.outgoing", "p.incoming", "p.auto-reply", "p.router"].map(Topic::from);
        MadeRoute::new(&topics, &topics[0])
    }

    fn effects(verdict: Verdict, replies: &[i64]) -> Effects {
        let replies = replies.iter().map(|to| Reply { to: UserId(*to), message_body: "yes".into() }).collect();
        Effects { verdict, replies, unanswered: Vec::new() }
    }

    #[test]
    fn each_direction_has_its_owners() {
        let ids =
            |direction, envelope: &Envelope| owners(direction, envelope).iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(ids(Direction::Outgoing, &envelope(1, &[3, 2], false)), [1]);
        assert_eq!(ids(Direction::Outgoing, &envelope(1, &[3, 2], true)), [0i64; 0]);
        assert_eq!(ids(Direction::Incoming, &envelope(1, &[3, 1, 2, 3], false)), [2, 3]);
        assert_eq!(ids(Direction::Incoming, &envelope(1, &[2], true)), [2], "a firewall sees automatic messages too");
    }

    #[test]
    fn a_script_sees_whom_the_sender_addressed_although_others_dropped_it() {
        let mut message = envelope(1, &[2], false);
        message.participant_ids = Some(vec![UserId(2), UserId(3)]);
        let script = ActiveScript { version: 1, language: Language::Luau, hash: SourceHash::of("") };
        let on = Some(Arc::new(SwitchedOn { incoming: Some(script), ..SwitchedOn::default() }));
        let wishes = wishes(Direction::Incoming, &message, &[UserId(2), UserId(4)], &[on, None]);
        assert_eq!(wishes.len(), 1);
        assert_eq!(wishes[0].input.recipient_ids, [UserId(2), UserId(3)]);
        assert_eq!(wishes[0].input.conversation_id, message.conversation_id());
    }

    #[test]
    fn a_drop_takes_one_off_and_leaves_the_conversation_whole() {
        let before = envelope(1, &[2, 3], false);
        let conversation = before.conversation_id();
        let dropped = vec![(UserId(2), effects(Verdict::Drop, &[])), (UserId(3), effects(Verdict::Forward, &[]))];
        let after = conclude(before, dropped, &route(), &Clock::system()).pass.unwrap();
        assert_eq!(after.recipient_ids, [UserId(3)]);
        assert_eq!(after.filtered_ids, [UserId(2)]);
        assert_eq!(after.conversation_id(), conversation);
    }

    #[test]
    fn replies_are_from_the_owner_name_their_cause_and_pass_no_outgoing_script() {
        let cause = envelope(1, &[2, 3], false);
        let uid = cause.message_uid;
        let ran = vec![(UserId(2), effects(Verdict::Forward, &[1, 3])), (UserId(3), effects(Verdict::Drop, &[1]))];
        let outcome = conclude(cause.clone(), ran.clone(), &route(), &Clock::system());
        let again = conclude(cause, ran, &route(), &Clock::system());
        let uids = |outcome: &Outcome| outcome.made.iter().map(|made| made.message_uid).collect::<Vec<_>>();
        assert_eq!(uids(&outcome), uids(&again), "a re-run makes the same messages");
        let mut different = uids(&outcome);
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), 3);
        for (made, (from, to)) in outcome.made.iter().zip([(2, 1), (2, 3), (3, 1)]) {
            assert_eq!((made.sender_id, &made.recipient_ids), (UserId(from), &vec![UserId(to)]));
            assert!(made.from_auto_reply);
            assert_eq!(made.cause_uid, Some(uid));
            assert_eq!(made.event_destinations[0], Topic::from("p.incoming"));
        }
    }

    #[test]
    fn a_failed_run_changes_nothing() {
        let failure = crate::script::call::Failure::new(crate::script::call::FailureKind::Error, "oh");
        let outcome =
            conclude(envelope(1, &[2], false), vec![(UserId(2), Effects::failed(failure))], &route(), &Clock::system());
        let after = outcome.pass.unwrap();
        assert_eq!((after.recipient_ids, after.message_body.as_str()), (vec![UserId(2)], "x"));
        assert!(outcome.made.is_empty());
    }
}
