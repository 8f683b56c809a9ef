//! The settings that the chart writes are settings: the program reads them, for every set of values, with the stages of every
//! workload.

use std::path::Path;
use std::process::Command;

use parlor::config::Config;
use serde_json::{Value, json};

use crate::app::root;

/// The manifests for these values.
fn rendered(values: Option<&Path>) -> Vec<Value> {
    // Brings helm, if it is not there yet.
    let tools = Command::new(root().join("scripts/deploy-tools.sh")).output().unwrap();
    assert!(tools.status.success(), "{}", String::from_utf8_lossy(&tools.stderr));
    let helm = Path::new(String::from_utf8_lossy(&tools.stdout).trim()).join("helm");
    let mut command = Command::new(helm);
    command.arg("template").arg("parlor").arg(root().join("deploy/chart"));
    if let Some(values) = values {
        command.arg("-f").arg(values);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n").filter(|part| part.lines().any(|line| line.starts_with("kind:")));
    documents.map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{error}: {part}"))).collect()
}

/// What the files that the pods get would say, in the place of their variables.
fn secrets(cluster: bool) -> Value {
    let keys = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    if cluster {
        json!({"jwt_keys": keys, "database_url": "postgres://parlor:x@db/parlor", "redis_url": "redis://redis/0"})
    } else {
        json!({ "jwt_keys": keys })
    }
}

fn check(values: Option<&Path>) -> usize {
    let manifests = rendered(values);
    let settings = manifests.iter().find_map(|manifest| manifest["data"]["parlor.toml"].as_str()).expect("parlor.toml");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("parlor.toml");
    std::fs::write(&file, settings).unwrap();
    let is_node = |manifest: &&Value| {
        manifest["kind"] == "StatefulSet" && manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "parlor"
    };
    let mut nodes = 0;
    for workload in manifests.iter().filter(is_node) {
        let pod = &workload["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        let stages = arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix("--stages=")).unwrap();
        let mut flags = secrets(settings.contains("kafka_brokers"));
        if settings.contains("sasl") {
            flags["kafka"] = json!({"password": "x"});
        }
        flags["stages"] = stages.split(',').collect();
        let config = Config::load(Some(&file), flags).unwrap_or_else(|error| panic!("{values:?}: {error}"));
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(grace > config.drain_limit_seconds + 5, "{grace}");
        nodes += 1;
    }
    nodes
}

#[test]
#[ignore = "needs Helm, whose build takes many minutes: make deploy-check runs it"]
fn the_program_reads_what_the_chart_writes() {
    assert_eq!(check(None), 1);
    for (file, workloads) in [("stages", 3), ("alone", 1)] {
        assert_eq!(check(Some(&root().join(format!("deploy/chart/ci/{file}.yaml")))), workloads, "{file}");
    }
}
