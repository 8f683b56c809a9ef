//! Logins in the tables: rotation, reuse, ends.

use super::*;
use crate::store::account_events::Change;
use crate::store::testing::{at, store, user};
use crate::store::user_changes::Change as Done;

const DAY: i64 = 86_400;

fn token(n: u8) -> TokenHash {
    TokenHash([n; 32])
}

/// Begins a login of a day with token `n`.
async fn login(store: &Store, of: &User, n: u8) -> FamilyId {
    let id = FamilyId::fresh();
    let password_hash = &format!("hash of {}", of.username);
    let new = NewFamily { id, user: of.id, password_hash, token: token(n), now: at(0), expires_at: at(DAY) };
    assert!(store.create_family(new).await.unwrap());
    id
}

async fn alive(store: &Store, of: &User, family: FamilyId, now: i64) -> bool {
    store.standing(of.id, family, at(now)).await.unwrap().unwrap().family_alive
}

async fn logouts(store: &Store) -> Vec<Change> {
    store.account_events_after(0, 100).await.unwrap().into_iter().map(|event| event.change).collect()
}

#[tokio::test]
async fn a_token_is_exchanged_once_and_the_child_goes_on() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    let family = login(&store, &ada, 1).await;
    let rotated = Rotation::Rotated { user: ada.clone(), family, expires_at: at(DAY) };
    assert_eq!(store.rotate_token(token(1), token(2), at(1)).await.unwrap(), rotated);
    assert_eq!(store.rotate_token(token(2), token(3), at(2)).await.unwrap(), rotated);
    assert!(alive(&store, &ada, family, 2).await);
    assert_eq!(logouts(&store).await, []);
}

#[tokio::test]
async fn a_used_token_ends_the_whole_family_and_no_other() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    let (family, other) = (login(&store, &ada, 1).await, login(&store, &ada, 11).await);
    store.rotate_token(token(1), token(2), at(1)).await.unwrap();
    let reused = store.rotate_token(token(1), token(3), at(2)).await.unwrap();
    assert_eq!(reused, Rotation::Reused { user: ada.id, family });
    assert_eq!(store.rotate_token(token(2), token(4), at(3)).await.unwrap(), Rotation::Ended);
    assert_eq!(store.rotate_token(token(1), token(4), at(3)).await.unwrap(), Rotation::Ended);
    assert_eq!(store.rotate_token(token(3), token(4), at(3)).await.unwrap(), Rotation::Unknown);
    assert!(!alive(&store, &ada, family, 2).await);
    assert!(alive(&store, &ada, other, 2).await);
    assert_eq!(logouts(&store).await, [Change::Logout(family)]);
}

#[tokio::test]
async fn two_exchanges_at_once_never_leave_two_live_children() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    for round in 0..20_u8 {
        let (parent, left, right) = (3 * round, 3 * round + 1, 3 * round + 2);
        let family = login(&store, &ada, parent).await;
        let (a, b) = tokio::join!(
            store.rotate_token(token(parent), token(left), at(1)),
            store.rotate_token(token(parent), token(right), at(1)),
        );
        let results = [a.unwrap(), b.unwrap()];
        let won = results.iter().filter(|result| matches!(result, Rotation::Rotated { .. })).count();
        let reused = results.iter().filter(|result| matches!(result, Rotation::Reused { .. })).count();
        assert_eq!((won, reused), (1, 1));
        assert!(!alive(&store, &ada, family, 1).await);
        for child in [left, right] {
            let next = store.rotate_token(token(child), token(200), at(2)).await.unwrap();
            assert!(matches!(next, Rotation::Ended | Rotation::Unknown), "{next:?}");
        }
    }
}

#[tokio::test]
async fn a_login_ends_at_its_time_to_the_millisecond() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    let family = login(&store, &ada, 1).await;
    let last = at(DAY) - chrono::TimeDelta::milliseconds(1);
    assert!(store.standing(ada.id, family, last).await.unwrap().unwrap().family_alive);
    assert!(!alive(&store, &ada, family, DAY).await);
    assert_eq!(store.rotate_token(token(1), token(2), at(DAY)).await.unwrap(), Rotation::Expired);
    assert!(matches!(store.rotate_token(token(1), token(2), last).await.unwrap(), Rotation::Rotated { .. }));
}

#[tokio::test]
async fn a_login_is_of_one_user_and_its_end_is_told_once() {
    let (_home, store) = store().await;
    let (ada, bob) = (user(&store, "ada", Role::User).await, user(&store, "bob", Role::User).await);
    let family = login(&store, &ada, 1).await;
    assert!(alive(&store, &ada, family, 1).await);
    assert!(!alive(&store, &bob, family, 1).await);
    assert_eq!(store.standing(UserId(9), family, at(1)).await.unwrap(), None);
    assert!(store.end_family_of(token(1), at(1)).await.unwrap());
    assert!(!store.end_family(family, at(2)).await.unwrap());
    assert!(!store.end_family_of(token(9), at(2)).await.unwrap());
    assert!(!alive(&store, &ada, family, 1).await);
    assert_eq!(logouts(&store).await, [Change::Logout(family)]);
}

#[tokio::test]
async fn a_new_password_ends_every_login_and_each_by_its_name() {
    let (_home, store) = store().await;
    let (ada, bob) = (user(&store, "ada", Role::User).await, user(&store, "bob", Role::User).await);
    let (one, two, bobs) = (login(&store, &ada, 1).await, login(&store, &ada, 2).await, login(&store, &bob, 3).await);
    assert!(store.set_password(ada.id, "new hash", at(1)).await.unwrap());
    assert!(!store.set_password(UserId(9), "new hash", at(1)).await.unwrap());
    assert!(!alive(&store, &ada, one, 1).await && !alive(&store, &ada, two, 1).await);
    assert!(alive(&store, &bob, bobs, 1).await);
    let told = logouts(&store).await;
    assert!(told.len() == 2 && told.contains(&Change::Logout(one)) && told.contains(&Change::Logout(two)), "{told:?}");
    assert_eq!(store.end_families_of_user(bob.id, at(2)).await.unwrap(), 1);
    assert_eq!(store.end_families_of_user(bob.id, at(2)).await.unwrap(), 0);
}

#[tokio::test]
async fn a_check_of_an_old_password_or_of_a_disabled_user_begins_no_login() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    let new = |password_hash| NewFamily {
        id: FamilyId::fresh(),
        user: ada.id,
        password_hash,
        token: token(1),
        now: at(0),
        expires_at: at(DAY),
    };
    store.set_password(ada.id, "new hash", at(1)).await.unwrap();
    assert!(!store.create_family(new("hash of ada")).await.unwrap());
    store.set_disabled(ada.id, true, at(2)).await.unwrap();
    assert!(!store.create_family(new("new hash")).await.unwrap());
    store.set_disabled(ada.id, false, at(3)).await.unwrap();
    assert!(store.create_family(new("new hash")).await.unwrap());
}

#[tokio::test]
async fn a_disabled_user_is_out_and_enabling_brings_no_login_back() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    let family = login(&store, &ada, 1).await;
    assert_eq!(store.set_disabled(ada.id, true, at(1)).await.unwrap(), Done::Done);
    let standing = store.standing(ada.id, family, at(1)).await.unwrap().unwrap();
    assert!(standing.disabled && !standing.family_alive);
    assert_eq!(store.rotate_token(token(1), token(2), at(1)).await.unwrap(), Rotation::Ended);
    store.set_disabled(ada.id, false, at(2)).await.unwrap();
    assert!(!alive(&store, &ada, family, 2).await);
    assert_eq!(logouts(&store).await, [Change::Disabled]);
}

#[tokio::test]
async fn what_is_over_is_pruned_with_its_tokens_and_what_lives_is_not() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    for n in [1, 2, 3] {
        login(&store, &ada, n).await;
    }
    assert_eq!(store.prune_families(at(DAY - 1), 10).await.unwrap(), 0);
    assert_eq!(store.prune_families(at(DAY), 2).await.unwrap(), 2);
    assert_eq!(store.prune_families(at(DAY), 2).await.unwrap(), 1);
    let tokens = query("SELECT 1 FROM refresh_tokens LIMIT 1").first(store.reader()).await.unwrap();
    assert!(tokens.is_none());
}

#[tokio::test]
async fn what_another_process_does_holds_at_once_and_is_told() {
    let (home, server) = store().await;
    let ada = user(&server, "ada", Role::User).await;
    let family = login(&server, &ada, 1).await;
    let seen = server.last_account_event_id().await.unwrap();
    let command = home.open().await;
    command.set_disabled(ada.id, true, at(1)).await.unwrap();
    command.close().await;
    assert!(server.standing(ada.id, family, at(1)).await.unwrap().unwrap().disabled);
    let told = server.account_events_after(seen, 10).await.unwrap();
    assert_eq!(
        told.iter().map(|event| (event.user_id, event.change)).collect::<Vec<_>>(),
        [(ada.id, Change::Disabled)]
    );
}
