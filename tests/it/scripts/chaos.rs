//! Workers that are killed and stopped again and again while messages pass: nothing is lost, doubled or out of order.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::kills::children_of;
use super::{activate, answering, bodies};
use crate::app::{PATIENCE, TestApp, send_frame};

const SENDERS: usize = 4;
const EACH: usize = 60;

#[tokio::test]
async fn workers_that_are_killed_and_stopped_under_way_cost_no_message_its_place_and_double_no_answer() {
    // What the test does to workers is not held against scripts.
    let settings = [("scripts.wall_ms", "300"), ("scripts.wait_ms", "1000"), ("scripts.budget_cpu_ms", "3600000")];
    let app = TestApp::with(&settings).await;
    let bob = app.register("bob").await;
    activate(&app, &bob, "incoming", &answering("yes")).await;
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        let account = app.register(&format!("sender{n}")).await;
        let same = "function outgoing(m) return { messageBody = m.messageBody } end";
        activate(&app, &account, "outgoing", same).await;
        senders.push((app.socket(&account).await, account));
    }
    for n in 0..EACH {
        for (socket, account) in &mut senders {
            let name = format!("{} {n}", account.id);
            socket.accepted(send_frame(&[&bob], &name, &name)).await;
        }
        if n % 10 == 5 {
            let signal = if n % 20 == 5 { Signal::KILL } else { Signal::STOP };
            for worker in children_of(app.process().pid()) {
                // It may have ended meanwhile.
                let _ = kill_process(Pid::from_raw(worker.try_into().unwrap()).unwrap(), signal);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let of_bob = app.inbox(&bob, SENDERS * EACH).await;
    let mut next: HashMap<i64, usize> = HashMap::new();
    for message in of_bob.iter().filter(|message| message["senderId"] != bob.id) {
        let sender = message["senderId"].as_i64().unwrap();
        let expected = next.entry(sender).or_default();
        assert_eq!(message["messageBody"], format!("{sender} {expected}"));
        *expected += 1;
    }
    for (_, account) in &senders {
        let seen = app.inbox(account, EACH).await;
        let answers = bodies(&seen).iter().filter(|body| **body == "yes").count();
        assert!(answers <= EACH, "{answers} answers to {EACH} messages");
    }
    // And all is well again when it is over: at most one wait, then answers.
    let (mut socket, account) = senders.pop().unwrap();
    let scripts = app.get("users/me/scripts", &bob).await.assert(200);
    if scripts.json["incoming"]["switchedOff"].is_null() {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let before = bodies(&app.inbox(&account, 1).await).iter().filter(|body| **body == "yes").count();
        let mut n = 0;
        while bodies(&app.inbox(&account, 1).await).iter().filter(|body| **body == "yes").count() <= before {
            socket.accepted(send_frame(&[&bob], "after", &format!("after {n}"))).await;
            n += 1;
            assert!(tokio::time::Instant::now() < deadline, "no script runs any more");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
