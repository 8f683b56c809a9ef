//! What the kernel says about this process: processor time, memory, open files.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// Ticks a second of `/proc`: fixed by Linux for all programs, whatever the kernel's own.
const TICKS: u64 = 100;

/// Brings the metrics of the process up to date. What the kernel does not tell stays as it was.
pub fn measure() {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text)) {
        super::process_cpu(stat.cpu_ticks * 1000 / TICKS);
        super::process_memory((stat.resident_pages * rustix::param::page_size() as u64) as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open while it is read.
        super::process_files(files.count().saturating_sub(1) as f64);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        super::process_files_limit(limit as f64);
    }
}

/// What matters of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    /// The fields are counted behind the name, which may hold anything, brackets too.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        // proc(5): 14 utime, 15 stime, 24 rss; what is split here begins with 3, the state.
        Some(Self { cpu_ticks: number(11)? + number(12)?, resident_pages: number(21)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_behind_the_name() {
        let text =
            "42 (a) b) S 1 42 42 0 -1 4194304 900 0 0 0 250 50 7 9 20 0 12 0 8913 4000000 1234 18446744073709551615 1";
        assert_eq!(Stat::parse(text), Some(Stat { cpu_ticks: 300, resident_pages: 1234 }));
        assert_eq!(Stat::parse("42 (a) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        let text = fs::read_to_string("/proc/self/stat").unwrap();
        assert!(Stat::parse(&text).unwrap().resident_pages > 100);
    }
}
