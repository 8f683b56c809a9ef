//! Limits over all nodes.

use std::time::Duration;

use parlor::cluster::rates::Rate;

use super::{Member, Redis, UserId, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn what_a_user_sends_over_two_nodes_counts_together_on_both_sides_of_the_limit() {
    let redis = Redis::start().await;
    let nodes = [Member::any(&redis, "a"), Member::any(&redis, "b")];
    for node in &nodes {
        node.seated().await;
    }
    let rate = Rate { burst: 20, interval: DAY };
    let mut given = 0;
    for n in 0..40 {
        given += usize::from(nodes[n % 2].rates().message(UserId(1), rate).await.is_ok());
    }
    // What was taken ahead on a node and not used within half a second is lost: so much a slow machine may cost.
    assert!((18..=20).contains(&given), "{given}");
    for node in &nodes {
        let wait = node.rates().message(UserId(1), rate).await.unwrap_err();
        assert!(wait <= DAY && wait > DAY - Duration::from_secs(60), "{wait:?}");
        node.rates().message(UserId(2), rate).await.unwrap();
    }
}

#[tokio::test]
async fn many_at_once_share_round_trips_and_get_exactly_what_there_is() {
    let redis = Redis::start().await;
    let nodes = [Member::any(&redis, "a"), Member::any(&redis, "b")];
    for node in &nodes {
        node.seated().await;
    }
    let rate = Rate { burst: 200, interval: DAY };
    // Sends that were taken ahead by the other node are not given out for a moment: so a second round, later.
    let mut given = 0;
    for _ in 0..2 {
        let tries: Vec<_> = (0..300)
            .map(|n| {
                let rates = nodes[n % 2].rates().clone();
                tokio::spawn(async move { rates.message(UserId(1), rate).await.is_ok() })
            })
            .collect();
        for tried in tries {
            given += usize::from(tried.await.unwrap());
        }
    }
    assert!(given <= 200, "{given}");
    assert!(given >= 200 - 2 * 15, "what is taken ahead and not used is at most a purse a node: {given}");
    let calls: String = redis.ask(&["INFO", "commandstats"]);
    let evaluated = calls.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or(&calls);
    let number: usize = evaluated.split(['=', ',']).nth(1).unwrap().parse().unwrap();
    assert!(number < 300, "{number} calls for 600 questions");
}

#[tokio::test]
async fn attempts_come_back_one_in_each_interval() {
    let redis = Redis::start().await;
    let node = Member::any(&redis, "a");
    node.seated().await;
    let rate = Rate { burst: 2, interval: Duration::from_millis(1500) };
    let attempt = || node.rates().attempt("login-account", "ada", rate);
    assert!(attempt().await.is_ok() && attempt().await.is_ok());
    let wait = attempt().await.unwrap_err();
    assert!(wait <= rate.interval, "{wait:?}");
    tokio::time::sleep(wait + Duration::from_millis(20)).await;
    assert!(attempt().await.is_ok() && attempt().await.is_err(), "one, and no more");
    let left: i64 = redis.ask(&["PTTL", "parlor:rate:login-account:ada"]);
    assert!((1..=3000).contains(&left), "what is whole again is forgotten: {left}");
}

#[tokio::test]
async fn without_redis_the_nodes_own_count_decides_at_once() {
    let mut redis = Redis::start().await;
    let node = Member::any(&redis, "a");
    node.seated().await;
    redis.kill().await;
    until("a word", || (!node.redis_up()).then_some(())).await;
    let rate = Rate { burst: 1, interval: DAY };
    let all = async {
        for _ in 0..100 {
            node.rates().message(UserId(1), rate).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(2), all).await.expect("each waited");
}
