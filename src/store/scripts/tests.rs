//! Versions and what becomes of them.

use super::*;
use crate::store::testing::{at, store, user};
use crate::store::users::Role;

const ADA: UserId = UserId(1);
const IN: Direction = Direction::Incoming;

fn source(text: &str) -> NewVersion {
    let bytes = u32::try_from(text.len()).unwrap();
    NewVersion { language: Language::Luau, hash: SourceHash::of(text), bytes, uploaded_by: ADA, now: at(0) }
}

async fn numbers(store: &Store, direction: Direction) -> Vec<u32> {
    store.script_versions(ADA, direction, None, 100).await.unwrap().iter().map(|found| found.version).collect()
}

#[tokio::test]
async fn a_number_is_never_given_twice_and_the_chosen_version_never_goes() {
    let (_home, store) = store().await;
    let add = async |text: &str| store.add_script_version(ADA, IN, source(text), 3).await.unwrap();
    assert_eq!(add("a").await, Uploaded::New(1));
    assert!(matches!(store.activate_script(ADA, IN, 1, false, at(1)).await.unwrap(), Activated::Done(_)));
    for (text, version) in [("b", 2), ("c", 3)] {
        assert_eq!(add(text).await, Uploaded::New(version));
    }
    assert_eq!(numbers(&store, IN).await, [3, 2, 1]);
    assert_eq!(add("d").await, Uploaded::New(4));
    assert_eq!(numbers(&store, IN).await, [4, 3, 1], "the oldest that was not chosen");
    store.disable_script(ADA, IN, at(2)).await.unwrap();
    assert_eq!(add("e").await, Uploaded::New(5));
    assert_eq!(numbers(&store, IN).await, [5, 4, 1], "chosen, though not active: there is a way back to it");
    store.activate_script(ADA, IN, 5, false, at(3)).await.unwrap();
    assert_eq!(add("f").await, Uploaded::New(6));
    assert_eq!(numbers(&store, IN).await, [6, 5, 4]);
    // A lower setting holds from the next upload on.
    store.add_script_version(ADA, IN, source("g"), 2).await.unwrap();
    assert_eq!(numbers(&store, IN).await, [7, 5]);
    assert_eq!(store.script_versions(ADA, IN, Some(7), 1).await.unwrap()[0].version, 5);
    assert_eq!(numbers(&store, Direction::Outgoing).await, [0; 0], "each direction has its own");
}

#[tokio::test]
async fn the_newest_source_again_is_the_same_version_and_an_older_one_again_is_new() {
    let (_home, store) = store().await;
    let add = async |text: &str| store.add_script_version(ADA, IN, source(text), 9).await.unwrap();
    assert_eq!((add("a").await, add("a").await), (Uploaded::New(1), Uploaded::Same(1)));
    assert_eq!((add("b").await, add("a").await), (Uploaded::New(2), Uploaded::New(3)));
    assert_eq!(store.script_version(ADA, IN, 3).await.unwrap().unwrap().hash, SourceHash::of("a"));
    assert_eq!(store.script_version(ADA, IN, 4).await.unwrap(), None);
    assert_eq!(store.script_version(UserId(2), IN, 3).await.unwrap(), None, "somebody else's");
}

#[tokio::test]
async fn a_version_runs_from_its_activation_until_it_is_disabled() {
    let (_home, store) = store().await;
    assert_eq!(store.script(ADA, IN).await.unwrap(), None);
    assert_eq!(store.disable_script(ADA, IN, at(0)).await.unwrap(), None);
    assert_eq!(store.activate_script(ADA, IN, 1, true, at(0)).await.unwrap(), Activated::NoSuchVersion);
    for text in ["a", "b"] {
        store.add_script_version(ADA, IN, source(text), 9).await.unwrap();
    }
    assert_eq!(store.script(ADA, IN).await.unwrap().unwrap().active_version(), None, "an upload activates nothing");
    let active = |switched_on: &std::collections::HashMap<UserId, std::sync::Arc<crate::automation::SwitchedOn>>| {
        switched_on.get(&ADA).and_then(|on| on.incoming).map(|script| script.version)
    };
    for version in [2, 1] {
        let Activated::Done(state) = store.activate_script(ADA, IN, version, false, at(1)).await.unwrap() else {
            panic!()
        };
        assert_eq!(store.script(ADA, IN).await.unwrap(), Some(state));
        assert_eq!(active(&store.switched_on(&[ADA]).await.unwrap()), Some(version));
    }
    assert_eq!(store.activate_script(ADA, IN, 3, false, at(1)).await.unwrap(), Activated::NoSuchVersion);
    let off = store.disable_script(ADA, IN, at(5)).await.unwrap().unwrap();
    assert_eq!((off.active_version(), off.chosen_version, off.changed_at), (None, Some(1), at(5)));
    assert_eq!(active(&store.switched_on(&[ADA]).await.unwrap()), None);
    assert_eq!(store.disable_script(ADA, IN, at(6)).await.unwrap().unwrap().changed_at, at(5), "it was so already");
}

#[tokio::test]
async fn what_the_server_switched_off_its_owner_cannot_simply_switch_on_again() {
    let (_home, store) = store().await;
    for text in ["a", "b"] {
        store.add_script_version(ADA, IN, source(text), 9).await.unwrap();
    }
    let activate = async |version, pardon| store.activate_script(ADA, IN, version, pardon, at(9)).await.unwrap();
    activate(2, false).await;
    assert!(!store.switch_script_off(ADA, IN, 1, "failing: x", at(1)).await.unwrap(), "it is not the active one");
    assert!(store.switch_script_off(ADA, IN, 2, "failing: x", at(1)).await.unwrap());
    let state = store.script(ADA, IN).await.unwrap().unwrap();
    assert_eq!((state.active_version(), state.switched_off.as_deref()), (None, Some("failing: x")));
    assert_eq!(activate(2, false).await, Activated::SwitchedOff("failing: x".into()));
    store.disable_script(ADA, IN, at(2)).await.unwrap();
    assert_eq!(activate(2, false).await, Activated::SwitchedOff("failing: x".into()), "disabling washes nothing off");
    assert!(matches!(activate(2, true).await, Activated::Done(state) if state.switched_off.is_none()));
    store.switch_script_off(ADA, IN, 2, "failing: x", at(1)).await.unwrap();
    assert!(matches!(activate(1, false).await, Activated::Done(_)), "another version may run");
}

#[tokio::test]
async fn the_switched_off_are_listed_newest_first_page_by_page() {
    let (_home, store) = store().await;
    let mut all = Vec::new();
    for n in 0..5_i64 {
        let owner = user(&store, &format!("user{n}"), Role::User).await.id;
        for direction in [IN, Direction::Outgoing] {
            store.add_script_version(owner, direction, source("a"), 9).await.unwrap();
            store.activate_script(owner, direction, 1, false, at(0)).await.unwrap();
            // Two users at the same moment: the key must tell them apart.
            store.switch_script_off(owner, direction, 1, "failing: x", at(n / 2)).await.unwrap();
            all.push((std::cmp::Reverse(n / 2), owner, direction));
        }
    }
    all.sort_unstable();
    let (mut got, mut after) = (Vec::new(), None);
    loop {
        let page = store.switched_off_scripts(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.at, last.user_id, last.direction));
        got.extend(page.iter().map(|found| (found.user_id, found.direction)));
    }
    assert_eq!(got, all.iter().map(|(_, owner, direction)| (*owner, *direction)).collect::<Vec<_>>());
}
