//! How much may be logged for one owner: a burst, then one entry a second; and how many were left out meanwhile.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Details, LEFT_OUT, LogEntry, SWITCHED_OFF, Source};
use crate::ids::UserId;

/// Entries of one owner at once.
const BURST: u32 = 50;
/// For each more, this long must have passed.
const INTERVAL: Duration = Duration::from_secs(1);
/// Owners who are remembered. While there are more who logged lately, others are left out: to forget these would be to
/// lift the limit for whoever is over it.
const MAX_OWNERS: usize = 100_000;
/// How often those are forgotten whose allowance is whole again.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// The allowances of all owners.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    owners: HashMap<UserId, Allowance>,
    forgotten_at: Option<Instant>,
}

#[derive(Debug)]
struct Allowance {
    left: u32,
    /// Up to when `left` was reckoned.
    at: Instant,
    /// How many entries were left out, of each source.
    left_out: Vec<(Source, u64)>,
}

/// What comes of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is logged, behind these that say what was left out.
    Yes(Vec<LogEntry>),
    /// Its owner has logged too much lately.
    TooMany,
    /// Too many owners have logged lately.
    TooManyOwners,
}

impl Allowances {
    /// Takes one off its owner's allowance.
    pub(super) fn take(&mut self, entry: &LogEntry, now: Instant) -> Taken {
        if self.owners.len() >= MAX_OWNERS && !self.owners.contains_key(&entry.user_id) {
            self.forget(now);
            if self.owners.len() >= MAX_OWNERS {
                return Taken::TooManyOwners;
            }
        }
        let fresh = || Allowance { left: BURST, at: now, left_out: Vec::new() };
        let owner = self.owners.entry(entry.user_id).or_insert_with(fresh);
        owner.refill(now);
        // The one that says why there will be no more is not for a flood to push out.
        if owner.left == 0 && entry.verdict != SWITCHED_OFF {
            match owner.left_out.iter_mut().find(|(source, _)| *source == entry.source) {
                Some((_, count)) => *count += 1,
                None => owner.left_out.push((entry.source, 1)),
            }
            return Taken::TooMany;
        }
        owner.left = owner.left.saturating_sub(1);
        Taken::Yes(owner.left_out.drain(..).map(|(source, count)| missing(entry, source, count)).collect())
    }

    /// Forgets owners whose allowance is whole again, now and then.
    pub(super) fn forget(&mut self, now: Instant) {
        if self.forgotten_at.is_some_and(|before| now.saturating_duration_since(before) < FORGET_EVERY) {
            return;
        }
        self.forgotten_at = Some(now);
        self.owners.retain(|_, owner| {
            owner.refill(now);
            owner.left < BURST || !owner.left_out.is_empty()
        });
    }
}

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let whole = now.saturating_duration_since(self.at).as_secs() / INTERVAL.as_secs();
        let gained = u32::try_from(whole).unwrap_or(u32::MAX).min(BURST - self.left);
        self.left += gained;
        // The part of a second that has begun counts for the next one.
        self.at = if self.left == BURST { now } else { self.at + INTERVAL * gained };
    }
}

fn missing(before: &LogEntry, source: Source, count: u64) -> LogEntry {
    let detail = format!("{count} more are left out: at most {BURST} entries are logged at once, then one a second");
    let details = Details { reason: Some("too_many".to_owned()), detail: Some(detail), ..Details::default() };
    let (user_id, at) = (before.user_id, before.at);
    LogEntry { user_id, source, at, version: None, message_uid: None, verdict: LEFT_OUT, details }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn entry(owner: i64, source: Source) -> LogEntry {
        let (user_id, at, details) = (UserId(owner), DateTime::UNIX_EPOCH, Details::default());
        LogEntry { user_id, source, at, version: Some(1), message_uid: None, verdict: "forward", details }
    }

    #[test]
    fn a_burst_passes_then_one_a_second_and_what_is_missing_is_told_first() {
        let (mut allowances, start) = (Allowances::default(), Instant::now());
        let mut take =
            |owner, source, millis| allowances.take(&entry(owner, source), start + Duration::from_millis(millis));
        for _ in 0..BURST {
            assert_eq!(take(1, Source::Incoming, 0), Taken::Yes(Vec::new()));
        }
        for _ in 0..3 {
            assert_eq!(take(1, Source::Incoming, 0), Taken::TooMany);
        }
        assert_eq!(take(1, Source::Outgoing, 999), Taken::TooMany);
        assert_eq!(take(2, Source::Incoming, 0), Taken::Yes(Vec::new()), "others are none the worse");
        let Taken::Yes(told) = take(1, Source::Incoming, 1000) else { panic!("a second is over") };
        let told: Vec<_> = told.iter().map(|entry| (entry.source, entry.details.detail.clone().unwrap())).collect();
        assert!(told[0].1.starts_with("3 more") && told[1].1.starts_with("1 more"), "{told:?}");
        assert_eq!((told[0].0, told[1].0), (Source::Incoming, Source::Outgoing));
        assert_eq!(take(1, Source::Incoming, 1999), Taken::TooMany);
        assert!(matches!(take(1, Source::Incoming, 2000), Taken::Yes(told) if told.len() == 1));
    }

    #[test]
    fn that_a_script_was_switched_off_is_told_however_much_happened_before() {
        let (mut allowances, now) = (Allowances::default(), Instant::now());
        while allowances.take(&entry(1, Source::Incoming), now) == Taken::Yes(Vec::new()) {}
        let off = LogEntry { verdict: SWITCHED_OFF, ..entry(1, Source::Incoming) };
        assert!(matches!(allowances.take(&off, now), Taken::Yes(told) if told.len() == 1));
        assert_eq!(allowances.take(&entry(1, Source::Incoming), now), Taken::TooMany);
    }

    #[test]
    fn memory_is_bounded_and_what_is_whole_again_is_forgotten() {
        let (mut allowances, start) = (Allowances::default(), Instant::now());
        for owner in 0..i64::try_from(MAX_OWNERS).unwrap() {
            assert_eq!(allowances.take(&entry(owner, Source::Incoming), start), Taken::Yes(Vec::new()));
        }
        let more = entry(-1, Source::Incoming);
        assert_eq!(allowances.take(&more, start), Taken::TooManyOwners);
        assert_eq!(allowances.take(&more, start + FORGET_EVERY), Taken::Yes(Vec::new()));
        assert_eq!(allowances.owners.len(), 1);
    }
}
