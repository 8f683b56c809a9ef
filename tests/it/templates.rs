//! Every template compiles without a warning and gives what the samples in its first lines say, in a real worker.

use std::path::{Path, PathBuf};

use parlor::config::jolie::JolieOptions;
use parlor::config::scripts::ScriptsOptions;
use parlor::ids::{ConversationId, UserId};
use parlor::script::call::{Direction, Input, Language, SourceHash};
use parlor::script::effects::{Effects, Verdict};
use parlor::script::pool::{Job, Lane};
use serde_json::{Value, json};

/// The owner of every script here, and who writes to them unless a sample says otherwise.
const OWNER: i64 = 2;
const SENDER: i64 = 1;

fn templates() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let scripts = files.filter(|path: &PathBuf| !path.to_str().unwrap().ends_with(".d.luau"));
    scripts
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// What a header line says behind `-- key:` or `// key:`, of all such lines.
fn header<'a>(source: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    source.lines().filter_map(move |line| {
        let comment = line.strip_prefix("-- ").or_else(|| line.strip_prefix("// "))?;
        Some(comment.strip_prefix(key)?.strip_prefix(':')?.trim())
    })
}

fn language(name: &str) -> Language {
    let ending = name.rsplit_once('.').unwrap().1;
    Language::ALL.into_iter().find(|language| language.ending() == ending).unwrap()
}

fn input(sample: &Value) -> Input {
    let id = |name: &str, default: i64| UserId(sample[name].as_i64().unwrap_or(default));
    let recipients =
        sample["recipientIds"].as_array().map(|ids| ids.iter().map(|id| UserId(id.as_i64().unwrap())).collect());
    let sent_at =
        sample["sentAt"].as_str().map_or(0, |at| chrono::DateTime::parse_from_rfc3339(at).unwrap().timestamp_millis());
    let sender_id = id("senderId", SENDER);
    let recipient_ids: Vec<UserId> = recipients.unwrap_or_else(|| vec![UserId(OWNER)]);
    Input {
        message_body: sample["messageBody"].as_str().unwrap().into(),
        own_id: UserId(OWNER),
        sender_id,
        conversation_id: ConversationId::of(recipient_ids.iter().copied().chain([sender_id])),
        recipient_ids,
        from_auto_reply: sample["fromAutoReply"].as_bool().unwrap_or(false),
        first_contact: sample["firstContact"].as_bool().unwrap_or(false),
        sent_at,
    }
}

/// What came of a run, as a script would have written it.
fn written(direction: Direction, effects: &Effects, body: &str) -> Value {
    if direction == Direction::Outgoing {
        let edited = if let Verdict::Edited(edited) = &effects.verdict { edited } else { body };
        return json!({"messageBody": edited});
    }
    let action = if effects.verdict == Verdict::Drop { "DROP" } else { "FORWARD" };
    let mut written = json!({"action": action});
    if !effects.replies.is_empty() {
        written["reply"] = serde_json::to_value(&effects.replies).unwrap();
    }
    written
}

#[tokio::test]
async fn every_template_gives_what_its_samples_say() {
    let jolie = JolieOptions { wall_ms: 60_000, ..JolieOptions::default() };
    let options = ScriptsOptions { jolie, ..ScriptsOptions::default() };
    let workers = crate::jolie::workers(&options).await;
    let templates = templates();
    assert!(templates.len() >= 13, "{}", templates.len());
    for (name, source) in templates {
        let direction: Direction = header(&source, "direction").next().unwrap().parse().unwrap();
        let language = language(&name);
        let found = workers.check(UserId(OWNER), language, direction, &source).await.unwrap();
        assert!(found.is_empty(), "{name}: {found:?}");
        let samples: Vec<(&str, &str)> = header(&source, "sample").zip(header(&source, "gives")).collect();
        assert!(samples.len() >= 2, "{name} has {} samples", samples.len());
        for (sample, gives) in samples {
            let (sample, gives): (Value, Value) =
                (serde_json::from_str(sample).unwrap(), serde_json::from_str(gives).unwrap());
            let input = input(&sample);
            let job = Job {
                owner: UserId(OWNER),
                language,
                hash: SourceHash::of(&source),
                source: source.as_str().into(),
                direction,
                input: input.clone(),
                seed: 1,
                lane: Lane::Trial,
            };
            let ran = workers.run(job).await;
            let wanted = ran.outcome.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
            let effects = Effects::of(&input, wanted, &options.effect_limits(65_536));
            assert!(!matches!(effects.verdict, Verdict::Failed(_)), "{name}: {sample}: {effects:?}");
            assert_eq!(written(direction, &effects, &input.message_body), gives, "{name}: {sample}");
        }
    }
    workers.stop().await;
}
