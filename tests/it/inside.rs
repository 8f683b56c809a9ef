//! What goes wrong inside the server is its operator's business; and a test in which it does, and does not say so, fails.

use parlor::store::FILE_NAME;

use crate::app::{Account, TestApp};

/// Damages a row behind the server's back, and asks for it.
async fn stumble(app: &TestApp) -> Account {
    let ada = app.register("ada").await;
    app.send(&ada, &[&ada], "secret").await;
    app.inbox(&ada, 1).await;
    let url = format!("sqlite://{}", app.data().join(FILE_NAME).display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query("UPDATE conversations SET participants = 'damaged'").execute(&pool).await.unwrap();
    pool.close().await;
    let problem = app.get("conversations", &ada).await.assert_problem(500, "internal");
    assert!(!problem.text.contains("damaged") && !problem.text.contains("participants"), "{}", problem.text);
    ada
}

#[tokio::test]
async fn an_error_inside_is_logged_and_not_told_and_the_server_lives_on() {
    let mut app = TestApp::start().await;
    app.expect_errors();
    let ada = stumble(&app).await;
    let line = app.process().log_line("request failed").await;
    assert!(line.contains("ERROR") && !line.contains("secret"), "{line}");
    app.get("me", &ada).await.assert(200);
}

#[tokio::test]
#[should_panic(expected = "the server's log has")]
async fn an_error_that_a_test_did_not_announce_fails_it() {
    let app = TestApp::start().await;
    stumble(&app).await;
}
