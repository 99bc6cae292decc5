//! The dashboard and the rules that ship with lagwise: they ask for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lagwise_testkit::Cluster;
use serde_json::Value;
use tokio::process::Command;

use super::metrics::{Figures, promtool};
use super::{Service, until};
use crate::Outcome;

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../contrib")
        .join(file)
}

type Labels = BTreeMap<String, BTreeSet<String>>;

/// What a query asks for: names, and the labels in the braces after each.
fn asked(query: &str) -> Vec<(String, Vec<String>)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = Vec::new();
    for (at, _) in query.match_indices("lagwise_") {
        let name: String = query[at..]
            .chars()
            .take_while(|letter| is_part(*letter))
            .collect();
        let rest = &query[at + name.len()..];
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = braces.map_or("", |(labels, _)| labels);
        let labels = labels
            .split(',')
            .filter_map(|label| label.split_once(['=', '!']));
        found.push((
            name,
            labels.map(|(label, _)| label.trim().to_owned()).collect(),
        ));
    }
    found
}

/// Prometheus adds these itself.
const ADDED: [&str; 2] = ["instance", "job"];

fn compare(source: &str, query: &str, there: &Labels) {
    for (name, labels) in asked(query) {
        let known = there.get(&name);
        let known = known.unwrap_or_else(|| panic!("{source} asks for {name}, which is not there"));
        for label in labels {
            let is_known = known.contains(&label) || ADDED.contains(&label.as_str());
            assert!(
                is_known,
                "{source} asks {name} for {label}, which it does not have"
            );
        }
    }
}

/// Every text under a key, however deep.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(key).and_then(Value::as_str));
            object.values().for_each(|value| texts(value, key, found));
        }
        Value::Array(array) => array.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

/// The labels of every figure that there ever is: while all is well, and while it is not.
async fn all_figures() -> Outcome<Labels> {
    let cluster = Cluster::builder().replicas(2).start().await?;
    let service = Service::settled(&cluster).await?;
    let mut labels = Labels::new();
    until("every server has been asked", async || {
        let now = Figures::of(&service).await?.labels();
        let answered = now.contains_key("lagwise_server_conflicts_total");
        merge(&mut labels, now);
        Ok(answered)
    })
    .await?;
    cluster.replica(0).pause_replay().await?;
    cluster.primary().kill().await?;
    until("the primary is lost, and a replica is out", async || {
        let now = Figures::of(&service).await?.labels();
        let lost = now.contains_key("lagwise_primary_lost_seconds");
        merge(&mut labels, now);
        Ok(lost && labels["lagwise_node_membership"].contains("cause"))
    })
    .await?;
    Ok(labels)
}

fn merge(labels: &mut Labels, more: Labels) {
    for (name, of_name) in more {
        labels.entry(name).or_default().extend(of_name);
    }
}

#[tokio::test]
async fn the_dashboard_and_the_rules_ask_for_figures_that_there_are() -> Outcome {
    let there = all_figures().await?;
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(shipped("grafana/lagwise.json"))?)?;
    let mut queries = Vec::new();
    texts(&dashboard, "expr", &mut queries);
    texts(&dashboard, "definition", &mut queries);
    assert!(queries.len() > 15, "{queries:?}");
    for query in queries {
        compare("the dashboard", query, &there);
    }
    let rules = std::fs::read_to_string(shipped("prometheus/lagwise.rules.yml"))?;
    compare("a rule", &rules, &there);
    let tests = std::fs::read_to_string(shipped("prometheus/lagwise.rules.test.yml"))?;
    compare("a test of the rules", &tests, &there);

    // What is shown is explained, and what is explained is shown.
    let explained = include_str!("../../../../../docs/metrics.md");
    let (_, explained) = explained
        .split_once("## `lagwise serve`")
        .ok_or("there is a chapter on it")?;
    let explained = explained.split("\n## ").next().unwrap_or_default();
    let rows = explained
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<&str> = rows.collect();
    let names: BTreeSet<&str> = there.keys().map(String::as_str).collect();
    assert_eq!(rows, names);
    Ok(())
}

#[tokio::test]
async fn the_rules_are_rules_and_tell_what_they_should() -> Outcome {
    let promtool = promtool()?;
    for words in [
        ["check", "rules", "lagwise.rules.yml"],
        ["test", "rules", "lagwise.rules.test.yml"],
    ] {
        let mut command = Command::new(&promtool);
        let output = command
            .args(words)
            .current_dir(shipped("prometheus"))
            .output()
            .await?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
    }
    Ok(())
}

#[test]
fn what_a_query_asks_for_is_found() {
    let query =
        r#"max by (node) (lagwise_a{job=~"$j", node="x"}) * 2 or rate(lagwise_b_total[5m])"#;
    let expected = [
        (
            "lagwise_a".to_owned(),
            vec!["job".to_owned(), "node".to_owned()],
        ),
        ("lagwise_b_total".to_owned(), vec![]),
    ];
    assert_eq!(asked(query), expected);
}
