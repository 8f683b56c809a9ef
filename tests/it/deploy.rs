//! What is in `deploy/` is held to the program: rules and dashboards name metrics and labels that there are, each alert has
//! a section in the handbook and a unit test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use parlor::metrics::{self, Declared};
use serde_json::Value;

use crate::app::{listed, root};

/// What Prometheus puts on every series, and what histograms have.
const EVERYWHERE: [&str; 3] = ["job", "instance", "le"];

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rules of all groups of all files.
fn rules() -> Vec<Value> {
    let files = listed("deploy/prometheus/rules").into_iter().map(|path| yaml(&path));
    let groups = files.flat_map(|file| file["groups"].as_array().unwrap().clone());
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What can be asked for: metrics as they are scraped, and what rules record, each with its labels.
fn known(rules: &[Value]) -> BTreeMap<String, BTreeSet<String>> {
    let mut known = BTreeMap::new();
    for Declared { name, kind, labels } in metrics::ALL {
        let ends: &[&str] = if *kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        for end in ends {
            known.insert(format!("{name}{end}"), labels.iter().map(|&label| label.to_owned()).collect());
        }
    }
    for rule in rules.iter().filter(|rule| rule["record"].is_string()) {
        let query = Query::read(&text(&rule["expr"]));
        let labels = query.metrics.iter().filter_map(|name| known.get(name)).flatten().cloned();
        let own = rule["labels"].as_object().into_iter().flat_map(|labels| labels.keys().cloned());
        let labels: BTreeSet<String> = labels.chain(own).collect();
        known.insert(text(&rule["record"]), labels);
    }
    known
}

/// What a PromQL expression names, as far as it concerns us.
#[derive(Debug, Default)]
struct Query {
    metrics: BTreeSet<String>,
    /// In `{…}`, and in the brackets behind `by` and `on`.
    labels: BTreeSet<String>,
}

impl Query {
    fn read(expr: &str) -> Self {
        let mut query = Self::default();
        // Strings hold no names.
        let bare: String = expr.split('"').step_by(2).collect();
        let words = bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        query.metrics = words.filter(|word| word.starts_with("parlor")).map(str::to_owned).collect();
        for (open, close) in [("{", '}'), ("by (", ')'), ("on (", ')')] {
            for rest in bare.split(open).skip(1) {
                let inner = rest.split(close).next().unwrap();
                let names = inner.split(',').map(|part| part.trim().trim_end_matches(['=', '~', '!']));
                query.labels.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
            }
        }
        query
    }

    fn check(&self, known: &BTreeMap<String, BTreeSet<String>>, legend: &str, place: &str) {
        let mut allowed: BTreeSet<&str> = EVERYWHERE.into();
        for metric in &self.metrics {
            let labels = known.get(metric).unwrap_or_else(|| panic!("{place}: there is no metric {metric}"));
            allowed.extend(labels.iter().map(String::as_str));
        }
        for label in &self.labels {
            assert!(allowed.contains(label.as_str()), "{place}: no metric there has the label {label}");
        }
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(allowed.contains(label), "{place}: the legend names {label}, which no metric there has");
        }
    }
}

/// The queries of all dashboards: where, PromQL, legend.
fn queries() -> Vec<(String, String, String)> {
    let mut queries = Vec::new();
    for path in listed("deploy/grafana/dashboards") {
        let board: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let place = format!("{}: {}", path.file_name().unwrap().display(), panel["title"]);
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.push((place.clone(), text(&target["expr"]), text(&target["legendFormat"])));
            }
        }
    }
    queries
}

#[test]
fn rules_and_dashboards_name_metrics_and_labels_that_there_are() {
    let rules = rules();
    let known = known(&rules);
    for rule in &rules {
        let place = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        Query::read(&text(&rule["expr"])).check(&known, "", place);
    }
    let queries = queries();
    assert!(queries.len() > 50, "{}", queries.len());
    for (place, expr, legend) in &queries {
        let query = Query::read(expr);
        assert!(!query.metrics.is_empty(), "{place}: {expr} asks for nothing");
        query.check(&known, legend, place);
    }
}

#[test]
#[should_panic(expected = "has the label topics")]
fn a_label_that_no_metric_has_is_found() {
    let known = known(&[]);
    Query::read("sum by (topics) (parlor_bus_lag_records)").check(&known, "", "here");
}

#[test]
#[should_panic(expected = "there is no metric parlor_route_seconds")]
fn a_histogram_without_its_ending_is_found() {
    Query::read("rate(parlor_route_seconds[5m])").check(&known(&[]), "", "here");
}

#[test]
fn every_metric_is_on_a_dashboard_or_in_a_rule() {
    let rules = rules();
    let texts = rules.iter().map(|rule| text(&rule["expr"]));
    let texts = texts.chain(queries().into_iter().map(|(_, expr, _)| expr));
    let named: BTreeSet<String> = texts.flat_map(|expr| Query::read(&expr).metrics).collect();
    let of = |metric: &Declared| named.iter().any(|name| name.starts_with(metric.name));
    let forgotten: Vec<_> = metrics::ALL.iter().filter(|metric| !of(metric)).map(|metric| metric.name).collect();
    assert!(forgotten.is_empty(), "nobody looks at {forgotten:?}");
}

#[test]
fn every_alert_has_a_runbook_and_a_test_in_which_it_fires() {
    let handbook = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let sections: BTreeSet<&str> = handbook.lines().filter_map(|line| line.strip_prefix("### Parlor")).collect();
    let mut fires = BTreeSet::new();
    for file in listed("deploy/prometheus/tests") {
        for test in yaml(&file)["tests"].as_array().unwrap() {
            for expected in test["alert_rule_test"].as_array().into_iter().flatten() {
                if !expected["exp_alerts"].as_array().unwrap().is_empty() {
                    fires.insert(text(&expected["alertname"]));
                }
            }
        }
    }
    let mut alerts = BTreeSet::new();
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = text(&rule["alert"]);
        let anchor = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(text(&rule["annotations"]["runbook"]), anchor, "{name}");
        assert!(["page", "ticket"].contains(&text(&rule["labels"]["severity"]).as_str()), "{name}");
        alerts.insert(name);
    }
    let with_section: BTreeSet<String> = sections.iter().map(|name| format!("Parlor{name}")).collect();
    assert_eq!(with_section, alerts, "sections of docs/operations.md, and alerts");
    assert_eq!(fires, alerts, "alerts that fire in a test of promtool's, and alerts");
}
