//! What goes between the server and a worker: frames of a length (four bytes, little-endian) and a body in postcard.
//!
//! Both ends are the same program, so there are no versions. The worker is not believed: a frame over
//! [`MAX_FRAME_BYTES`], one that cannot be read, or an answer to nothing that was asked, ends it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::call::{Diagnostic, Direction, Failure, Input, Language, Ran, SourceHash};
use crate::ids::UserId;

/// The largest frame either way, in bytes.
pub const MAX_FRAME_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of the length before each body.
pub const HEAD_BYTES: usize = 4;

/// The limits of one run, as the worker keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// Heap of one owner's interpreter state, in bytes.
    pub heap_bytes: u64,
    /// Processor time of one run, in microseconds.
    pub cpu_micros: u64,
    /// Bytes of one body, made or edited.
    pub message_bytes: u64,
    /// Replies of one run.
    pub replies: u32,
    /// Lines that one run may print, and bytes of all of them.
    pub print_lines: u32,
    /// Bytes of all lines.
    pub print_bytes: u32,
    /// Bytes of all interpreter states of this worker; the longest unused go first.
    pub states_bytes: u64,
}

/// From the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// First, once.
    Begin(RunLimits),
    /// Run a script. Answered by `Ran`, or by `Missing`.
    Run {
        /// Answers name it.
        number: u64,
        /// Whose script: no interpreter state is ever shared between owners.
        owner: UserId,
        /// What it is written in.
        language: Language,
        /// Which source.
        hash: SourceHash,
        /// The source itself; without it the worker uses what it has, or answers `Missing`.
        source: Option<String>,
        /// Which function.
        direction: Direction,
        /// The message.
        input: Input,
        /// What random numbers begin with: the same for a re-run.
        seed: u64,
    },
    /// Compile a source and see whether it defines the function. Answered by `Checked`.
    Check {
        /// Answers name it.
        number: u64,
        /// What it is written in.
        language: Language,
        /// Which function it must define.
        direction: Direction,
        /// The source.
        source: String,
    },
}

/// From the worker, in the order in which it was asked; a question asked again with its source is a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// First, once, when it is confined.
    Hello(Confinement),
    /// What a run came to.
    Ran {
        /// Which.
        number: u64,
        /// What.
        ran: Ran,
    },
    /// The source is not here (any more): ask again with it.
    Missing {
        /// Which.
        number: u64,
    },
    /// What is to be said about a source; without an error it can be used.
    Checked {
        /// Which.
        number: u64,
        /// What; or why it could not be found out (a limit).
        found: Result<Vec<Diagnostic>, Failure>,
    },
}

/// What keeps a worker from doing anything but to compute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// System calls are filtered (seccomp): without this a worker counts as unconfined.
    pub seccomp: bool,
    /// The Landlock ABI in force; 0: the kernel has none.
    pub landlock: u32,
    /// Resource limits are set.
    pub rlimits: bool,
    /// It runs as nobody. False when the server is not root: then it runs as the server's own user.
    pub nobody: bool,
    /// It sees files of its own: the interpreter and nothing of the host's. Of Java only; others open no files at all.
    pub view: bool,
    /// What could not be done, in words.
    pub missing: Vec<String>,
}

impl Confinement {
    /// Whether scripts may run behind it without somebody having said so by name.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.seccomp && self.rlimits
    }

    /// The same for Java, which may open files: so what there is to open must be bounded, too.
    #[must_use]
    pub fn is_enough_for_java(&self) -> bool {
        self.is_enough() && (self.view || self.landlock > 0)
    }

    /// What two processes have in common that are confined by turns.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut missing = self.missing;
        missing.extend(other.missing.into_iter().map(|what| format!("of Java: {what}")));
        Self {
            seccomp: self.seccomp && other.seccomp,
            landlock: self.landlock.min(other.landlock),
            rlimits: self.rlimits && other.rlimits,
            nobody: self.nobody && other.nobody,
            view: other.view,
            missing,
        }
    }
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than a frame may be.
    #[error("a frame of {0} bytes, at most {MAX_FRAME_BYTES} are allowed")]
    TooLong(usize),
    /// The body is none of ours.
    #[error("a frame that cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
    /// Bytes are left behind the body.
    #[error("a frame with {0} bytes too many")]
    TrailingBytes(usize),
}

/// Appends a frame to `out`.
///
/// # Errors
/// [`Error::TooLong`]; `out` is as before.
pub fn encode<T: Serialize>(frame: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    let done = postcard::serialize_with_flavor(frame, Body { out: &mut *out, length: 0 }).map_err(Error::from);
    let head = done.and_then(|length| match u32::try_from(length) {
        Ok(head) if length <= MAX_FRAME_BYTES => Ok(head),
        _ => Err(Error::TooLong(length)),
    });
    match (head, out.get_mut(start..start + HEAD_BYTES)) {
        (Ok(head), Some(room)) => {
            room.copy_from_slice(&head.to_le_bytes());
            Ok(())
        }
        (head, _) => {
            out.truncate(start);
            head.map(|_| ())
        }
    }
}

/// A body that is being written. What goes beyond the bound is counted, not kept.
struct Body<'a> {
    out: &'a mut Vec<u8>,
    length: usize,
}

impl postcard::ser_flavors::Flavor for Body<'_> {
    type Output = usize;

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.length = self.length.saturating_add(data.len());
        if self.length <= MAX_FRAME_BYTES {
            self.out.extend_from_slice(data);
        }
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.length)
    }
}

/// Takes the first frame off `bytes`: it and how many bytes it took, or `None` when it is not all there yet.
///
/// # Errors
/// [`Error`]: nothing behind it can be trusted to be a frame.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, Error> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(Error::TooLong(length));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let (frame, left) = postcard::take_from_bytes(body)?;
    if !left.is_empty() {
        return Err(Error::TrailingBytes(left.len()));
    }
    Ok(Some((frame, HEAD_BYTES + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check whose body has exactly so many bytes.
    fn check_of(bytes: usize) -> ToWorker {
        // Tag, number, language and direction take a byte each, the length of so long a source four.
        let source = "x".repeat(bytes - 8);
        ToWorker::Check { number: 1, language: Language::Luau, direction: Direction::Incoming, source }
    }

    #[test]
    fn a_frame_at_the_bound_goes_behind_what_is_there_and_comes_back() {
        let (mut out, frame) = (b"before".to_vec(), check_of(MAX_FRAME_BYTES));
        encode(&frame, &mut out).unwrap();
        assert_eq!(out.len(), 6 + HEAD_BYTES + MAX_FRAME_BYTES);
        assert_eq!(&out[..6], b"before");
        let (back, bytes) = decode::<ToWorker>(&out[6..]).unwrap().unwrap();
        assert!(back == frame && bytes == HEAD_BYTES + MAX_FRAME_BYTES);
        assert!(decode::<ToWorker>(&out[6..out.len() - 1]).unwrap().is_none(), "a byte is missing");
    }

    #[test]
    fn one_byte_over_the_bound_is_refused_and_nothing_of_it_is_left() {
        let mut out = b"before".to_vec();
        for (over, length) in [(1, MAX_FRAME_BYTES + 1), (MAX_FRAME_BYTES, 2 * MAX_FRAME_BYTES)] {
            let error = encode(&check_of(MAX_FRAME_BYTES + over), &mut out).unwrap_err();
            assert!(matches!(error, Error::TooLong(told) if told == length), "{error}");
            assert_eq!(out, b"before");
        }
        let head = u32::try_from(MAX_FRAME_BYTES).unwrap();
        assert!(decode::<ToWorker>(&head.to_le_bytes()).unwrap().is_none());
        let error = decode::<ToWorker>(&(head + 1).to_le_bytes()).unwrap_err();
        assert!(matches!(error, Error::TooLong(_)), "{error}");
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        struct Unwritable;
        impl Serialize for Unwritable {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::{Error as _, SerializeTuple as _};
                let mut pair = serializer.serialize_tuple(2)?;
                pair.serialize_element("half of it")?;
                Err(S::Error::custom("no"))
            }
        }
        let mut out = b"before".to_vec();
        assert!(matches!(encode(&Unwritable, &mut out), Err(Error::Unreadable(_))));
        assert_eq!(out, b"before");
    }
}
