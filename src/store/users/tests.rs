//! Users in the tables: names, pages, changes.

use super::*;
use crate::store::account_events::Change as Event;
use crate::store::testing::{at, store, user};
use crate::store::user_changes::Change;

async fn names(store: &Store, prefix: &str, after: Option<&str>, limit: u32) -> (Vec<String>, Option<String>) {
    let page = store.list_users(UserQuery { prefix, after, with_disabled: false, limit }).await.unwrap();
    (page.items.into_iter().map(|user| user.username).collect(), page.next)
}

#[tokio::test]
async fn a_name_is_given_once_whatever_its_case() {
    let (_home, store) = store().await;
    let ada = user(&store, "Ada", Role::Admin).await;
    let again = NewUser { username: "aDA", username_key: "ada", password_hash: "x", role: Role::User, now: at(1) };
    assert_eq!(store.create_user(again).await.unwrap(), None);
    assert_eq!(store.user_by_key("ada").await.unwrap().as_ref(), Some(&ada));
    assert_eq!(store.user(ada.id).await.unwrap().as_ref(), Some(&ada));
    assert_eq!(store.credentials("ada").await.unwrap().unwrap().password_hash, "hash of Ada");
    assert_eq!(store.user(UserId(99)).await.unwrap(), None);
    assert!(store.credentials("bob").await.unwrap().is_none());
    assert_eq!((ada.role, ada.disabled, ada.created_at), (Role::Admin, false, at(0)));
}

#[tokio::test]
async fn who_is_missing_is_told_once_and_the_disabled_are_not() {
    let (_home, store) = store().await;
    let (ada, bob) = (user(&store, "ada", Role::User).await, user(&store, "bob", Role::User).await);
    store.set_disabled(bob.id, true, at(1)).await.unwrap();
    let asked = [UserId(77), bob.id, UserId(55), ada.id, UserId(77)];
    assert_eq!(store.missing_users(&asked).await.unwrap(), [UserId(55), UserId(77)]);
    assert_eq!(store.missing_users(&[]).await.unwrap(), []);
    let there: Vec<_> = store.users(&asked).await.unwrap().into_iter().map(|user| user.id).collect();
    assert_eq!(there, [ada.id, bob.id]);
    assert_eq!(store.users(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_search_goes_by_prefix_page_by_page() {
    let (_home, store) = store().await;
    for name in ["adam", "Ada", "bob", "adb", "adaé", "_x"] {
        user(&store, name, Role::User).await;
    }
    let (first, next) = names(&store, "ada", None, 2).await;
    assert_eq!((first, next.as_deref()), (vec!["Ada".to_owned(), "adam".to_owned()], Some("adam")));
    assert_eq!(names(&store, "ada", next.as_deref(), 2).await, (vec!["adaé".to_owned()], None));
    assert_eq!(names(&store, "", None, 6).await.0.len(), 6, "all of them fit");
    assert_eq!(names(&store, "", None, 6).await.1, None, "and so nothing is next");
    assert_eq!(names(&store, "%", None, 6).await.0, Vec::<String>::new());
    assert_eq!(names(&store, "b", Some("zzz"), 6).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn the_disabled_are_listed_for_those_who_ask() {
    let (_home, store) = store().await;
    let ada = user(&store, "ada", Role::User).await;
    store.set_disabled(ada.id, true, at(1)).await.unwrap();
    assert!(names(&store, "", None, 9).await.0.is_empty());
    let query = UserQuery { prefix: "", after: None, with_disabled: true, limit: 9 };
    assert_eq!(store.list_users(query).await.unwrap().items[0].id, ada.id);
}

#[tokio::test]
async fn somebody_can_always_administer() {
    let (_home, store) = store().await;
    let (ada, bob) = (user(&store, "ada", Role::Admin).await, user(&store, "bob", Role::User).await);
    assert_eq!(store.set_disabled(ada.id, true, at(1)).await.unwrap(), Change::LastAdmin);
    assert_eq!(store.set_role(ada.id, Role::User, at(1)).await.unwrap(), Change::LastAdmin);
    assert_eq!(store.last_account_event_id().await.unwrap(), 0, "what is refused is not told");

    assert_eq!(store.set_role(bob.id, Role::Admin, at(2)).await.unwrap(), Change::Done);
    assert_eq!(store.set_disabled(bob.id, true, at(2)).await.unwrap(), Change::Done);
    assert_eq!(store.set_role(ada.id, Role::User, at(3)).await.unwrap(), Change::LastAdmin, "a disabled one is none");
    assert_eq!(store.set_role(bob.id, Role::User, at(3)).await.unwrap(), Change::Done);
    assert_eq!(store.set_role(UserId(9), Role::User, at(3)).await.unwrap(), Change::NoSuchUser);
    assert_eq!(store.set_disabled(UserId(9), true, at(3)).await.unwrap(), Change::NoSuchUser);
}

#[tokio::test]
async fn a_change_is_told_and_what_was_so_already_is_not() {
    let (_home, store) = store().await;
    let bob = user(&store, "bob", Role::User).await;
    assert_eq!(store.set_role(bob.id, Role::User, at(1)).await.unwrap(), Change::Unchanged);
    assert_eq!(store.set_disabled(bob.id, false, at(1)).await.unwrap(), Change::Unchanged);
    store.set_role(bob.id, Role::Admin, at(1)).await.unwrap();
    user(&store, "ada", Role::Admin).await;
    store.set_disabled(bob.id, true, at(2)).await.unwrap();
    let events = store.account_events_after(0, 10).await.unwrap();
    let changes: Vec<_> = events.iter().map(|event| (event.user_id, event.change)).collect();
    assert_eq!(changes, [(bob.id, Event::Role), (bob.id, Event::Disabled)]);
    assert_eq!(store.account_events_after(events[0].id, 10).await.unwrap(), events[1..]);
    assert_eq!(store.account_events_after(0, 1).await.unwrap(), events[..1]);
    assert_eq!(store.last_account_event_id().await.unwrap(), events[1].id);
}

#[tokio::test]
async fn old_events_go_and_their_numbers_do_not_come_again() {
    let (_home, store) = store().await;
    let bob = user(&store, "bob", Role::User).await;
    for second in 0..3 {
        store.set_disabled(bob.id, second % 2 == 0, at(second)).await.unwrap();
    }
    let last = store.last_account_event_id().await.unwrap();
    assert_eq!(store.prune_account_events(at(0), 10).await.unwrap(), 0);
    assert_eq!(store.prune_account_events(at(9), 1).await.unwrap(), 1);
    assert_eq!(store.prune_account_events(at(9), 10).await.unwrap(), 1);
    assert_eq!(store.last_account_event_id().await.unwrap(), last);
    store.set_disabled(bob.id, false, at(4)).await.unwrap();
    store.set_disabled(bob.id, true, at(5)).await.unwrap();
    assert!(store.account_events_after(last, 10).await.unwrap()[0].id > last);
}
