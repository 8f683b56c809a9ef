//! What a confined worker cannot do: each attempt kills it. What it says of its confinement, and what the kernel says.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use clap::ValueEnum as _;
use parlor::script::call::Direction;
use parlor::script::confine::attempt::Attempt;
use rustix::process::Signal;

use super::worker::Worker;

fn attempt(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.args(["worker", "--attempt", name]).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::piped());
    command
}

#[test]
fn every_system_call_that_reaches_out_kills_it() {
    let mut survived = Vec::new();
    for tried in Attempt::value_variants() {
        let name = tried.to_possible_value().unwrap().get_name().to_owned();
        let output = attempt(&name).output().unwrap();
        let killed = output.status.signal() == Some(Signal::SYS.as_raw());
        let harmless = matches!(tried, Attempt::Nothing | Attempt::Wait);
        if killed == harmless {
            survived.push(format!("{name}: {:?}, {}", output.status, String::from_utf8_lossy(&output.stderr)));
        }
    }
    assert!(survived.is_empty(), "{}", survived.join("\n"));
}

/// The fields of `/proc/PID/status`.
fn status(worker: &Worker) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", worker.child.id())).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

#[test]
fn the_kernel_says_what_the_worker_says() {
    let mut worker = Worker::start();
    // When it has answered it has set its last limit, which it learns from the server.
    assert!(worker.ran(super::run(1, super::OTHER, Direction::Incoming, super::GOOD, "")).is_some());
    let status = status(&worker);
    let said = &worker.confinement;
    assert!(said.is_enough(), "{said:?}");
    assert_eq!((status["Seccomp"].as_str(), status["NoNewPrivs"].as_str()), ("2", "1"));
    assert_eq!(status["Threads"], "1");
    let root = rustix::process::geteuid().is_root();
    assert_eq!(said.nobody, root);
    if root {
        assert_eq!(status["Uid"], "65534\t65534\t65534\t65534");
        assert_eq!(status["Gid"], "65534\t65534\t65534\t65534");
        assert_eq!(status["Groups"], "");
        assert_eq!(status["CapEff"].trim_start_matches('0'), "");
    }
    assert_eq!(said.missing.iter().filter(|missing| !missing.starts_with("landlock")).count(), 0, "{said:?}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.child.id())).unwrap();
    for (name, most) in
        [("Max open files", "3"), ("Max processes", "0"), ("Max core file size", "0"), ("Max file size", "0")]
    {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>(), [most, most], "{line}");
    }
    let line = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    assert!(!line.contains("unlimited"), "{line}");
    let environment = std::fs::read(format!("/proc/{}/environ", worker.child.id())).unwrap_or_default();
    assert_eq!(environment, b"");
}

#[test]
fn an_inherited_descriptor_is_closed() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
    assert!(theirs.as_raw_fd() > 2);
    let mut worker = Worker::with(Command::new(env!("CARGO_BIN_EXE_parlor")).arg("worker"));
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::CLOEXEC).unwrap();
    assert!(worker.receive().is_some());
    drop(theirs);
    // Nobody holds the other end any more, the living worker included.
    ours.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    assert_eq!(ours.read(&mut [0]).unwrap(), 0);
    assert!(worker.child.try_wait().unwrap().is_none());
    let open = std::fs::read_dir(format!("/proc/{}/fd", worker.child.id()));
    if let Ok(open) = open {
        assert_eq!(open.count(), 3);
    }
}

#[test]
fn it_ends_with_its_socket() {
    let mut worker = Worker::start();
    let end = worker.hang_up();
    assert!(end.success(), "{end:?}");
}
