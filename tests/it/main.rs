//! Everything that is tested from outside, in one binary.

mod bus_contract;
mod bus_embedded;
