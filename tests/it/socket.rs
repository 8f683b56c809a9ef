//! The socket, frame by frame and limit by limit (design, section 5).

mod close;
mod frames;
mod limits;
mod messages;
mod resume;
mod slow_reader;
mod stop;
mod tokens;
mod upgrade;
mod vanish;
