//! What was found, as a monitoring system reads it, and as JSON.
//!
//! The first line is what a pager shows: the verdict, what is wrong, and the figures for graphs behind
//! a `|`. A line for each node follows. See "Plugin Output" and "Performance Data" in the guidelines
//! of the Monitoring Plugins. A name or a server's words must not end the text before its time.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::facts::Facts;
use super::judge::{Judgement, Verdict};
use super::limits::Limits;
use super::look::Findings;
use super::stream::Stream;
use crate::format::{short_most, size};
use crate::printable::Printable;
use crate::trouble::Trouble;

/// As the plugin convention has it.
pub(crate) fn text(findings: &Findings, limits: &Limits) -> String {
    let verdict = findings.verdict().as_str();
    let mut text = format!("LAGWISE {verdict} - {}", spoken(&summary(findings)));
    let figures = figures(findings, limits);
    if !figures.is_empty() {
        write!(text, " |{figures}").ok();
    }
    text.push('\n');
    for (facts, judgement) in &findings.nodes {
        writeln!(text, "{}", spoken(&line(facts, judgement))).ok();
    }
    text
}

/// What there is to say where nothing could be checked.
pub(crate) fn unchecked(reason: &str) -> String {
    format!("LAGWISE UNKNOWN - {}\n", spoken(reason))
}

/// What is wrong, the worst first, or that nothing is.
fn summary(findings: &Findings) -> String {
    let whole = findings.whole.iter().map(|whole| (None, whole));
    let nodes = findings.nodes.iter();
    let nodes = nodes.map(|(facts, judgement)| (Some(&facts.name), judgement));
    let mut bad: Vec<_> = whole
        .chain(nodes)
        .filter(|(_, judgement)| judgement.verdict != Verdict::Ok)
        .collect();
    bad.sort_by_key(|(_, judgement)| std::cmp::Reverse(judgement.verdict));
    let told = bad
        .iter()
        .take(MOST_TOLD)
        .map(|(name, judgement)| match name {
            Some(name) => format!("{name} {}", judgement.reason),
            None => judgement.reason.clone(),
        });
    let mut parts: Vec<String> = told.collect();
    if bad.len() > MOST_TOLD {
        parts.push(format!("and {} more", bad.len() - MOST_TOLD));
    }
    match (parts.is_empty(), findings.nodes.as_slice()) {
        (false, _) => parts.join("; "),
        (true, [(facts, judgement)]) => format!("{} {}", facts.name, judgement.reason),
        (true, _) => well(findings),
    }
}

fn well(findings: &Findings) -> String {
    let primary = findings.cluster.primary.as_deref().unwrap_or("nobody");
    let nodes = findings.nodes.iter().map(|(facts, _)| facts);
    let replicas = nodes.filter(|facts| !facts.is_primary);
    let furthest = replicas.clone().filter_map(|facts| facts.most).max();
    let mut text = format!(
        "{primary} accepts writes, {} of {} replicas in rotation",
        findings.cluster.in_rotation,
        replicas.count()
    );
    if let Some(lag) = furthest {
        write!(text, ", at most {} behind", short_most(lag)).ok();
    }
    text
}

fn line(facts: &Facts, judgement: &Judgement) -> String {
    let mut text = format!(
        "{} {}: {}",
        facts.name,
        judgement.verdict.as_str(),
        judgement.reason
    );
    if facts.is_primary || facts.role.is_none() || facts.is_unreachable() {
        return text;
    }
    let place = match (facts.takes_reads(), facts.cause) {
        (true, _) => "takes reads".to_owned(),
        (false, Some(cause)) => format!("takes no reads ({cause})"),
        (false, None) => "takes no reads".to_owned(),
    };
    write!(text, "; {place}").ok();
    if let Some(bytes) = facts.bytes {
        write!(text, ", lacks {}", size(bytes)).ok();
    }
    text
}

/// `'label'=value[unit];warn;crit;min;max`, where what is unknown is `U`.
fn figures(findings: &Findings, limits: &Limits) -> String {
    let mut text = String::new();
    for (facts, _) in findings.nodes.iter().filter(|(facts, _)| !facts.is_primary) {
        let name = label(&facts.name);
        let (warn, crit) = (limits.warn.as_secs_f64(), limits.crit.as_secs_f64());
        let lag = facts.most.map(|lag| format!("{:.3}s", lag.as_secs_f64()));
        let lag = lag.unwrap_or_else(|| "U".to_owned());
        write!(text, " '{name}_staleness'={lag};{warn};{crit};0").ok();
        let limit = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        let bytes = facts.bytes.map(|bytes| format!("{bytes}B"));
        let bytes = bytes.unwrap_or_else(|| "U".to_owned());
        let (warn, crit) = (limit(limits.warn_bytes), limit(limits.crit_bytes));
        write!(text, " '{name}_bytes'={bytes};{warn};{crit};0").ok();
    }
    if findings.whole.is_some() || findings.nodes.len() > 1 {
        let least = match limits.min_replicas {
            None | Some(0) => String::new(),
            Some(least) => format!("{least}:"),
        };
        let serving = findings.cluster.in_rotation;
        write!(text, " 'in_rotation'={serving};;{least};0").ok();
    }
    text
}

/// A label may hold neither `=` nor `'`.
fn label(name: &str) -> String {
    let plain = |letter: char| match letter {
        '=' | '\'' | '|' => '_',
        letter => letter,
    };
    Printable(name).to_string().chars().map(plain).collect()
}

/// `|` begins the figures.
fn spoken(text: &str) -> String {
    Printable(text).to_string().replace('|', "/")
}

/// For programs.
#[derive(Debug, Serialize)]
struct Report<'a> {
    verdict: Verdict,
    exit_code: u8,
    summary: String,
    primary: Option<&'a str>,
    timeline: Option<u32>,
    in_rotation: usize,
    took_seconds: f64,
    nodes: Vec<NodeReport<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeReport<'a> {
    name: &'a str,
    verdict: Verdict,
    reason: &'a str,
    role: Option<&'static str>,
    is_primary: bool,
    membership: Option<&'static str>,
    cause: Option<&'static str>,
    staleness_seconds: Option<f64>,
    behind_at_least_seconds: Option<f64>,
    estimate_seconds: Option<f64>,
    commit_timestamp_seconds: Option<f64>,
    bytes_behind: Option<u64>,
    lsn: Option<&'a str>,
    stream: &'a Stream,
    paused: bool,
    error: Option<&'a Trouble>,
}

impl<'a> NodeReport<'a> {
    fn new((facts, judgement): &'a (Facts, Judgement)) -> Self {
        let seconds = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
        Self {
            name: &facts.name,
            verdict: judgement.verdict,
            reason: &judgement.reason,
            role: facts.role.map(lagwise::Role::as_str),
            is_primary: facts.is_primary,
            // A place in the rotation is what replicas have.
            membership: Some(facts.membership).filter(|_| !facts.is_primary),
            cause: facts.cause.filter(|_| !facts.is_primary),
            staleness_seconds: seconds(facts.most),
            behind_at_least_seconds: seconds(facts.least),
            estimate_seconds: seconds(facts.estimate),
            commit_timestamp_seconds: seconds(facts.by_commits),
            bytes_behind: facts.bytes,
            lsn: facts.lsn.as_deref(),
            stream: &facts.stream,
            paused: facts.paused,
            error: facts.trouble.as_ref(),
        }
    }
}

pub(crate) fn json(findings: &Findings) -> serde_json::Result<String> {
    let verdict = findings.verdict();
    let report = Report {
        verdict,
        exit_code: verdict.exit_code(),
        summary: summary(findings),
        primary: findings.cluster.primary.as_deref(),
        timeline: findings.cluster.timeline,
        in_rotation: findings.cluster.in_rotation,
        took_seconds: findings.took.as_secs_f64(),
        nodes: findings.nodes.iter().map(NodeReport::new).collect(),
    };
    Ok(serde_json::to_string(&report)? + "\n")
}

/// [`unchecked`] for programs.
pub(crate) fn unchecked_json(reason: &str) -> String {
    let verdict = Verdict::Unknown;
    let report = serde_json::json!({
        "verdict": verdict,
        "exit_code": verdict.exit_code(),
        "summary": reason,
        "nodes": [],
    });
    format!("{report}\n")
}

/// A pager shows a line.
const MOST_TOLD: usize = 3;
