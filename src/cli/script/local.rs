//! `check` and `try`: in a worker of this command's own, within the limits that servers have by default.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use super::{LocalArgs, Script, read, report};
use crate::cli::say;
use crate::clock::Clock;
use crate::config::scripts::ScriptsOptions;
use crate::config::session::SessionOptions;
use crate::ids::UserId;
use crate::script::call::SourceHash;
use crate::script::pool::{Job, Lane, Workers};
use crate::script::trial::{Sample, Tried};

/// Who the script's user is here.
const OWNER: UserId = UserId(1);

/// What a script is tried on.
#[derive(Debug, Args)]
pub struct OnArgs {
    /// A message with this text; may be given several times
    #[arg(long, value_name = "TEXT", required_unless_present = "sample")]
    message: Vec<String>,
    /// A file with a message, or a list of them, as JSON
    #[arg(long, value_name = "FILE.json")]
    sample: Vec<PathBuf>,
    /// Who sends it, for `incoming`; given several times, each message comes from each of them
    #[arg(long, value_name = "ID")]
    from: Vec<i64>,
}

impl OnArgs {
    fn samples(self) -> anyhow::Result<Vec<Sample>> {
        let mut samples: Vec<Sample> =
            self.message.into_iter().map(|message_body| Sample { message_body, ..Sample::default() }).collect();
        for path in &self.sample {
            let name = || path.display().to_string();
            let value: Value = serde_json::from_str(&read(path)?).with_context(name)?;
            let list = if value.is_array() { value } else { Value::from(vec![value]) };
            let list: Vec<Sample> = serde_json::from_value(list).with_context(name)?;
            samples.extend(list);
        }
        if self.from.is_empty() {
            return Ok(samples);
        }
        let from_each = |sample: Sample| {
            let from = self.from.clone();
            from.into_iter().map(move |id| Sample { sender_id: Some(UserId(id)), ..sample.clone() })
        };
        Ok(samples.into_iter().flat_map(from_each).collect())
    }
}

/// Says what is wrong with a script.
pub(super) async fn check(script: &Script, how: &LocalArgs) -> anyhow::Result<()> {
    let workers = start(how).await?;
    let checked = compiles(&workers, script).await;
    workers.stop().await;
    checked?;
    say(&format!("{}: compiles, for {} messages", script.name, script.direction))
}

/// Says what would come of a script.
pub(super) async fn try_out(script: &Script, on: OnArgs, how: &LocalArgs, json: bool) -> anyhow::Result<()> {
    let samples = on.samples()?;
    let workers = start(how).await?;
    let tried = run_all(&workers, script, samples, json, Clock::system().now()).await;
    workers.stop().await;
    let (runs, failed) = tried?;
    anyhow::ensure!(
        failed == 0,
        "{failed} of {runs} runs failed: each such message would go on as if there were no script"
    );
    Ok(())
}

async fn run_all(
    workers: &Workers,
    script: &Script,
    samples: Vec<Sample>,
    json: bool,
    now: DateTime<Utc>,
) -> anyhow::Result<(usize, usize)> {
    compiles(workers, script).await?;
    let limits = ScriptsOptions::default().effect_limits(SessionOptions::default().max_message_bytes);
    let (runs, mut failed) = (samples.len(), 0);
    for (n, sample) in samples.into_iter().enumerate() {
        let input = sample.input(OWNER, script.direction, now).map_err(anyhow::Error::msg)?;
        let job = Job {
            owner: OWNER,
            language: script.language,
            hash: SourceHash::of(&script.source),
            source: script.source.as_str().into(),
            direction: script.direction,
            input: input.clone(),
            seed: n as u64,
            lane: Lane::Trial,
        };
        let tried = Tried::of(&input, workers.run(job).await, &limits, None);
        failed += usize::from(tried.failure.is_some());
        if json {
            say(&serde_json::to_string(&tried)?)?;
        } else {
            report::tried(&tried)?;
        }
    }
    Ok((runs, failed))
}

async fn compiles(workers: &Workers, script: &Script) -> anyhow::Result<()> {
    let found = workers.check(OWNER, script.language, script.direction, &script.source).await;
    let found = found.with_context(|| format!("cannot check {}", script.name))?;
    let errors = report::diagnostics(&script.name, &script.source, &found)?;
    if errors > 0 {
        bail!("{}: {errors} error{}", script.name, if errors == 1 { "" } else { "s" });
    }
    Ok(())
}

async fn start(how: &LocalArgs) -> anyhow::Result<Workers> {
    let options = ScriptsOptions { workers: 1, run_unconfined: how.run_unconfined, ..ScriptsOptions::default() };
    let limits = options.run_limits(SessionOptions::default().max_message_bytes);
    Ok(Workers::start(&options, limits).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_comes_from_each_sender_and_a_sample_is_one_or_many() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let one = file("one.json", r#"{"messageBody": "c", "senderId": 9}"#);
        let two = file("two.json", r#"[{"messageBody": "d"}, {"messageBody": "e"}]"#);
        let samples = |message: &[&str], sample: Vec<PathBuf>, from: Vec<i64>| {
            let message = message.iter().map(|&text| text.to_owned()).collect();
            let all = OnArgs { message, sample, from }.samples()?;
            Ok::<_, anyhow::Error>(
                all.into_iter()
                    .map(|sample| (sample.message_body, sample.sender_id.map_or(0, |id| id.0)))
                    .collect::<Vec<_>>(),
            )
        };
        let of = |list: &[(&str, i64)]| list.iter().map(|(text, id)| ((*text).to_owned(), *id)).collect::<Vec<_>>();
        assert_eq!(samples(&["a"], vec![one, two], Vec::new()).unwrap(), of(&[("a", 0), ("c", 9), ("d", 0), ("e", 0)]));
        assert_eq!(
            samples(&["a", "b"], Vec::new(), vec![3, 4]).unwrap(),
            of(&[("a", 3), ("a", 4), ("b", 3), ("b", 4)])
        );
        let bad = file("bad.json", r#"{"message": "x"}"#);
        assert!(format!("{:#}", samples(&[], vec![bad], Vec::new()).unwrap_err()).contains("bad.json"));
    }
}
