//! The documents say what the program does: settings, metrics, files and links are held to the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use parlor::config::Config;
use parlor::metrics;

use crate::app::root;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/operations.md",
    "docs/performance.md",
];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every key of the settings, as `section.key`, from the structs that declare them.
fn declared() -> BTreeSet<String> {
    let mut sources = vec![root().join("src/config.rs")];
    sources.extend(std::fs::read_dir(root().join("src/config")).unwrap().map(|entry| entry.unwrap().path()));
    let mut keys = BTreeSet::new();
    for source in sources {
        let text = std::fs::read_to_string(&source).unwrap();
        // Only what can be read from a file is a section; an error's fields are no settings.
        let mut prefix = None;
        let mut deserialised = false;
        for line in text.lines() {
            if line.starts_with("#[derive(") {
                deserialised = line.contains("Deserialize");
            } else if let Some(rest) = line.strip_prefix("pub struct ") {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                prefix = if deserialised { section(&name) } else { None };
            } else if line == "}" {
                prefix = None;
            } else if let (Some(prefix), Some(field)) = (&prefix, line.strip_prefix("    pub "))
                && let Some((name, kind)) = field.split_once(": ")
                && !is_section(kind.trim_end_matches(','))
            {
                keys.insert(format!("{prefix}{name}"));
            }
        }
    }
    keys
}

/// Where the keys of a struct stand. A new struct of settings has to be named here.
fn section(name: &str) -> Option<String> {
    let prefix = match name {
        "Config" => "",
        "AccountsOptions" => "accounts.",
        "LoginLimits" => "accounts.limits.",
        "SessionOptions" => "session.",
        "BusOptions" => "bus.",
        "ScriptsOptions" => "scripts.",
        "JolieOptions" => "scripts.jolie.",
        "DatabaseOptions" => "database.",
        "KafkaOptions" => "kafka.",
        "RedisOptions" => "redis.",
        "ClusterOptions" => "cluster.",
        "TelemetryOptions" => "telemetry.",
        // Values, not sections.
        "Allowance" | "Conduct" | "Secret" => return None,
        other => panic!("which section of parlor.toml is {other}? Say so in tests/it/docs.rs"),
    };
    Some(prefix.to_owned())
}

fn is_section(kind: &str) -> bool {
    kind.ends_with("Options") || kind == "LoginLimits"
}

/// The keys of `parlor.example.toml` and their values as they are written; a key behind a `#` counts.
fn example() -> BTreeMap<String, String> {
    let mut prefix = String::new();
    let mut keys = BTreeMap::new();
    for line in read("parlor.example.toml").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            prefix = format!("{name}.");
            continue;
        }
        let Some((key, value)) = line.trim_start_matches("# ").split_once(" = ") else { continue };
        if key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            keys.insert(format!("{prefix}{key}"), value.to_owned());
        }
    }
    keys
}

/// The rows of the tables below a heading: their cells, without the backticks around them.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let (_, below) = text.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{document}: no {heading}"));
    let end = below.find("\n## ").unwrap_or(below.len());
    let lines = below[..end].lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1).collect()).collect()
}

#[test]
fn the_example_of_the_settings_has_every_key_with_its_default() {
    let (declared, example) = (declared(), example());
    assert!(declared.len() > 30, "{declared:?}");
    assert_eq!(example.keys().cloned().collect::<BTreeSet<_>>(), declared);
    let path = root().join("parlor.example.toml");
    let read = Config::load(Some(&path), serde_json::json!({})).unwrap();
    let default = Config::load(None, serde_json::json!({})).unwrap();
    assert_eq!(format!("{read:#?}"), format!("{default:#?}"));
}

#[test]
fn the_handbook_has_every_setting_with_its_default() {
    let mut table = BTreeMap::new();
    for row in rows("docs/operations.md", "## Settings") {
        assert!(table.insert(row[0].clone(), row[1].clone()).is_none(), "{} stands there twice", row[0]);
    }
    let mut example = example();
    // They have no default: the node does without, or makes its own.
    let kafka = ["username", "password", "ca_path", "certificate_path", "key_path", "key_password"];
    let kafka = kafka.map(|key| format!("kafka.{key}"));
    let others = [
        "jwt_keys",
        "object_store_url",
        "database_url",
        "kafka_brokers",
        "redis_url",
        "slot",
        "scripts.jolie.home",
        "telemetry.otlp_endpoint",
    ];
    for key in others.into_iter().chain(kafka.iter().map(String::as_str)) {
        example.insert(key.to_owned(), table.get(key).cloned().unwrap_or_default());
    }
    assert_eq!(table, example);
}

#[test]
fn the_handbook_has_every_metric() {
    let table: BTreeSet<String> =
        rows("docs/operations.md", "## Metrics").into_iter().map(|row| row[0].clone()).collect();
    let names: BTreeSet<String> = metrics::ALL.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(table, names);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut followed = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (path, _) = link.split_once('#').unwrap_or((link, ""));
            if path.is_empty() || path.contains("://") {
                continue;
            }
            followed += 1;
            assert!(folder.join(path).exists(), "{document}: {link} leads nowhere");
        }
    }
    assert!(followed > 10, "{followed}");
}

#[test]
fn the_map_names_what_is_there_and_every_module() {
    let listed: Vec<String> = rows("ARCHITECTURE.md", "## The map").into_iter().map(|row| row[0].clone()).collect();
    for path in &listed {
        assert!(root().join(path).exists(), "ARCHITECTURE.md: there is no {path}");
    }
    let mut missing: Vec<PathBuf> = Vec::new();
    for folder in ["src", "src/actors", "src/protocol", "src/pipeline", "src/store"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let is_test = name.ends_with("/testing.rs");
            if name.ends_with(".rs") && !is_test && !listed.contains(&name) {
                missing.push(name.into());
            }
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md, the map: {missing:?} are missing");
}
