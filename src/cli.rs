//! The command line: what `parlor` can be told to do, one command, one file.

pub mod user;
