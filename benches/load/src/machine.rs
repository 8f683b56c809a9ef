//! What the machine says: memory and processor time of a process, what it is called, which processors are whose.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context, bail};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use serde::Serialize;

/// What a process uses at one moment.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// Resident memory (VmRSS).
    pub(crate) rss_kib: u64,
    /// Of this, not backed by a file (RssAnon).
    pub(crate) anon_kib: u64,
    /// Processor time so far, user and system, of all its threads.
    pub(crate) cpu_seconds: f64,
}

impl Usage {
    /// Of a process and all its children, such as the workers of scripts, together.
    pub(crate) fn of_family(pid: u32) -> Option<Self> {
        let mut sum = Self::of(pid)?;
        for child in children(pid) {
            // One that has ended meanwhile uses nothing.
            let Some(usage) = Self::of(child) else { continue };
            sum.rss_kib += usage.rss_kib;
            sum.anon_kib += usage.anon_kib;
            sum.cpu_seconds += usage.cpu_seconds;
        }
        Some(sum)
    }

    /// Of several processes and their children together; absent for none, and when one of them is not here.
    pub(crate) fn of_families(pids: &[u32]) -> Option<Self> {
        let usages = pids.iter().map(|pid| Self::of_family(*pid));
        usages.reduce(|sum, usage| {
            let (sum, usage) = (sum?, usage?);
            Some(Self {
                rss_kib: sum.rss_kib + usage.rss_kib,
                anon_kib: sum.anon_kib + usage.anon_kib,
                cpu_seconds: sum.cpu_seconds + usage.cpu_seconds,
            })
        })?
    }

    /// Reads it from `/proc`; absent for a process that is not here.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(folder.join("status")).ok()?;
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        Some(Self {
            rss_kib: status_kib(&status, "VmRSS:")?,
            anon_kib: status_kib(&status, "RssAnon:").unwrap_or(0),
            cpu_seconds: stat_ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64,
        })
    }
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task")) else {
        return Vec::new();
    };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

fn status_kib(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// utime + stime: fields 14 and 15, counted behind the name, which may hold anything but a last parenthesis.
fn stat_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Where a run took place: figures mean nothing without it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu_model: String,
    processors: usize,
    kernel: String,
    /// Of the folder that the generator was run in, if that is a git work tree; `+` if it had changes.
    git_commit: Option<String>,
    unix_time: u64,
}

impl Machine {
    /// Looks around.
    #[expect(clippy::disallowed_methods, reason = "a report says when it was made; nothing depends on it")]
    pub(crate) fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models = cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let models: Vec<_> = models.map(|(_, model)| model.trim()).collect();
        let uname = rustix::system::uname();
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            cpu_model: models.first().unwrap_or(&"unknown").to_string(),
            processors: models.len(),
            kernel: format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            git_commit: git_commit(),
            unix_time: since_epoch.as_secs(),
        }
    }
}

fn git_commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|list| !list.is_empty());
    Some(format!("{}{}", commit.trim(), if is_changed { "+" } else { "" }))
}

/// Lets this process, and those it starts, have as many sockets as the system allows.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where this is refused, connecting will say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Processors, as in `0`, `0,2` or `0-3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cpus(BTreeSet<usize>);

impl std::str::FromStr for Cpus {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |word: &str| word.trim().parse::<usize>().with_context(|| format!("`{part}` is no processor"));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= CpuSet::MAX_CPU {
                bail!("`{part}` is no range of processors");
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl Cpus {
    /// Those that this process may run on now.
    pub(crate) fn allowed() -> anyhow::Result<Self> {
        let set = sched_getaffinity(None).context("which processors there are")?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()))
    }

    /// Those of these that are not among `others`.
    pub(crate) fn without(&self, others: &Self) -> Self {
        Self(self.0.difference(&others.0).copied().collect())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has this thread, and all that it starts from now on, run on these only.
    pub(crate) fn pin(&self) -> anyhow::Result<()> {
        let mut set = CpuSet::new();
        self.0.iter().for_each(|cpu| set.set(*cpu));
        sched_setaffinity(None, &set).with_context(|| format!("cannot run on processors {:?}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_as_taskset_reads_them() {
        assert_eq!("0,2-3".parse::<Cpus>().unwrap(), Cpus([0, 2, 3].into()));
        for bad in ["", "a", "3-1", "0,", "99999999"] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
    }

    #[test]
    fn proc_files_are_read_whatever_the_process_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 3 4 20 0 1 0 100 0 0";
        assert_eq!(stat_ticks(stat), Some(200));
        assert_eq!(status_kib("Name:\tx\nVmRSS:\t  123 kB\n", "VmRSS:"), Some(123));
        assert!(Usage::of(std::process::id()).unwrap().rss_kib > 0);
    }
}
