//! Whole scenarios against the mock server: a good one passes, each fault is found and called by its name.

use std::time::Duration;

use crate::{
    check::Tally,
    cli,
    mock::{Fault, Mock},
    report::Report,
    scenario::{Stage, chat::Plan, idle, storm},
    server::Server,
};

/// Runs `scenario` against a mock server with `fault`.
async fn play(fault: Fault, scenario: impl AsyncFnOnce(&Stage<'_>) -> anyhow::Result<Report>) -> Report {
    let all = tokio::task::LocalSet::new();
    all.run_until(async {
        let (mock, url) = Mock::start(fault).await;
        mock.busy.set(2);
        let server = Server::at(vec![url]);
        scenario(&Stage { server: &server, drain: Duration::from_secs(1) }).await.unwrap()
    })
    .await
}

/// Two users with one message each under way: whatever is late can only be the server's doing.
fn pairs(in_flight: u32, rate: Option<u64>) -> Plan {
    Plan::pairs(cli::Pairs {
        users: 2,
        scripts: cli::Scripts::default(),
        load: cli::Load { bytes: 50, in_flight, rate, seconds: 1, warm_up: 0 },
    })
}

#[tokio::test]
async fn a_good_server_passes_in_a_closed_loop() {
    let report = play(Fault::None, async |stage| pairs(4, None).run(stage).await).await;
    assert!(report.check.passed, "{report}");
    let counts = report.check.counts;
    assert!(counts.sent > 100 && counts.sent == counts.delivered && counts.sent == counts.accepted, "{report}");
    assert!(report.traffic.unwrap().delivery.count > 100);
}

#[tokio::test]
async fn an_open_loop_sends_at_its_rate() {
    let report = play(Fault::None, async |stage| pairs(1, Some(500)).run(stage).await).await;
    assert!(report.check.passed, "{report}");
    assert!((490..=520).contains(&report.check.counts.sent), "{report}");
}

#[tokio::test]
async fn each_fault_is_called_by_its_name() {
    let none = Tally::default();
    let faults = [
        (Fault::Lose, Tally { lost: 2, ..none }), // By the recipient and by the sender's own connection.
        (Fault::Repeat, Tally { repeats: 2, ..none }),
        (Fault::Reorder, Tally { out_of_order: 2, ..none }),
        (Fault::Gap, Tally { gaps: 1, ..none }),
    ];
    for (fault, expected) in faults {
        let report = play(fault, async |stage| pairs(4, None).run(stage).await).await;
        assert_eq!(report.check.tally, expected, "{fault:?}");
        assert!(!report.check.passed);
    }
}

#[tokio::test]
async fn a_rejected_message_is_counted_and_not_missed() {
    let report = play(Fault::Reject, async |stage| pairs(1, None).run(stage).await).await;
    assert!(report.check.passed && report.check.counts.rejected == 1, "{report}");
}

#[tokio::test]
async fn a_connection_that_breaks_comes_back_and_sends_again_what_was_not_answered() {
    let report = play(Fault::HangUp, async |stage| pairs(4, None).run(stage).await).await;
    assert!(report.check.passed && report.check.counts.disconnects == 1, "{report}");
}

#[tokio::test]
async fn a_group_gets_every_message() {
    let load = cli::Load { bytes: 50, in_flight: 2, rate: None, seconds: 1, warm_up: 0 };
    let plan = Plan::groups(cli::Groups { recipients: 3, senders: 2, load });
    let report = play(Fault::None, async |stage| plan.run(stage).await).await;
    assert!(report.check.passed && report.check.counts.delivered == 3 * report.check.counts.sent, "{report}");
}

#[tokio::test]
async fn a_storm_misses_nothing() {
    let storm = cli::Storm { connections: 12, accounts: 4, rounds: 2, rate: 400, senders: 2, bytes: 50, pause: 0 };
    let report = play(Fault::None, async |stage| storm::run(storm, stage).await).await;
    assert!(report.check.passed, "{report}");
    let figures = report.storm.unwrap();
    assert_eq!((figures.to_welcome.count, figures.to_caught_up.count), (24, 24));
}

#[tokio::test]
async fn idle_holds_its_connections() {
    let idle = cli::Idle { connections: 20, accounts: 3, connect_rate: 1000, hold: 0 };
    let report = play(Fault::None, async |stage| idle::run(idle, stage).await).await;
    assert!(report.check.passed && report.traffic.is_none(), "{report}");
    assert!(report.idle.unwrap().kib_per_connection.is_none(), "the mock has no process of its own");
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end_and_the_live_connections_told() {
    let all = tokio::task::LocalSet::new();
    all.run_until(async {
        let (mock, url) = Mock::start(Fault::None).await;
        mock.expires_in.set(1);
        let server = Server::at(vec![url]);
        let stage = Stage { server: &server, drain: Duration::from_secs(1) };
        let report = pairs(1, Some(50)).run(&stage).await.unwrap();
        assert!(report.check.passed && mock.refreshed.get() >= 2, "{report}");
    })
    .await;
}
