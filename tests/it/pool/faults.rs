//! Workers that misbehave: each is ended, its callers get what is theirs, and nothing is left of it.

use super::*;

#[tokio::test]
async fn what_breaks_the_protocol_is_killed_and_said() {
    let cases = [
        ("garbage", "a frame of"),
        ("unreadable", "cannot be read"),
        ("trailing", "too many"),
        ("too-long", "a frame of 40000000 bytes"),
        ("endless", ""),
        ("never-asked", "was next"),
        ("checked-a-run", "not asked"),
        ("outgoing-for-incoming", "cannot want"),
        ("hello-again", "hello twice"),
        ("missing", "asked again for the source"),
        ("killed-itself", "worker_killed"),
        ("not-its-failure", "unavailable"),
        ("long-failure", "16385 bytes of a failure"),
        ("replies-over", "9 replies, at most 8"),
        ("body-over", "1001 bytes of a body, at most 1000"),
        ("prints-over", "51 printed lines, at most 50"),
        ("print-bytes-over", "8193 printed bytes, at most 8192"),
        ("absurd-cpu", "processor time"),
        ("absurd-heap", "bytes of heap"),
    ];
    for (mode, words) in cases {
        let workers = hostile(mode).await;
        let mut asked = job(1, FORWARD, "hello");
        asked.lane = Lane::Alone;
        let ran = workers.run(asked).await;
        if mode != "endless" {
            assert_eq!(kind(&ran), Some(FailureKind::WorkerKilled), "{mode}: {ran:?}");
            assert!(detail(&ran).contains("broke the protocol") && detail(&ran).contains(words), "{mode}: {ran:?}");
        }
        workers.stop().await;
    }
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_taken() {
    for mode in ["fine", "replies-at-limit", "body-at-limit", "prints-at-limit", "print-bytes-at-limit", "talks"] {
        let workers = hostile(mode).await;
        let ran = workers.run(job(1, FORWARD, "hello")).await;
        assert!(matches!(ran.outcome, Ok(Wanted::Incoming { .. })), "{mode}: {ran:?}");
        assert!(ran.wall_micros > 0);
        workers.stop().await;
    }
    let workers = hostile("failure-at-limit").await;
    assert_eq!(kind(&workers.run(job(1, FORWARD, "hello")).await), Some(FailureKind::Error));
    workers.stop().await;
}

#[tokio::test]
async fn who_answers_twice_or_unasked_harms_nobody_who_was_answered() {
    for mode in ["twice", "endless"] {
        let workers = hostile(mode).await;
        assert!(workers.run(job(1, FORWARD, "hello")).await.outcome.is_ok(), "{mode}");
        workers.stop().await;
    }
}

#[tokio::test]
async fn one_that_does_not_answer_is_killed_at_the_wall_limit() {
    for mode in ["reads-nothing", "reads-slowly", "half"] {
        let workers = hostile(mode).await;
        let mut asked = job(1, &FORWARD.repeat(1000), &"x".repeat(BODY));
        asked.lane = Lane::Alone;
        asked.input.recipient_ids = (0..100_000).map(UserId).collect();
        let start = Instant::now();
        let ran = workers.run(asked).await;
        assert_eq!(kind(&ran), Some(FailureKind::WorkerKilled), "{mode}: {ran:?}");
        assert!(detail(&ran).contains("no answer for 500 ms"), "{mode}: {ran:?}");
        let took = start.elapsed();
        assert!((500..3000).contains(&took.as_millis()), "{mode}: {took:?}");
        workers.stop().await;
    }
}

#[tokio::test]
async fn many_slow_runs_are_progress_and_one_hung_one_is_not() {
    // Twenty of 50 ms are a second, twice the limit; each is within it.
    let workers = hostile("fine").await;
    let runs = (0..20).map(|owner| workers.run(job(owner, FORWARD, "pause")));
    assert!(futures_util::future::join_all(runs).await.iter().all(|ran| ran.outcome.is_ok()));
    workers.stop().await;
}

#[tokio::test]
async fn one_guilty_among_64_is_found_and_the_others_get_their_results() {
    for (what, words) in [("exit-now", "code 7"), ("segv-now", "signal 11"), ("hang-now", "no answer")] {
        let workers = hostile("fine").await;
        let runs = (0..64).map(|owner| {
            let body = match owner {
                // Holds the others up until all are there.
                0 => "pause",
                40 => what,
                _ => "hello",
            };
            workers.run(job(owner, FORWARD, body))
        });
        let results = futures_util::future::join_all(runs).await;
        for (owner, ran) in results.iter().enumerate() {
            if owner == 40 {
                assert_eq!(kind(ran), Some(FailureKind::WorkerKilled), "{what}: {ran:?}");
                assert!(detail(ran).contains(words), "{what}: {ran:?}");
            } else {
                assert!(ran.outcome.is_ok(), "{what}, {owner}: {ran:?}");
            }
        }
        workers.stop().await;
    }
}

#[tokio::test]
async fn without_a_worker_every_run_says_so_at_once() {
    for (mode, words) in [("exit-at-once", "it ended"), ("garbage-hello", "a frame of"), ("no-hello", "say hello")] {
        let workers = hostile(mode).await;
        assert!(!workers.confinement().is_enough(), "{mode}");
        let ran = workers.run(job(1, FORWARD, "hello")).await;
        assert_eq!(kind(&ran), Some(FailureKind::Unavailable), "{mode}");
        assert!(detail(&ran).contains(words), "{mode}: {ran:?}");
        workers.stop().await;
    }
    let options = options(500);
    let workers = Workers::start_as(Setup::of("/nowhere/at/all".into()), &options, options.run_limits(BODY)).await;
    let failure = workers.check(UserId(1), Language::Luau, Direction::Incoming, FORWARD).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    workers.stop().await;
}

#[tokio::test]
async fn unconfined_scripts_run_only_when_told_so_by_name() {
    let workers = hostile("unconfined").await;
    let ran = workers.run(job(1, FORWARD, "hello")).await;
    assert_eq!(kind(&ran), Some(FailureKind::Unavailable));
    assert!(detail(&ran).contains("scripts.run_unconfined"), "{ran:?}");
    workers.stop().await;
    let told = ScriptsOptions { run_unconfined: true, ..options(500) };
    let workers = hostile_with("unconfined", &told).await;
    assert!(workers.run(job(1, FORWARD, "hello")).await.outcome.is_ok());
    workers.stop().await;
}

#[tokio::test]
async fn answers_out_of_order_end_the_worker() {
    let workers = hostile("out-of-order").await;
    let (one, two) = tokio::join!(workers.run(job(1, FORWARD, "a")), workers.run(job(2, FORWARD, "b")));
    // Alone each waits for a second question that never comes.
    assert_eq!([kind(&one), kind(&two)], [Some(FailureKind::WorkerKilled); 2]);
    workers.stop().await;
}

#[tokio::test]
async fn one_that_dribbles_without_end_is_killed_at_the_wall_limit_too() {
    let options = ScriptsOptions { max_replies: 1000, ..options(500) };
    // So long may an answer be that it takes many seconds, byte by byte, and there is always one more to be read.
    let workers = Workers::start_as(setup("fine"), &options, options.run_limits(32 * 1024)).await;
    let mut asked = job(1, FORWARD, "dribble-now");
    asked.lane = Lane::Alone;
    let start = Instant::now();
    let ran = workers.run(asked).await;
    assert_eq!(kind(&ran), Some(FailureKind::WorkerKilled), "{ran:?}");
    assert!(detail(&ran).contains("no answer for 500 ms"), "{ran:?}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    workers.stop().await;
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    // More than the queue and the worker hold; a pause in front, so that all are there before the first is done.
    let workers = hostile("fine").await;
    for lane in [Lane::Shared, Lane::Trial, Lane::Alone] {
        let runs = (0..3000).map(|owner| {
            let body = if owner == 0 { "pause" } else { "hello" };
            workers.run(Job { lane, ..job(owner, FORWARD, body) })
        });
        let results = futures_util::future::join_all(runs).await;
        let failed: Vec<_> = results.iter().filter(|ran| ran.outcome.is_err()).collect();
        assert!(failed.is_empty(), "{lane:?}: {} failed: {:?}", failed.len(), failed[0]);
    }
    // All of them suspects: what goes on alone is more than fits there, and comes to its end all the same.
    let runs = (0..3000).map(|owner| {
        let body = if owner % 500 == 70 { "exit-now" } else { "hello" };
        let lane = if owner % 2 == 0 { Lane::Shared } else { Lane::Alone };
        workers.run(Job { lane, ..job(owner, FORWARD, body) })
    });
    for (owner, ran) in futures_util::future::join_all(runs).await.iter().enumerate() {
        assert_eq!(kind(ran), (owner % 500 == 70).then_some(FailureKind::WorkerKilled), "{owner}: {ran:?}");
    }
    // Those that wait when all ends are told so.
    let runs = (0..3000).map(|owner| workers.run(job(owner, FORWARD, if owner == 5 { "hang-now" } else { "hello" })));
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        workers.stop().await;
    };
    let all = async { tokio::join!(futures_util::future::join_all(runs), stop).0 };
    let results = tokio::time::timeout(Duration::from_secs(5), all).await.expect("somebody waits for ever");
    assert!(results.iter().all(|ran| ran.outcome.is_ok() || kind(ran) == Some(FailureKind::Unavailable)));
    assert_eq!(kind(&results[5]), Some(FailureKind::Unavailable));
}

#[tokio::test]
async fn a_source_that_ends_the_compiler_is_told_to_whoever_sent_it_and_to_nobody_else() {
    for (what, words) in [("exit-now", "code 7"), ("segv-now", "signal 11"), ("hang-now", "no answer")] {
        let workers = hostile("fine").await;
        let checks = (0..64).map(|n| {
            let source = match n {
                0 => "pause",
                40 => what,
                _ => FORWARD,
            };
            workers.check(UserId(1), Language::Luau, Direction::Incoming, source)
        });
        // A run of the same lane is there too.
        let run = workers.run(Job { lane: Lane::Trial, ..job(1, FORWARD, "hello") });
        let (found, ran) = tokio::join!(futures_util::future::join_all(checks), run);
        assert!(ran.outcome.is_ok(), "{what}: {ran:?}");
        for (n, found) in found.into_iter().enumerate() {
            if n == 40 {
                let failure = found.unwrap_err();
                assert_eq!(failure.kind, FailureKind::WorkerKilled, "{what}: {failure:?}");
                assert!(failure.detail.contains(words), "{what}: {failure:?}");
            } else {
                assert_eq!(found, Ok(vec![]), "{what}, {n}");
            }
        }
        workers.stop().await;
    }
}
