//! What only a server has: many nodes at once, a network, a password; each test in a database of its own.

mod away;
mod nodes;
mod opening;
