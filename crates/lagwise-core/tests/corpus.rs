//! Classifies PostgreSQL's own regression suite and compares with what a real standby said.
//!
//! The labels come from a primary and a hot standby that ran every statement, see `corpus/README.md`.
//! Two figures count: how many reads may go to a replica, and how many others would.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use lagwise_core::{Because, Catalog, Classification, Verdict, classify};
use serde_json::Value;

const CORPUS: &[u8] = include_bytes!("corpus/pg_statements_dev.jsonl.gz");

/// Labels of what must not run on a replica outside of a connection that the caller holds.
const NOT_READ: [&str; 5] = [
    "write",
    "write_tx",
    "session",
    "server_local",
    "read_but_writes",
];

struct Statement {
    sql: String,
    label: String,
    file: String,
}

fn corpus() -> Vec<Statement> {
    let mut text = String::new();
    // Another part of the corpus can be tried without adding it.
    let path = std::env::var("LAGWISE_CORPUS").ok();
    let bytes = path.map_or_else(
        || CORPUS.to_vec(),
        |path| std::fs::read(path).expect("LAGWISE_CORPUS can be read"),
    );
    GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .expect("the corpus unpacks");
    let field = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let statement = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a line is an object");
        Statement {
            sql: field(&row, "sql"),
            label: field(&row, "label"),
            file: field(&row, "file"),
        }
    };
    text.lines().map(statement).collect()
}

fn built_in(sql: &str) -> Classification<'_> {
    // Static: the classification borrows only from the text.
    classify(sql, &Catalog::built_in())
}

/// The last part of the name that comes after `words` in a text, folded.
fn created(sql: &str, words: &str) -> Option<String> {
    let lower = sql.to_ascii_lowercase();
    let at = lower.find(words)? + words.len();
    let name = lower.get(at..)?.trim_start();
    let is_end = |letter: char| letter.is_whitespace() || "(;".contains(letter);
    let name = name.split(is_end).next()?;
    let name = name.rsplit('.').next()?.trim_matches('"');
    (!name.is_empty()).then(|| name.to_owned())
}

/// What the suite itself creates of one kind.
fn all_created(corpus: &[Statement], kinds: &[&str]) -> BTreeSet<String> {
    let of = |statement: &Statement| {
        let created = |kind: &&str| created(&statement.sql, kind);
        kinds.iter().filter_map(created).collect::<Vec<_>>()
    };
    corpus.iter().flat_map(of).collect()
}

fn words(sql: &str) -> impl Iterator<Item = String> {
    sql.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .map(str::to_ascii_lowercase)
}

#[test]
fn no_visible_write_is_taken_for_a_read() {
    let corpus = corpus();
    let objects = all_created(
        &corpus,
        &[
            "create function",
            "replace function",
            " view",
            "unlogged table",
            "create rule",
        ],
    );
    let mut misrouted = 0;
    let mut unexplained = Vec::new();
    for statement in &corpus {
        if !NOT_READ.contains(&statement.label.as_str())
            || built_in(&statement.sql).verdict != Verdict::Read
        {
            continue;
        }
        misrouted += 1;
        println!("{} {}: {}", statement.label, statement.file, statement.sql);
        let is_explained = words(&statement.sql).any(|word| objects.contains(&word));
        if statement.label != "write" || !is_explained {
            unexplained.push(&statement.sql);
        }
    }
    println!(
        "{misrouted} misrouted, {} without a hidden cause",
        unexplained.len()
    );
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(misrouted <= 60, "{misrouted}");
}

#[test]
fn almost_every_read_is_taken_for_one() {
    let corpus = corpus();
    let functions = all_created(
        &corpus,
        &[
            "function",
            "create aggregate",
            "replace aggregate",
            "create procedure",
        ],
    );
    let (mut reads, mut found, mut of_suite) = (0_u32, 0_u32, 0_u32);
    for statement in corpus.iter().filter(|statement| statement.label == "read") {
        reads += 1;
        let classification = built_in(&statement.sql);
        if classification.verdict == Verdict::Read {
            found += 1;
            continue;
        }
        let is_of_suite = match classification.because {
            Because::UnknownFunction(name) => {
                let name = name.trim_matches('"').to_ascii_lowercase();
                functions.contains(&name)
            }
            _ => false,
        };
        of_suite += u32::from(is_of_suite);
        let of = if is_of_suite { "suite" } else { "MISS" };
        println!(
            "{of} {} [{}] {}",
            statement.file,
            classification.because,
            statement.sql.replace('\n', " ")
        );
    }
    let share = |reads: u32| f64::from(found) / f64::from(reads) * 100.0;
    let (all, without) = (share(reads), share(reads - of_suite));
    println!("{found} of {reads} reads: {all:.2} %, {without:.2} % without the suite's functions");
    assert!(without >= 97.0, "{without:.2} %");
    assert!(all >= 90.0, "{all:.2} %");
}
