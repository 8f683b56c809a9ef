//! A session's place in its user's inbox: what comes in order is passed on, a gap is read from the store.

use crate::ids::Seq;

/// Where a session stands. It never passes a message on twice, and never one before the one ahead of it.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The last message passed on.
    seen: Seq,
    /// The last message known to exist.
    head: Seq,
    /// Whether a page of the store is on its way.
    reading: bool,
}

/// What to do with a message that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on now.
    Pass,
    /// It was passed on before, or the store will bring it.
    Skip,
}

impl Cursor {
    /// Stands behind `seen`, in an inbox whose last message is `head`.
    #[must_use]
    pub fn new(seen: Seq, head: Seq) -> Self {
        Self { seen, head, reading: false }
    }

    /// A message was pushed to the session, in whatever order.
    pub fn pushed(&mut self, seq: Seq) -> Verdict {
        self.head = self.head.max(seq);
        if self.reading || seq != self.seen.next() {
            return Verdict::Skip;
        }
        self.seen = seq;
        Verdict::Pass
    }

    /// A message came from the page that was asked for.
    pub fn paged(&mut self, seq: Seq) -> Verdict {
        self.head = self.head.max(seq);
        if seq != self.seen.next() {
            return Verdict::Skip;
        }
        self.seen = seq;
        Verdict::Pass
    }

    /// Something stands at `head`, whether or not it was pushed.
    pub fn exists(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// If something is missing and no page is on its way: notes that one is, and says behind which place to read.
    pub fn wants_page(&mut self) -> Option<Seq> {
        if self.reading || self.seen >= self.head {
            return None;
        }
        self.reading = true;
        Some(self.seen)
    }

    /// The page that was asked for has come (all of it was given to [`Cursor::paged`]), or could not be read.
    pub fn page_done(&mut self) {
        self.reading = false;
    }

    /// Whether the session has all there is: what comes now is live.
    #[must_use]
    pub fn live(&self) -> bool {
        !self.reading && self.seen >= self.head
    }

    /// The last message passed on.
    #[must_use]
    pub fn seen(&self) -> Seq {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However pushes are lost, repeated and reordered: what is passed on is 1, 2, 3 … and nothing is missing at
        /// the end, as long as the store has it.
        #[test]
        fn passes_on_everything_once_in_order(
            start in 0i64..5,
            pushes in proptest::collection::vec((1i64..30, any::<bool>()), 0..120),
            page in 1usize..5,
        ) {
            let mut cursor = Cursor::new(Seq(start), Seq(start));
            let mut out = Vec::new();
            let mut stored = start;
            let mut asked: Option<Seq> = None;
            let read = |cursor: &mut Cursor, asked: &mut Option<Seq>, stored: i64, out: &mut Vec<i64>| {
                if let Some(after) = asked.take() {
                    for n in (after.0 + 1..=stored).take(page) {
                        if cursor.paged(Seq(n)) == Verdict::Pass { out.push(n); }
                    }
                    cursor.page_done();
                }
            };
            for (n, arrives) in pushes {
                stored = stored.max(n);
                if cursor.pushed(Seq(n)) == Verdict::Pass { out.push(n); }
                if asked.is_none() { asked = cursor.wants_page(); }
                if arrives { read(&mut cursor, &mut asked, stored, &mut out); }
            }
            cursor.exists(Seq(stored));
            for _ in 0..100 {
                if asked.is_none() { asked = cursor.wants_page(); }
                read(&mut cursor, &mut asked, stored, &mut out);
            }
            prop_assert_eq!(out, (start + 1..=stored).collect::<Vec<_>>());
            prop_assert!(cursor.live());
        }
    }
}
