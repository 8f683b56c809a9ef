//! The real worker: killed, stopped, left behind, and quick.

use super::*;

const LOOP: &str = "function incoming(message) while true do end end";

#[tokio::test]
async fn it_is_confined_runs_checks_and_leaves_nothing_behind() {
    let workers = real().await;
    assert!(workers.confinement().is_enough(), "{:?}", workers.confinement());
    let start = Instant::now();
    let ran = workers.run(job(1, FORWARD, "hello")).await;
    assert_eq!(ran.outcome, Ok(Wanted::Incoming { drop: false, replies: vec![] }), "{ran:?}");
    assert!(start.elapsed() < Duration::from_millis(100));
    let found = workers.check(UserId(1), Language::Luau, Direction::Incoming, "function incoming(").await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(kind(&workers.run(job(1, LOOP, "hello")).await), Some(FailureKind::CpuLimit));
    workers.stop().await;
    let ran = workers.run(job(1, FORWARD, "hello")).await;
    assert_eq!(kind(&ran), Some(FailureKind::Unavailable));
}

/// Workers of this test alone: their program is a link of its own.
async fn apart(folder: &Path) -> (Workers, String) {
    let program = folder.join("parlor");
    std::fs::copy(env!("CARGO_BIN_EXE_parlor"), &program).unwrap();
    // Long enough for those that are run again when the machine has much else to do.
    let (options, name) = (options(3000), program.to_str().unwrap().to_owned());
    (Workers::start_as(Setup::of(program), &options, options.run_limits(BODY)).await, name)
}

#[tokio::test]
async fn killed_or_frozen_in_the_middle_of_runs_all_are_made_and_none_is_a_zombie() {
    for signal in [Signal::KILL, Signal::STOP] {
        let folder = tempfile::tempdir().unwrap();
        let (workers, name) = apart(folder.path()).await;
        let runs = (0..200).map(|owner| workers.run(job(owner, FORWARD, "hello")));
        let disturb = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            // The shared one and that for trials: the third is started when these have died.
            // Zombies may be anybody's of this process: their command line is gone.
            let struck: Vec<Pid> = children(&name).into_iter().filter(|child| !child.1).map(|child| child.0).collect();
            for pid in &struck {
                kill_process(*pid, signal).unwrap();
            }
            struck
        };
        let (results, struck) = tokio::join!(futures_util::future::join_all(runs), disturb);
        let failed: Vec<_> = results.iter().filter(|ran| ran.outcome.is_err()).collect();
        assert!(failed.is_empty(), "{signal:?}: {failed:?}");
        // Idle ones that are killed blame nobody and are there again.
        for (pid, _) in children(&name).into_iter().filter(|(_, zombie)| !zombie) {
            kill_process(pid, Signal::KILL).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(workers.run(job(1, FORWARD, "hello")).await.outcome.is_ok());
        workers.stop().await;
        let left = children(&name);
        let left: Vec<_> = left.iter().filter(|child| !child.1 || struck.contains(&child.0)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn callers_that_go_away_leave_nothing_behind() {
    let workers = real().await;
    for owner in 0..500 {
        let run = workers.run(job(owner, FORWARD, "hello"));
        let _ = tokio::time::timeout(Duration::from_micros(50), run).await;
    }
    assert!(workers.run(job(1, FORWARD, "hello")).await.outcome.is_ok());
    workers.stop().await;
}

#[tokio::test]
async fn the_worse_scripts_behave_the_more_they_yield_the_processor() {
    let workers = real().await;
    for lane in [Lane::Shared, Lane::Trial, Lane::Alone] {
        assert!(workers.run(Job { lane, ..job(1, FORWARD, "x") }).await.outcome.is_ok());
    }
    let ours = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // Behind the name: state, parent, … and the niceness as the 17th.
        let fields: Vec<String> = stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
        (fields[1] == ours).then(|| fields[16].parse::<i32>().unwrap())
    });
    let nice: Vec<i32> = stats.collect();
    for niceness in [0, 2, 4] {
        assert!(nice.contains(&niceness), "{nice:?}");
    }
    workers.stop().await;
}
