//! The way of a message: the bus, and the stages as plain functions of an envelope. Nothing here knows an actor.

pub mod auto_reply;
pub mod bridge;
pub mod bus;
pub mod control;
pub mod embedded;
pub mod kafka;
pub mod made;
mod room;
pub mod router;
pub mod scripted;
pub mod stages;
pub mod trace;
pub mod tracker;
