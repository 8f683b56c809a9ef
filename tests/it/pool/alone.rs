//! In a process of its own, where nobody else opens descriptors: what restarts leave behind, and what happens when no
//! process can be started.

use std::os::fd::AsRawFd as _;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

const RESTARTS: usize = 200;

#[test]
fn in_a_process_of_its_own() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let done = command.args(["--exact", "--ignored", "pool::alone::restarts_leave_nothing_behind"]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn alone(body: &str) -> Job {
    Job { lane: Lane::Alone, ..job(1, FORWARD, body) }
}

#[tokio::test]
#[ignore = "run by the one above"]
async fn restarts_leave_nothing_behind() {
    let workers = hostile("fine").await;
    let crash = async |times: usize| {
        for _ in 0..times {
            let ran = workers.run(alone("exit-now")).await;
            assert_eq!(kind(&ran), Some(FailureKind::WorkerKilled), "{ran:?}");
        }
    };
    crash(10).await;
    // What it said last is read to its end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (open, resident) = (descriptors(), resident_kib());
    crash(RESTARTS).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while descriptors() != open {
        assert!(Instant::now() < deadline, "{open} descriptors before, {} after", descriptors());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(resident_kib() < resident + 4 * 1024, "{resident} KiB before, {} after", resident_kib());
    assert!(children("").iter().all(|(_, zombie)| !zombie));

    // No descriptor is left, so that none can be started: not the script's fault, and over when there are some again.
    let held = getrlimit(Resource::Nofile);
    // The limit is on the numbers, and the next one is the lowest that is free.
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::Nofile, Rlimit { current: Some(u64::try_from(next).unwrap()), ..held }).unwrap();
    for _ in 0..5 {
        let ran = workers.run(alone("hello")).await;
        assert_eq!(kind(&ran), Some(FailureKind::Unavailable), "{ran:?}");
        assert!(detail(&ran).contains("a worker cannot be started: "), "{ran:?}");
    }
    assert!(workers.run(job(1, FORWARD, "hello")).await.outcome.is_ok(), "one that lives goes on");
    setrlimit(Resource::Nofile, held).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while workers.run(alone("hello")).await.outcome.is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    workers.stop().await;
    assert!(children("").is_empty());
}
