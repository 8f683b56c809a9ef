//! The place in the inbox up to which everything has been shown: nothing is shown twice, and no gap goes unnoticed.

use crate::ids::Seq;

/// What is to be done with a message, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next one.
    Show,
    /// It has been shown before.
    Skip,
    /// Some before it are missing: the connection is to be resumed from the cursor.
    Resume,
    /// This many before it are missing, and resuming did not bring them.
    ShowAfterGap(i64),
}

/// The last place shown; none before the first welcome.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    last: Option<Seq>,
    /// The place from which a gap has made us resume, so that a hole that stays is reported and not chased for ever.
    resumed_from: Option<Seq>,
}

impl Cursor {
    /// Where to resume.
    pub(super) fn after(&self) -> Option<Seq> {
        self.last
    }

    /// Takes the server's word for where the inbox ends; returns how many messages are about to come.
    pub(super) fn welcome(&mut self, head: Seq) -> i64 {
        match self.last {
            Some(last) if last <= head => head.0 - last.0,
            // The first welcome; or an inbox that ends before what we saw, as one restored from a backup does.
            _ => {
                self.last = Some(head);
                0
            }
        }
    }

    /// Places a message.
    pub(super) fn take(&mut self, seq: Seq) -> Step {
        let last = self.last.unwrap_or_default();
        let missing = seq.0 - last.0 - 1;
        if missing < 0 {
            return Step::Skip;
        }
        if missing > 0 && self.resumed_from != self.last {
            self.resumed_from = self.last;
            return Step::Resume;
        }
        self.last = Some(seq);
        self.resumed_from = None;
        if missing > 0 { Step::ShowAfterGap(missing) } else { Step::Show }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_welcome_sets_the_place_and_later_ones_tell_what_was_missed() {
        let mut cursor = Cursor::default();
        assert_eq!((cursor.after(), cursor.welcome(Seq(7)), cursor.after()), (None, 0, Some(Seq(7))));
        assert_eq!(cursor.take(Seq(8)), Step::Show);
        assert_eq!((cursor.welcome(Seq(11)), cursor.after()), (3, Some(Seq(8))));
    }

    #[test]
    fn a_repeat_is_skipped() {
        let mut cursor = Cursor::default();
        cursor.welcome(Seq(7));
        assert_eq!(cursor.take(Seq(7)), Step::Skip);
        assert_eq!((cursor.take(Seq(8)), cursor.take(Seq(8))), (Step::Show, Step::Skip));
    }

    #[test]
    fn a_gap_is_resumed_once_and_then_reported() {
        let mut cursor = Cursor::default();
        cursor.welcome(Seq(7));
        assert_eq!((cursor.take(Seq(10)), cursor.after()), (Step::Resume, Some(Seq(7))));
        cursor.welcome(Seq(10));
        assert_eq!((cursor.take(Seq(10)), cursor.after()), (Step::ShowAfterGap(2), Some(Seq(10))));
        assert_eq!(cursor.take(Seq(12)), Step::Resume);
        cursor.welcome(Seq(12));
        assert_eq!((cursor.take(Seq(11)), cursor.take(Seq(12))), (Step::Show, Step::Show));
    }

    #[test]
    fn an_inbox_that_went_back_is_followed() {
        let mut cursor = Cursor::default();
        cursor.welcome(Seq(7));
        assert_eq!((cursor.welcome(Seq(2)), cursor.take(Seq(3))), (0, Step::Show));
    }
}
