//! Workers that cannot be started, or are killed by others: no script is blamed, and all is well when they are.

use std::path::Path;

use futures_util::future::join_all;

use super::*;

fn alone(owner: i64, body: &str) -> Job {
    Job { lane: Lane::Alone, ..job(owner, FORWARD, body) }
}

#[tokio::test]
async fn one_that_fails_its_trial_was_never_started_and_blames_nobody() {
    let cases = [
        ("exit-after-hello", "(ended with code 3)"),
        ("dies-at-trial", "(died by signal 31)"),
        ("hangs-at-trial", "did not answer the trial check within 2000 ms"),
        ("finds-fault", "a source that is right: never right"),
        ("runs-the-trial", "with something else"),
        ("speaks-at-hello", "with something else"),
        ("speaks-at-trial", "spoke before it was asked"),
    ];
    join_all(cases.map(|(mode, words)| async move {
        let workers = hostile(mode).await;
        assert!(!workers.confinement().is_enough(), "{mode}");
        for lane in [Lane::Shared, Lane::Trial, Lane::Alone] {
            let ran = workers.run(Job { lane, ..job(1, FORWARD, "hello") }).await;
            assert_eq!(kind(&ran), Some(FailureKind::Unavailable), "{mode}, {lane:?}: {ran:?}");
            assert!(detail(&ran).contains(words), "{mode}, {lane:?}: {ran:?}");
        }
        workers.stop().await;
    }))
    .await;
}

#[tokio::test]
async fn nobody_waits_for_one_that_could_not_be_started_the_last_time() {
    let workers = hostile("no-hello").await;
    for _ in 0..20 {
        let start = Instant::now();
        let ran = workers.run(job(1, FORWARD, "hello")).await;
        assert_eq!(kind(&ran), Some(FailureKind::Unavailable));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}: as long as a start may take", start.elapsed());
    }
    workers.stop().await;
}

#[tokio::test]
async fn they_are_started_ever_more_seldom_while_ill_and_work_again_when_well() {
    let folder = tempfile::tempdir().unwrap();
    let (ill, log) = (folder.path().join("ill"), folder.path().join("starts"));
    std::fs::write(&ill, "").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pool/hostile.py");
    // Notes each start, then becomes the worker.
    let line = r#"echo >> "$1"; exec "$2" "$3" "exit-after-hello:$4""#;
    let mut setup = Setup::of("/bin/sh".into());
    setup.arguments =
        ["-c".into(), line.into(), "sh".into(), log.clone().into(), python().into(), script.into()].into();
    setup.arguments.push(ill.clone().into());
    setup.longest_wait = Duration::from_millis(400);
    let workers = Workers::start_as(setup, &options(500), options(500).run_limits(BODY)).await;
    let starts = || std::fs::read_to_string(&log).unwrap().len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = starts();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let more = starts() - begun;
    // Two workers that are always wanted, each at most every 400 ms.
    assert!((1..=10).contains(&more), "{more} starts within two seconds");
    for lane in [Lane::Shared, Lane::Trial, Lane::Alone] {
        let ran = workers.run(Job { lane, ..job(1, FORWARD, "hello") }).await;
        assert_eq!(kind(&ran), Some(FailureKind::Unavailable), "{ran:?}");
    }
    std::fs::remove_file(&ill).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    for lane in [Lane::Shared, Lane::Trial, Lane::Alone] {
        while let Err(failure) = workers.run(Job { lane, ..job(1, FORWARD, "hello") }).await.outcome {
            assert_eq!(failure.kind, FailureKind::Unavailable, "{failure:?}");
            assert!(Instant::now() < deadline, "{lane:?} is not well again: {failure:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    workers.stop().await;
}

#[tokio::test]
async fn one_that_is_killed_from_outside_once_blames_nobody_and_twice_the_run() {
    let workers = hostile("fine").await;
    let folder = tempfile::tempdir().unwrap();
    let once = format!("kill-once {}|", folder.path().join("killed").display());
    let ran = workers.run(alone(1, &once)).await;
    assert!(ran.outcome.is_ok(), "{ran:?}");
    assert!(folder.path().join("killed").exists());
    for (body, words) in [("kill-now", "because memory ran out"), ("term-now", "SIGTERM")] {
        let ran = workers.run(alone(1, body)).await;
        assert_eq!(kind(&ran), Some(FailureKind::WorkerKilled), "{ran:?}");
        assert!(detail(&ran).contains(words), "{ran:?}");
    }
    workers.stop().await;
}

#[tokio::test]
async fn who_crashes_alone_holds_up_the_others_there_no_longer_than_a_start_takes() {
    let setup = Setup { longest_wait: Duration::from_secs(5), ..setup("fine") };
    let workers = Workers::start_as(setup, &options(500), options(500).run_limits(BODY)).await;
    // A back-off would be 0, 50, 100 ms and so on: over twenty seconds.
    let runs = (0..13).map(|owner| workers.run(alone(owner, if owner < 12 { "exit-now" } else { "hello" })));
    let start = Instant::now();
    for (owner, ran) in join_all(runs).await.iter().enumerate() {
        assert_eq!(kind(ran), (owner < 12).then_some(FailureKind::WorkerKilled), "{owner}: {ran:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    workers.stop().await;
}

#[tokio::test]
async fn one_that_speaks_when_nothing_was_asked_is_ended_and_blames_nobody() {
    let workers = hostile("speaks-unasked").await;
    let living = || children("speaks-unasked").into_iter().filter(|child| !child.1).map(|child| child.0);
    let mut before: Vec<Pid> = living().collect();
    for round in 0..3 {
        let ran = workers.run(job(1, FORWARD, "hello")).await;
        assert!(ran.outcome.is_ok(), "{round}: {ran:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after: Vec<Pid> = living().collect();
        assert!(before.iter().all(|pid| !after.contains(pid)), "{round}: {before:?}, {after:?}");
        before = after;
    }
    workers.stop().await;
}

#[tokio::test]
async fn the_one_alone_is_ended_when_it_was_idle_and_comes_when_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("parlor");
    std::fs::copy(env!("CARGO_BIN_EXE_parlor"), &program).unwrap();
    let name = program.to_str().unwrap().to_owned();
    let mut setup = Setup::of(program);
    setup.idle_limit = Duration::from_millis(400);
    let workers = Workers::start_as(setup, &options(500), options(500).run_limits(BODY)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let living = || children(&name).iter().filter(|(_, zombie)| !zombie).count();
    assert_eq!(living(), 2, "the shared one and that for trials");
    for _ in 0..2 {
        for _ in 0..3 {
            assert!(workers.run(alone(1, "hello")).await.outcome.is_ok());
            // Each run begins the time anew.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(living(), 3);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(living(), 2);
    }
    workers.stop().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the arbiter is to stand still")]
async fn when_the_server_and_its_worker_stood_still_the_run_goes_on() {
    // As when a machine is paused, or a terminal stops the server with its children.
    let workers = hostile_with("stands-still:/nowhere", &options(3000)).await;
    assert!(workers.run(alone(1, "hello")).await.outcome.is_ok());
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let pids = || children("stands-still").into_iter().filter(|child| !child.1).map(|child| child.0);
        pids().for_each(|pid| kill_process(pid, Signal::STOP).unwrap());
        std::thread::sleep(Duration::from_millis(3500));
        pids().for_each(|pid| kill_process(pid, Signal::CONT).unwrap());
    };
    let (ran, ()) = tokio::join!(workers.run(alone(1, "work")), stop);
    assert!(ran.outcome.is_ok(), "{ran:?}");
    // It is excused once, not for ever.
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::thread::sleep(Duration::from_millis(3500));
    };
    let start = Instant::now();
    let (ran, ()) = tokio::join!(workers.run(alone(1, "hang-now")), stop);
    assert_eq!(kind(&ran), Some(FailureKind::WorkerKilled));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    workers.stop().await;
}
