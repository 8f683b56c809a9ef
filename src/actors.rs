//! The actors: one each for every session, stage and singleton of a node. Each file has one actor, always in the same
//! order: purpose, messages, the struct, its handlers, its helpers, its tests.

pub mod bridge;
pub mod busy;
pub mod catch_up;
pub mod control;
pub mod feeder;
pub mod left_behind;
pub mod node;

pub mod outbox;
pub mod presence;
pub mod prune;
pub mod registry;
pub mod router;
pub mod runner;
pub mod runners;
pub mod session;
pub mod stage;
pub mod tell;
