//! The programs that people begin with: the examples and `parlor chat`, as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::app::{Account, PASSWORD, PATIENCE, Process, SETUP, TestApp, cache, finish, parlor};

/// What each of the examples is, as a command without its arguments.
fn python(_: &TestApp) -> Command {
    let mut command = Command::new(cache().join("python/bin/python"));
    command.arg(example("python/chat.py"));
    command
}

/// Node looks for packages beside the program, so the program is put beside the packages.
fn javascript(app: &TestApp) -> Command {
    let program = app.scratch().join("chat.mjs");
    std::fs::copy(example("javascript/chat.mjs"), &program).unwrap();
    let packages = app.scratch().join("node_modules");
    if !packages.exists() {
        std::os::unix::fs::symlink(cache().join("node/node_modules"), packages).unwrap();
    }
    let mut command = Command::new("node");
    command.arg(program);
    command
}

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

/// Sends from an example to a user, from a user to an example, and is refused.
async fn works(command: fn(&TestApp) -> Command) {
    let app = TestApp::start().await;
    let ada = app.register("ada").await;
    let with = |name: &str, rest: &[&str]| {
        let mut command = command(&app);
        command.args([&app.url, name, PASSWORD, "ada"]).args(rest);
        command
    };
    let text = "grüß dich \u{1b}[31m \u{1f469}\u{200d}\u{1f467} \u{202e}x";
    let sent = finish(with("eve", &[text]), "").await;
    assert_eq!(sent.code, Some(0), "{sent:?} ({SETUP})");
    let inbox = app.inbox(&ada, 1).await;
    assert_eq!(inbox[0]["messageBody"], text);
    assert_eq!(sent.out.trim(), format!("accepted {}", inbox[0]["messageUid"].as_str().unwrap()));

    let listener = Process::start(with("eve", &[]));
    listener.log_line("connected").await;
    let eve = Account { id: inbox[0]["senderId"].as_i64().unwrap(), ..ada.clone() };
    app.send(&ada, &[&eve], text).await;
    let line = listener.out_line("ada: ").await;
    assert!(line.starts_with("ada: grüß dich ") && !line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
    drop(listener);

    let nobody = finish(
        {
            let mut command = command(&app);
            command.args([&app.url, "eve", PASSWORD, "nobody", "hello"]);
            command
        },
        "",
    )
    .await;
    assert_eq!((nobody.code, nobody.out.as_str()), (Some(1), ""), "{nobody:?}");
    assert!(nobody.err.contains("there is no nobody"), "{nobody:?}");
    let large = finish(with("eve", &[&"x".repeat(100_000)]), "").await;
    assert_eq!(large.code, Some(1), "{large:?}");
    assert!(large.err.contains("rejected"), "{}", large.err);
    let mut wrong = command(&app);
    wrong.args([&app.url, "ada", "not the password", "eve", "hello"]);
    let wrong = finish(wrong, "").await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
}

#[tokio::test]
async fn the_python_example_sends_receives_and_tells_of_refusals() {
    works(python).await;
}

#[tokio::test]
async fn the_javascript_example_sends_receives_and_tells_of_refusals() {
    works(javascript).await;
}

fn chat(app: &TestApp, name: &str, with: &[&str]) -> Command {
    let mut command = parlor();
    command.args(["chat", "--as", name, "--url", &app.url, "--register"]).env("PARLOR_PASSWORD", PASSWORD);
    if !with.is_empty() {
        command.args(["--with", &with.join(",")]);
    }
    command
}

#[tokio::test]
async fn two_people_chat_from_pipes_and_who_joins_sees_what_was_said() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.register("ada").await, app.register("bob").await);
    let said = finish(chat(&app, "ada", &["bob"]), "hello bob\nare you there?\n").await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(app.inbox(&bob, 2).await.len(), 2);
    let bobs = Process::start(chat(&app, "bob", &["ada"]));
    bobs.out_line_with("ada: hello bob").await;
    bobs.out_line_with("ada: are you there?").await;
    let adas = Process::start(chat(&app, "ada", &["bob"]));
    app.until_metric("parlor_sessions", PATIENCE, |sessions| sessions == 2.0).await;
    bobs.type_in("yes\n//slash\n");
    adas.out_line_with("bob: yes").await;
    adas.out_line_with("bob: /slash").await;
    adas.type_in("good\n/quit\n");
    bobs.out_line_with("ada: good").await;
    assert_eq!(adas.exited(PATIENCE).await.code(), Some(0));
    bobs.end_input();
    assert_eq!(bobs.exited(PATIENCE).await.code(), Some(0));
    let bodies: Vec<_> = app.inbox(&ada, 5).await.iter().map(|message| message["messageBody"].clone()).collect();
    assert_eq!(bodies, ["hello bob", "are you there?", "yes", "/slash", "good"]);
}

#[tokio::test]
async fn a_script_that_chats_learns_by_its_exit_code_what_became_of_its_messages() {
    let mut app = TestApp::start().await;
    app.register("bob").await;
    let mut json = chat(&app, "ada", &["bob"]);
    json.arg("--json");
    let done = finish(json, "one\ntwo\n").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let frames = done.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(frames.filter(|frame| frame["type"] == "accepted").count(), 2);
    let large = finish(chat(&app, "ada", &["bob"]), &format!("{}\n", "x".repeat(100_000))).await;
    assert_eq!(large.code, Some(1), "{}", large.err);
    assert!(large.err.contains("not accepted"), "{}", large.err);
    let nobody = finish(chat(&app, "ada", &["nobody"]), "hello\n").await;
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("there is no nobody"), "{}", nobody.err);
    let mut wrong = chat(&app, "ada", &["bob"]);
    wrong.env("PARLOR_PASSWORD", "not the password");
    assert_eq!(finish(wrong, "hello\n").await.code, Some(1));
    app.terminate();
    assert_eq!(app.ended().await, Some(0));
    let gone = finish(chat(&app, "ada", &["bob"]), "hello\n").await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("cannot"), "{}", gone.err);
}

#[tokio::test]
async fn a_chat_outlives_the_server_and_sends_what_it_was_given_meanwhile() {
    let mut app = TestApp::on_fixed_ports().await;
    let bob = app.register("bob").await;
    let adas = Process::start(chat(&app, "ada", &["bob"]));
    app.until_metric("parlor_sessions", PATIENCE, |sessions| sessions == 1.0).await;
    app.restart().await;
    adas.type_in("through the restart\n");
    assert_eq!(app.inbox(&bob, 1).await[0]["messageBody"], "through the restart");
    adas.end_input();
    assert_eq!(adas.exited(PATIENCE).await.code(), Some(0));
}
