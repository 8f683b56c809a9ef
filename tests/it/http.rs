//! The HTTP interface, route by route (design, section 6).

mod accounts;
mod cross_origin;
mod described;
mod lists;
mod ports;
mod problems;
mod scripts;
