//! The journal's file format: frames, how they are written and read back. Nothing here does I/O.
//!
//! A segment is a row of frames: `u32 length, u32 crc32 of the body, body`, numbers little-endian, the body's first byte
//! its kind. It begins with a [`Frame::Head`] and a [`Frame::Mark`] per partition, so that every segment before it can
//! be deleted; then come batches, each a [`Frame::Batch`] and its records and positions.

/// What stands at the head of every segment of this version.
const HEAD_MAGIC: [u8; 8] = *b"PARLBUS\xff";
/// Starts every batch. 0xff never occurs in UTF-8, so no envelope can hold one.
const BATCH_MAGIC: [u8; 8] = *b"\xffBATCH\xff\xfe";
/// The format that this program writes, and the only one that it reads.
pub(super) const VERSION: u16 = 1;
/// The longest topic name: its length is written in two bytes, and no sane name comes near this.
pub(super) const MAX_TOPIC_BYTES: usize = 255;

const PREFIX_BYTES: usize = 8;
const KIND_BYTES: usize = 1;
/// The size of a [`Frame::Batch`] with its prefix.
pub(super) const MARKER_BYTES: usize = PREFIX_BYTES + KIND_BYTES + BATCH_MAGIC.len() + 8 + 8 + 8;

/// What a record takes in the journal beside its key and payload, at most.
pub(super) const MAX_RECORD_OVERHEAD: u64 = 64 + MAX_TOPIC_BYTES as u64;

const HEAD: u8 = 1;
const MARK: u8 = 2;
const BATCH: u8 = 3;
const RECORD: u8 = 4;
const POSITION: u8 = 5;

/// What stands in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Head(Head),
    Mark(Mark<'a>),
    Batch(Marker),
    Record(Stored<'a>),
    Position(Position<'a>),
}

/// The first frame of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u16,
    /// The segment's place among its kind; its file is named after it.
    pub(super) number: u64,
    /// Over how many partitions keys were spread when the segment was begun.
    pub(super) partitions: u32,
    /// How many [`Mark`]s follow.
    pub(super) marks: u32,
}

/// Where a partition stood when the segment was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    /// The offset that its next record gets.
    pub(super) next: u64,
    /// All records before this are finished.
    pub(super) committed: u64,
}

/// The first frame of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// The segment's number: a marker of another file, copied here, is none.
    pub(super) number: u64,
    /// The marker's own place in the file.
    pub(super) position: u64,
    /// How much of the file was known to be on the disk when this was written. Damage before that point cannot be the
    /// trace of a write that a crash cut short.
    pub(super) durable: u64,
}

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) key: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// A consumer's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    /// All records before this are finished.
    pub(super) next: u64,
}

impl Frame<'_> {
    /// Appends the frame to `out`. Lengths are held by the callers: topics to [`MAX_TOPIC_BYTES`], records to 1 GiB.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        match *self {
            Self::Head(head) => {
                out.push(HEAD);
                out.extend_from_slice(&HEAD_MAGIC);
                out.extend_from_slice(&head.version.to_le_bytes());
                out.extend_from_slice(&head.number.to_le_bytes());
                out.extend_from_slice(&head.partitions.to_le_bytes());
                out.extend_from_slice(&head.marks.to_le_bytes());
            }
            Self::Mark(mark) => {
                out.push(MARK);
                put_place(out, mark.topic, mark.partition, mark.next);
                out.extend_from_slice(&mark.committed.to_le_bytes());
            }
            Self::Batch(marker) => {
                out.push(BATCH);
                out.extend_from_slice(&BATCH_MAGIC);
                out.extend_from_slice(&marker.number.to_le_bytes());
                out.extend_from_slice(&marker.position.to_le_bytes());
                out.extend_from_slice(&marker.durable.to_le_bytes());
            }
            Self::Record(record) => {
                out.push(RECORD);
                put_place(out, record.topic, record.partition, record.offset);
                out.extend_from_slice(&length(record.key).to_le_bytes());
                out.extend_from_slice(record.key);
                out.extend_from_slice(record.payload);
            }
            Self::Position(position) => {
                out.push(POSITION);
                put_place(out, position.topic, position.partition, position.next);
            }
        }
        let body = &out[start + PREFIX_BYTES..];
        let (length, crc) = (length(body), crc32fast::hash(body));
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..start + PREFIX_BYTES].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the frame that `bytes` begin with, and its length.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Frame<'_>, usize), &'static str> {
        let mut reader = Reader(bytes);
        let (Some(length), Some(crc)) = (reader.u32(), reader.u32()) else {
            return Err("the file ends within a frame");
        };
        let Some(body) = reader.take(length as usize) else { return Err("the file ends within a frame") };
        // What a crash leaves is often zeros, and zero is the checksum of nothing.
        if body.is_empty() {
            return Err("an empty frame");
        }
        if crc32fast::hash(body) != crc {
            return Err("the checksum does not match");
        }
        let frame = decode_body(body).ok_or("a frame of no known kind")?;
        Ok((frame, PREFIX_BYTES + body.len()))
    }
}

/// Fills in the marker that a batch begins with; its place was left free at the front of `batch`.
pub(super) fn put_marker(batch: &mut [u8], marker: Marker) {
    let mut frame = Vec::with_capacity(MARKER_BYTES);
    Frame::Batch(marker).encode(&mut frame);
    batch[..MARKER_BYTES].copy_from_slice(&frame);
}

/// A batch marker behind `damage` that says the damaged bytes were on the disk once: where it stands.
pub(super) fn proof_of_loss(file: &[u8], number: u64, damage: usize) -> Option<usize> {
    let lead = PREFIX_BYTES + KIND_BYTES;
    let first = damage.saturating_add(1);
    let mut from = first.checked_add(lead)?;
    while let Some(found) = file.get(from..)?.windows(BATCH_MAGIC.len()).position(|bytes| bytes == BATCH_MAGIC) {
        let start = from + found - lead;
        if let Ok((Frame::Batch(marker), _)) = Frame::decode(&file[start..])
            && marker.number == number
            && marker.position == start as u64
            && marker.durable > damage as u64
        {
            return Some(start);
        }
        from += found + 1;
    }
    None
}

fn decode_body(body: &[u8]) -> Option<Frame<'_>> {
    let mut reader = Reader(body);
    let frame = match reader.take(KIND_BYTES)?[0] {
        HEAD if reader.take(HEAD_MAGIC.len())? == HEAD_MAGIC => {
            let version = u16::from_le_bytes(reader.take(2)?.try_into().ok()?);
            let (number, partitions, marks) = (reader.u64()?, reader.u32()?, reader.u32()?);
            Frame::Head(Head { version, number, partitions, marks })
        }
        MARK => {
            let (topic, partition, next) = reader.place()?;
            Frame::Mark(Mark { topic, partition, next, committed: reader.u64()? })
        }
        BATCH if reader.take(BATCH_MAGIC.len())? == BATCH_MAGIC => {
            let (number, position, durable) = (reader.u64()?, reader.u64()?, reader.u64()?);
            Frame::Batch(Marker { number, position, durable })
        }
        RECORD => {
            let (topic, partition, offset) = reader.place()?;
            let key_length = reader.u32()? as usize;
            let key = reader.take(key_length)?;
            let payload = std::mem::take(&mut reader.0);
            Frame::Record(Stored { topic, partition, offset, key, payload })
        }
        POSITION => {
            let (topic, partition, next) = reader.place()?;
            Frame::Position(Position { topic, partition, next })
        }
        _ => return None,
    };
    reader.0.is_empty().then_some(frame)
}

fn put_place(out: &mut Vec<u8>, topic: &str, partition: u32, offset: u64) {
    let length = u16::try_from(topic.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&partition.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Takes numbers off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn place(&mut self) -> Option<(&'a str, u32, u64)> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        let topic = std::str::from_utf8(self.take(length.into())?).ok()?;
        Some((topic, self.u32()?, self.u64()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = (String, Vec<u8>, Vec<u8>, u32, u64, u64)> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        (".{0,60}", bytes(), bytes(), any::<u32>(), any::<u64>(), any::<u64>())
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded((topic, key, payload, partition, a, b) in frames(), version in any::<u16>()) {
            let topic = topic.as_str();
            let all = [
                Frame::Head(Head { version, number: a, partitions: partition, marks: partition ^ 1 }),
                Frame::Mark(Mark { topic, partition, next: a, committed: b }),
                Frame::Batch(Marker { number: a, position: b, durable: a ^ b }),
                Frame::Record(Stored { topic, partition, offset: a, key: &key, payload: &payload }),
                Frame::Position(Position { topic, partition, next: b }),
            ];
            let mut written = Vec::new();
            for frame in &all {
                frame.encode(&mut written);
            }
            let mut rest = &written[..];
            for frame in all {
                let (read, length) = Frame::decode(rest).unwrap();
                prop_assert_eq!(read, frame);
                rest = &rest[length..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn a_frame_with_any_bit_flipped_or_cut_short_is_damage((topic, key, payload, partition, a, _) in frames(), at in any::<prop::sample::Index>()) {
            let mut written = Vec::new();
            Frame::Record(Stored { topic: &topic, partition, offset: a, key: &key, payload: &payload }).encode(&mut written);
            prop_assert!(written.len() as u64 <= (key.len() + payload.len()) as u64 + MAX_RECORD_OVERHEAD);
            prop_assert!(Frame::decode(&written[..at.index(written.len())]).is_err());
            let bit = at.index(written.len() * 8);
            written[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Frame::decode(&written).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..7_u8) {
            let _ = Frame::decode(&bytes);
            // And bytes with a good checksum, as another program might write them.
            let body = [&[kind][..], &bytes].concat();
            let mut framed = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
            framed.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
            framed.extend_from_slice(&body);
            let _ = Frame::decode(&framed);
        }
    }

    #[test]
    fn only_a_marker_in_its_own_place_that_says_so_proves_a_loss() {
        let marker = |number, position, durable| {
            let mut file = vec![0; 100];
            Frame::Batch(Marker { number, position, durable }).encode(&mut file);
            file
        };
        assert_eq!(proof_of_loss(&marker(7, 100, 80), 7, 79), Some(100));
        assert_eq!(proof_of_loss(&marker(7, 100, 80), 7, 80), None, "the damaged bytes were not yet synced");
        assert_eq!(proof_of_loss(&marker(7, 101, 80), 7, 79), None, "another place");
        assert_eq!(proof_of_loss(&marker(6, 100, 80), 7, 79), None, "another file");
        assert_eq!(proof_of_loss(&marker(7, 100, 80), 7, 100), None, "not behind the damage");
        assert_eq!(proof_of_loss(&[], 7, 0), None);
    }

    #[test]
    fn zeros_are_damage() {
        assert!(Frame::decode(&[0; 64]).is_err());
    }
}
