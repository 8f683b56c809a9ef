//! The control topics: another service switches auto-replies and scripts on and off.

use parlor::pipeline::bus::Topic;
use parlor::pipeline::stages::Catalogue;
use parlor::store::FILE_NAME;
use serde_json::{Value, json};

use crate::app::{Account, PATIENCE};
use crate::stages::{Inside, dead_letters};

const AUTO_REPLY: &str = "parlor.auto-reply.config";
const SCRIPTS: &str = "parlor.scripts.config";

async fn publish(inside: &Inside, topic: &str, record: &str) {
    let bus = inside.node.bus();
    let room = bus.room(record.len() + 1).await.unwrap();
    bus.publish(room, &Topic::from(topic), "1".into(), record.to_owned().into()).await.unwrap();
}

fn auto_reply(action: &str, user: &Value, body: Option<&str>) -> String {
    json!({"action": action, "args": {"userId": user, "messageBody": body}}).to_string()
}

/// Waits until the user's settings are these.
async fn until(inside: &Inside, of: &Account, enabled: bool, text: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let settings = inside.app.get("users/me/auto-reply", of).await.assert(200).json;
        if settings["enabled"] == enabled && settings["text"] == text {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{settings}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[actix::test]
async fn an_auto_reply_is_set_and_switched_and_what_cannot_be_is_put_aside_and_holds_nobody_up() {
    let inside = Inside::start(&["auto-reply", "router"], Catalogue::standard(), |config| {
        config.session.max_message_bytes = 100;
    })
    .await;
    let (ada, bob) = inside.pair().await;
    // Before any text there is nothing to answer.
    publish(&inside, AUTO_REPLY, &auto_reply("enable", &json!(bob.id), None)).await;
    until(&inside, &bob, true, "").await;
    inside.app.send(&ada, &[&bob], "1").await;
    let bad = [
        ("poison".to_owned(), "not a record"),
        (auto_reply("setBody", &json!(999), Some("away")), "no user 999"),
        (auto_reply("setBody", &json!(bob.id), None), "messageBody"),
        (auto_reply("setBody", &json!(bob.id), Some(&"x".repeat(101))), "101 bytes"),
    ];
    for (record, _) in &bad {
        publish(&inside, AUTO_REPLY, record).await;
    }
    publish(&inside, AUTO_REPLY, &auto_reply("setBody", &json!(bob.id.to_string()), Some("away"))).await;
    until(&inside, &bob, true, "away").await;
    inside.app.send(&ada, &[&bob], "2").await;
    let inbox = inside.app.inbox(&ada, 3).await;
    assert_eq!(inbox.iter().filter(|message| message["messageBody"] == "away").count(), 1);
    assert_eq!(inbox.len(), 3, "the first was answered by nothing");
    publish(&inside, AUTO_REPLY, &auto_reply("disable", &json!(bob.id), None)).await;
    until(&inside, &bob, false, "away").await;
    let folder = inside.stop().await;
    let dead = dead_letters(folder.path());
    assert_eq!(dead.len(), bad.len(), "{dead:?}");
    for ((reason, payload), (record, part)) in dead.iter().zip(&bad) {
        assert!(reason.contains(part) && payload == record, "{reason}: {payload}");
    }
}

#[actix::test]
async fn tables_that_cannot_be_written_are_waited_for_and_the_order_is_kept() {
    let inside = Inside::start(&["router"], Catalogue::standard(), |_| {}).await;
    let (_, bob) = inside.pair().await;
    let url = format!("sqlite://{}", inside.folder.path().join(FILE_NAME).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("ALTER TABLE auto_replies RENAME TO aside").execute(&pool).await.unwrap();
    for record in [("enable", None), ("setBody", Some("first")), ("setBody", Some("second")), ("disable", None)] {
        publish(&inside, AUTO_REPLY, &auto_reply(record.0, &json!(bob.id), record.1)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    sqlx::query("ALTER TABLE aside RENAME TO auto_replies").execute(&pool).await.unwrap();
    pool.close().await;
    until(&inside, &bob, false, "second").await;
    assert_eq!(dead_letters(inside.stop().await.path()), []);
}

/// The chosen version and whether it runs, once that is as wanted.
async fn until_script(pool: &sqlx::SqlitePool, user: i64, wanted: (Option<i64>, bool)) {
    let sql = "SELECT chosen_version, active FROM scripts WHERE user_id = $1 AND direction = 'incoming'";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found: (Option<i64>, bool) = sqlx::query_as(sql).bind(user).fetch_one(pool).await.unwrap();
        if found == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{found:?}, not {wanted:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[actix::test]
async fn a_script_runs_again_in_the_version_chosen_last_or_else_the_newest() {
    let inside = Inside::start(&["router"], Catalogue::standard(), |_| {}).await;
    let (ada, bob) = inside.pair().await;
    let url = format!("sqlite://{}", inside.folder.path().join(FILE_NAME).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    for version in 2..=3 {
        sqlx::query("INSERT INTO script_versions VALUES ($1, 'incoming', $2, 'luau', zeroblob(32), 1, $1, 0)")
            .bind(bob.id)
            .bind(version)
            .execute(&pool)
            .await
            .unwrap();
    }
    sqlx::query("INSERT INTO scripts VALUES ($1, 'incoming', 3, NULL, 0, NULL, 0)")
        .bind(bob.id)
        .execute(&pool)
        .await
        .unwrap();
    let choose = |version: i64| {
        let sql = "UPDATE scripts SET chosen_version = $2, active = 0, switched_off = 'budget' WHERE user_id = $1";
        sqlx::query(sql).bind(bob.id).bind(version).execute(&pool)
    };
    let switch = |action: &str, user: i64, target: &str| {
        json!({"actionType": action, "userId": user, "target": target}).to_string()
    };
    publish(&inside, SCRIPTS, &switch("enable", bob.id, "recv")).await;
    until_script(&pool, bob.id, (Some(3), true)).await;
    for (chosen, runs) in [(2, 2), (3, 3), (1, 3)] {
        // The first was thrown away to make room.
        choose(chosen).await.unwrap();
        publish(&inside, SCRIPTS, &switch("enable", bob.id, "recv")).await;
        until_script(&pool, bob.id, (Some(runs), true)).await;
    }
    let off: Option<String> = sqlx::query_scalar("SELECT switched_off FROM scripts").fetch_one(&pool).await.unwrap();
    assert_eq!(off, None);
    for (user, target) in [(bob.id, "send"), (ada.id, "recv"), (999, "recv")] {
        publish(&inside, SCRIPTS, &switch("enable", user, target)).await;
    }
    publish(&inside, SCRIPTS, &switch("disable", bob.id, "recv")).await;
    until_script(&pool, bob.id, (Some(3), false)).await;
    pool.close().await;
    let folder = inside.stop().await;
    let reasons: Vec<String> = dead_letters(folder.path()).into_iter().map(|(reason, _)| reason).collect();
    let wanted = [
        format!("user {} has no such script", bob.id),
        format!("user {} has no such script", ada.id),
        "there is no user 999".to_owned(),
    ];
    assert_eq!(reasons, wanted);
}
