//! `kill -9` in the middle of script runs: no reply is lost, none is sent twice.

use std::collections::HashMap;
use std::time::Duration;

use super::{activate, answering};
use crate::app::{PATIENCE, TestApp, send_frame};

/// Messages between two kills.
const ROUND: usize = 40;
const ROUNDS: usize = 6;

#[tokio::test]
async fn a_kill_in_the_middle_of_script_runs_loses_no_reply_and_doubles_none() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    // Long enough a run that a kill comes into the middle of one.
    let slow = "function incoming(m)\n  for i = 1, 100000 do local _ = i % 7 end\n  return { action = 'FORWARD', reply = \
                { { to = m.senderId, message = 'a ' .. m.messageBody }, { to = m.senderId, message = 'b ' .. \
                m.messageBody } } }\nend";
    activate(&app, &bob, "incoming", slow).await;
    activate(&app, &ada, "incoming", &answering("never sent")).await;
    for round in 0..ROUNDS {
        let mut socket = app.socket(&ada).await;
        for n in 0..ROUND {
            let name = format!("{round}.{n}");
            socket.accepted(send_frame(&[&bob], &name, &name)).await;
        }
        tokio::time::sleep(Duration::from_millis(7 * round as u64)).await;
        app.kill9().await;
    }
    let count = ROUND * ROUNDS;
    let deadline = tokio::time::Instant::now() + PATIENCE * 2;
    let of_ada = loop {
        let mut all = Vec::new();
        loop {
            let page = app.get(&format!("inbox?limit=100&after={}", all.len()), &ada).await.assert(200).items();
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        if all.len() >= 3 * count || tokio::time::Instant::now() > deadline {
            break all;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // Whatever else might still come.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for message in &of_ada {
        *seen.entry(message["messageBody"].as_str().unwrap()).or_default() += 1;
    }
    for round in 0..ROUNDS {
        for n in 0..ROUND {
            for body in [format!("{round}.{n}"), format!("a {round}.{n}"), format!("b {round}.{n}")] {
                assert_eq!(seen.get(body.as_str()), Some(&1), "{body}");
            }
        }
    }
    assert_eq!(of_ada.len(), 3 * count, "nothing else came");
}

/// The children of a process, of whichever thread.
pub(super) fn children_of(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")));
    lists
        .flatten()
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test]
async fn workers_end_with_a_server_that_is_killed() {
    let mut app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    activate(&app, &bob, "incoming", &answering("yes")).await;
    // One in the middle of a run ends as those do that have nothing to do.
    activate(&app, &ada, "outgoing", "function outgoing(m) while true do end end").await;
    app.send(&ada, &[&bob], "hello").await;
    app.inbox(&ada, 1).await;
    let workers = children_of(app.process().pid());
    assert!(workers.len() >= 2, "{workers:?}");
    // What stands there of one that has ended is nothing, or another process; of one that was not reaped yet, no words.
    let is_worker = |pid: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with("\0worker\0")
    };
    assert!(workers.iter().all(is_worker));
    app.send(&ada, &[&bob], "again").await;
    let since = std::time::Instant::now();
    app.kill9().await;
    while workers.iter().any(is_worker) {
        assert!(since.elapsed() < PATIENCE, "still there: {workers:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
