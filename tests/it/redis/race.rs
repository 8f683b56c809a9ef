//! Between a session that opens and a message that is written there is no gap: it is read, or it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};

use super::{Member, Redis, Shared, UserId};

/// One inbox as the store has it: only its end matters.
type Head = Shared<u64>;

/// What the router does: commits, then asks whom to tell. Says which place it gave, and whether the node was told.
async fn write(router: &Member, head: &Head, user: i64, reader: &Member) -> (u64, bool) {
    let place = {
        let mut head = head.lock().unwrap();
        *head += 1;
        *head
    };
    let route = router.whom(&[UserId(user)]).await;
    let told = reader.seat().is_some_and(|seat| route.concerns(seat.slot, UserId(user)));
    (place, told)
}

#[tokio::test]
async fn what_is_written_while_a_session_opens_is_read_or_told() {
    let redis = Redis::start().await;
    let (router, reader) = (Arc::new(Member::any(&redis, "a")), Arc::new(Member::any(&redis, "b")));
    router.seated().await;
    reader.seated().await;
    router.sees(2).await;
    let seed: u64 = rand::random();
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let (mut told, mut untold) = (0, 0);
    for user in 0..400 {
        let head: Head = Arc::new(Mutex::new(0));
        // A timer's steps are a millisecond; what is shorter is told in turns of the runtime.
        let (delay, turns, first) = (random.random_range(0..3), random.random_range(0..30), random.random_range(0..30));
        let writing = {
            let (router, reader, head) = (router.clone(), reader.clone(), head.clone());
            tokio::spawn(async move {
                if delay > 0 {
                    tokio::time::sleep(Duration::from_millis(delay - 1)).await;
                }
                wait_turns(turns).await;
                write(&router, &head, user, &reader).await
            })
        };
        // In one of three the user was here and has just gone: the entry is being taken out.
        if user % 3 == 0 {
            reader.comes(user).await;
            reader.here().went(UserId(user));
        }
        wait_turns(first).await;
        reader.comes(user).await;
        let seen = *head.lock().unwrap();
        let (place, was_told) = writing.await.unwrap();
        assert!(was_told || seen >= place, "user {user}, seed {seed}: {place} was neither read ({seen}) nor told");
        told += usize::from(was_told);
        untold += usize::from(!was_told);
    }
    assert!(told > 20 && untold > 20, "the race was not run: {told} told, {untold} not");
}

async fn wait_turns(turns: u32) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}
