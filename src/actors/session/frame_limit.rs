//! Refuses a frame by the length that it announces: actix-http asks for it only when the whole frame is there, and
//! keeps what comes until then, however much that is.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_http::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _};

/// The longest header of a frame, without its mask.
const MAX_HEADER: usize = 10;
const MASK_BYTES: u64 = 4;

/// The bytes of a socket, up to the first frame that announces more than it may have: there it ends with
/// [`PayloadError::Overflow`].
pub struct FrameLimit<S> {
    bytes: S,
    walk: Walk,
}

/// Where in the frames the bytes so far have come to.
#[derive(Debug)]
struct Walk {
    limit: u64,
    header: [u8; MAX_HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of a mask and a payload that are still to come.
    skip: u64,
}

impl<S> FrameLimit<S> {
    /// Lets frames of at most `limit` bytes pass.
    pub fn new(bytes: S, limit: usize) -> Self {
        Self { bytes, walk: Walk { limit: limit as u64, header: [0; MAX_HEADER], have: 0, skip: 0 } }
    }
}

impl Walk {
    /// Goes through the next bytes. `false`: a frame announces more than it may have.
    fn on(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            let Some((byte, rest)) = bytes[skipped..].split_first() else { return true };
            bytes = rest;
            self.header[self.have] = *byte;
            self.have += 1;
            let Some(length) = announced(&self.header[..self.have]) else { continue };
            if length > self.limit {
                return false;
            }
            let masked = self.header[1] & 0x80 != 0;
            self.skip = length + if masked { MASK_BYTES } else { 0 };
            self.have = 0;
        }
    }
}

/// The length of the payload, once the header is whole (RFC 6455, section 5.2).
fn announced(header: &[u8]) -> Option<u64> {
    let (short, long) = (header.get(1)? & 0x7f, header.get(2..)?);
    match short {
        126 => long.try_into().ok().map(|bytes| u64::from(u16::from_be_bytes(bytes))),
        127 => long.try_into().ok().map(u64::from_be_bytes),
        short => Some(u64::from(short)),
    }
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for FrameLimit<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.bytes.poll_next_unpin(context));
        Poll::Ready(match next {
            Some(Ok(bytes)) if !self.walk.on(&bytes) => Some(Err(PayloadError::Overflow)),
            next => next,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match length {
            0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                bytes.push(0xfe);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0xff);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0xff; 4 + length]);
        bytes
    }

    fn walk(limit: usize) -> Walk {
        FrameLimit::new((), limit).walk
    }

    #[test]
    fn the_announcement_is_enough() {
        let mut short = walk(1 << 20);
        assert!(short.on(&frame(1 << 20)));
        assert!(!short.on(&[0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1]));
        assert!(!walk(1 << 20).on(&[0x81, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    }

    proptest! {
        /// However the bytes are cut: frames within the limit pass, and the first one over it does not.
        #[test]
        fn cuts_do_not_matter(lengths in proptest::collection::vec(0usize..70_000, 0..6), cut in 1usize..5000) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|length| frame(*length)).collect();
            let mut good = walk(69_999);
            prop_assert!(bytes.chunks(cut).all(|chunk| good.on(chunk)));
            prop_assert_eq!((good.have, good.skip), (0, 0));
            bytes.extend(frame(70_000));
            let mut bad = walk(69_999);
            prop_assert!(!bytes.chunks(cut).all(|chunk| bad.on(chunk)));
        }
    }
}
