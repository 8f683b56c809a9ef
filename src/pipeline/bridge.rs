//! The bridge between nodes: its records, and what it asks of whatever carries them. A partition of it for each slot.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::bus;
use crate::ids::{Seq, Slot, UserId};

/// The form of the records below. A node that cannot read one counts it, and its sessions read from the store.
const VERSION: u8 = 1;
/// Bytes of a record beside the texts: what an entry takes at most.
const ENTRY_BYTES: usize = 24;

/// Carries records to other nodes, and brings those for this one.
pub trait BridgeLink: Send + Sync + 'static {
    /// Puts a record in line for the node in `slot`; the order of calls is the order in which that node gets them. The
    /// future resolves when the record is safe, also if that takes long; it may be dropped, and the record is sent all the
    /// same.
    ///
    /// # Errors
    /// [`bus::Error::TooLarge`], [`bus::Error::Closed`], or [`bus::Error::Unavailable`]: the record is not sent.
    fn send(&self, slot: Slot, record: Bytes) -> BoxFuture<'static, Result<(), bus::Error>>;

    /// What is sent to `slot` from now on: resolves when the place to read from is fixed, so that nothing sent later is
    /// missed. Records from before are not brought.
    ///
    /// # Errors
    /// [`bus::Error::Closed`], [`bus::Error::Unavailable`].
    fn open(&self, slot: Slot) -> BoxFuture<'static, Result<Box<dyn BridgeReader>, bus::Error>>;
}

/// The records that are sent to one slot.
pub trait BridgeReader: Send {
    /// Waits for records and returns up to `max` of them, in order. To give up waiting loses nothing.
    ///
    /// # Errors
    /// [`bus::Error::Closed`], [`bus::Error::Unavailable`]: records may have been missed, and no more come by this reader.
    fn receive(&mut self, max: usize) -> BoxFuture<'_, Result<Vec<Bytes>, bus::Error>>;
}

/// What a frame that is not stored is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameKind {
    /// Somebody writes.
    Typing,
    /// Somebody came or went.
    Presence,
    /// Somebody has read.
    Read,
    /// A script came to nothing.
    ScriptFailed,
}

impl FrameKind {
    /// The label under which it is counted when it is shed.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Typing => "typing",
            Self::Presence => "presence",
            Self::Read => "read",
            Self::ScriptFailed => "scriptFailed",
        }
    }
}

/// A frame that is not stored, for all sessions of these users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// For whom.
    pub users: Vec<UserId>,
    /// The frame as it goes over the socket.
    pub text: Arc<str>,
    /// What it is about.
    pub kind: FrameKind,
}

/// What one node tells another to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Hand over your clients and stop: an administrator wants it.
    Drain,
    /// Something was written into `account_events`: look now. A hint: who misses it looks soon anyway.
    LookAtEvents,
}

/// What one record carries.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeRecord {
    /// Messages, each once, as `SealedMessage` has them.
    pub messages: Vec<Arc<str>>,
    /// Where they stand: whose inbox, which place, which of `messages`.
    pub places: Vec<(UserId, Seq, u32)>,
    /// Places that exist, without the message.
    pub nudges: Vec<(UserId, Seq)>,
    /// What is not stored.
    pub frames: Vec<Frame>,
    /// What is to be done.
    pub orders: Vec<Order>,
}

/// A record that cannot be read: of another version, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of the bridge cannot be read: is another version of Parlor running beside this one?")]
pub struct Unreadable;

impl BridgeRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (&VERSION, rest) = bytes.split_first().ok_or(Unreadable)? else { return Err(Unreadable) };
        let record: Self = postcard::from_bytes(rest).map_err(|_| Unreadable)?;
        let known = |message: u32| (message as usize) < record.messages.len();
        if record.places.iter().all(|(_, _, message)| known(*message)) { Ok(record) } else { Err(Unreadable) }
    }

    fn to_bytes(&self) -> Bytes {
        // Into memory, of plain data: it cannot fail.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default().into()
    }

    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.nudges.is_empty() && self.frames.is_empty() && self.orders.is_empty()
    }
}

/// Packs what goes to one node into records of at most so many bytes.
#[derive(Debug)]
pub struct Packer {
    max_bytes: usize,
    done: Vec<Bytes>,
    record: BridgeRecord,
    bytes: usize,
    /// Which of the record's messages a text is, by its address: the record holds the text, so no other can stand there.
    known: HashMap<usize, u32>,
}

impl Packer {
    /// Packs into records of at most `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, done: Vec::new(), record: BridgeRecord::default(), bytes: 1, known: HashMap::new() }
    }

    /// A message that stands in somebody's inbox. One that fits into no record becomes a nudge.
    pub fn place(&mut self, user: UserId, seq: Seq, message: &Arc<str>) {
        if message.len() + 2 * ENTRY_BYTES > self.max_bytes {
            return self.nudge(user, seq);
        }
        let address = message.as_ptr().addr();
        if !self.known.contains_key(&address) || self.bytes + ENTRY_BYTES > self.max_bytes {
            self.make_room(message.len() + 2 * ENTRY_BYTES);
        }
        let next = u32::try_from(self.record.messages.len()).unwrap_or(u32::MAX);
        let index = *self.known.entry(address).or_insert_with(|| {
            self.record.messages.push(message.clone());
            self.bytes += message.len() + ENTRY_BYTES;
            next
        });
        self.bytes += ENTRY_BYTES;
        self.record.places.push((user, seq, index));
    }

    /// A place that exists.
    pub fn nudge(&mut self, user: UserId, seq: Seq) {
        self.make_room(ENTRY_BYTES);
        self.bytes += ENTRY_BYTES;
        self.record.nudges.push((user, seq));
    }

    /// A frame that is not stored. One that fits into no record is left out; says whether it was taken.
    pub fn frame(&mut self, users: Vec<UserId>, text: &Arc<str>, kind: FrameKind) -> bool {
        let bytes = text.len() + (users.len() + 1) * ENTRY_BYTES;
        if bytes >= self.max_bytes {
            return false;
        }
        self.make_room(bytes);
        self.bytes += bytes;
        self.record.frames.push(Frame { users, text: text.clone(), kind });
        true
    }

    /// An order.
    pub fn order(&mut self, order: Order) {
        self.make_room(ENTRY_BYTES);
        self.bytes += ENTRY_BYTES;
        self.record.orders.push(order);
    }

    /// The records, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }

    fn make_room(&mut self, bytes: usize) {
        if self.bytes + bytes > self.max_bytes {
            self.close();
        }
    }

    fn close(&mut self) {
        let record = std::mem::take(&mut self.record);
        self.known.clear();
        self.bytes = 1;
        if !record.is_empty() {
            self.done.push(record.to_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_packed_is_read_and_a_message_stands_there_once() {
        let text: Arc<str> = "x".repeat(1000).into();
        let mut packer = Packer::new(10_000);
        for user in 0..20 {
            packer.place(UserId(user), Seq(user + 7), &text);
        }
        packer.nudge(UserId(1), Seq(i64::MAX));
        assert!(packer.frame(vec![UserId(3)], &"{}".into(), FrameKind::Read));
        packer.order(Order::Drain);
        let records = packer.finish();
        assert_eq!(records.len(), 1);
        let record = BridgeRecord::read(&records[0]).unwrap();
        assert_eq!((record.messages.len(), record.places.len()), (1, 20));
        assert_eq!(record.places[19], (UserId(19), Seq(26), 0));
        assert_eq!(record.nudges, [(UserId(1), Seq(i64::MAX))]);
        assert_eq!((record.frames[0].kind, record.orders[0]), (FrameKind::Read, Order::Drain));
    }

    #[test]
    fn what_is_too_large_is_a_nudge_or_left_out_and_the_largest_that_fits_is_not() {
        let fits: Arc<str> = "x".repeat(1000 - 2 * ENTRY_BYTES - 1).into();
        let over: Arc<str> = "x".repeat(1000 - 2 * ENTRY_BYTES + 1).into();
        let mut packer = Packer::new(1000);
        packer.place(UserId(1), Seq(1), &fits);
        packer.place(UserId(1), Seq(2), &over);
        assert!(!packer.frame(vec![UserId(1)], &"x".repeat(1000).into(), FrameKind::Typing));
        let records: Vec<_> = packer.finish().iter().map(|bytes| BridgeRecord::read(bytes).unwrap()).collect();
        assert_eq!(records.iter().map(|record| record.places.len()).sum::<usize>(), 1);
        assert_eq!(records.iter().flat_map(|record| &record.nudges).collect::<Vec<_>>(), [&(UserId(1), Seq(2))]);
    }

    #[test]
    fn another_version_and_damage_are_told() {
        let mut packer = Packer::new(1000);
        packer.place(UserId(1), Seq(1), &"x".into());
        let good = packer.finish().remove(0);
        let mut newer = good.to_vec();
        newer[0] += 1;
        assert_eq!(BridgeRecord::read(&newer), Err(Unreadable));
        assert_eq!(BridgeRecord::read(&good[..good.len() - 1]), Err(Unreadable));
        assert_eq!(BridgeRecord::read(&[]), Err(Unreadable));
        let astray = BridgeRecord { places: vec![(UserId(1), Seq(1), 0)], ..BridgeRecord::default() };
        assert_eq!(BridgeRecord::read(&astray.to_bytes()), Err(Unreadable), "a place without its message");
    }

    proptest! {
        /// Whatever is packed within whatever bound: no record is over it, and each inbox's places come in order, with
        /// their texts.
        #[test]
        fn records_are_bounded_and_nothing_is_lost(
            places in proptest::collection::vec((0i64..5, 0usize..8), 0..60),
            sizes in proptest::collection::vec(0usize..700, 8),
            max in 200usize..2000,
        ) {
            let texts: Vec<Arc<str>> = sizes.iter().enumerate().map(|(n, size)| format!("{n}{}", "y".repeat(*size)).into()).collect();
            let mut packer = Packer::new(max);
            for (seq, (user, text)) in (1..).zip(&places) {
                packer.place(UserId(*user), Seq(seq), &texts[*text]);
            }
            let mut got = Vec::new();
            for bytes in packer.finish() {
                prop_assert!(bytes.len() <= max, "{} over {max}", bytes.len());
                let record = BridgeRecord::read(&bytes).unwrap();
                let mut here: Vec<_> = record.places.iter().map(|(user, seq, n)| (*user, *seq, Some(record.messages[*n as usize].clone()))).collect();
                here.extend(record.nudges.iter().map(|(user, seq)| (*user, *seq, None)));
                here.sort_by_key(|(_, seq, _)| *seq);
                got.extend(here);
            }
            prop_assert_eq!(got.len(), places.len());
            for (n, ((user, seq, text), (wanted, which))) in got.iter().zip(&places).enumerate() {
                prop_assert_eq!((user.0, seq.0), (*wanted, n as i64 + 1));
                let fits = texts[*which].len() + 2 * ENTRY_BYTES <= max;
                prop_assert_eq!(text.as_ref(), fits.then_some(&texts[*which]));
            }
        }
    }
}
