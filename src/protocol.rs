//! The websocket's protocol, `parlor.v1`, without a socket: frames, close codes, and a session as pure code.
//!
//! Nothing here does I/O, reads a clock or knows an actor. Events go in, effects come out.

pub mod close;
pub mod cursor;
pub mod frames;
pub mod session;

/// The websocket subprotocol's name.
pub const SUBPROTOCOL: &str = "parlor.v1";
