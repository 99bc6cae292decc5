//! Findings for people, the worst first, and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::clocks;
use super::cluster::Cluster;
use super::examine::{Between, Found};
use super::finding::{Finding, Severity};
use crate::printable::Printable;

/// What is wrong, and nothing where nothing is.
pub(super) fn text(findings: &[Finding], colored: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let severity = painted(finding.severity, colored);
        let node = finding.node.as_deref().unwrap_or("the cluster");
        writeln!(
            text,
            "{severity} {}: {}",
            Printable(node),
            Printable(&finding.what)
        )
        .ok();
        writeln!(text, "    why:  {}", finding.why).ok();
        writeln!(text, "    mend: {}", Printable(&finding.mend)).ok();
        for command in &finding.commands {
            writeln!(text, "        {}", Printable(command)).ok();
        }
    }
    text
}

fn painted(severity: Severity, colored: bool) -> String {
    let color = match severity {
        Severity::Note => "36",
        Severity::Warning | Severity::Unseen => "33",
        Severity::Problem => "31",
    };
    match colored {
        true => format!("\u{1b}[{color}m{}\u{1b}[0m", severity.as_str()),
        false => severity.as_str().to_owned(),
    }
}

/// What was looked at.
pub(super) fn looked_at(cluster: &Cluster) -> String {
    let mut text = String::new();
    for looked in inspections(cluster) {
        writeln!(
            text,
            "looked at {}: {}",
            Printable(&looked.node),
            Printable(&looked.seen)
        )
        .ok();
    }
    writeln!(text, "looked for: {}", TOPICS.join(", ")).ok();
    text
}

#[derive(Debug, Serialize)]
struct Inspection {
    node: String,
    seen: String,
    clock_offset_seconds: Option<f64>,
    clock_error_seconds: Option<f64>,
}

fn inspections(cluster: &Cluster) -> Vec<Inspection> {
    let reference = cluster.primary().and_then(|(_, found)| found.clock);
    let inspection = |node: &super::examine::Examined| {
        let clock = node.found().and_then(|found| found.clock);
        let offset = reference
            .zip(clock)
            .map(|(ours, theirs)| clocks::offset(ours, theirs));
        Inspection {
            node: node.node.name().to_owned(),
            seen: node.found().map_or_else(|| "nothing".to_owned(), seen),
            clock_offset_seconds: offset.map(|(ahead, _)| ahead),
            clock_error_seconds: offset.map(|(_, error)| error),
        }
    };
    cluster.nodes.iter().map(inspection).collect()
}

fn seen(found: &Found) -> String {
    let state = &found.seen.state;
    let role = if state.in_recovery {
        "replica"
    } else {
        "primary"
    };
    let stream = match (state.in_recovery, state.receiver.streams()) {
        (false, _) => "",
        (true, true) => ", streaming",
        (true, false) => ", not streaming",
    };
    let between = match found.between {
        Between::Nothing => "directly",
        Between::SessionPooler => "through a pooler by session",
        Between::TransactionPooler => "through a pooler by transaction",
        Between::Balancer => "through a balancer",
    };
    let connections = state
        .connections
        .map_or_else(|| "?".to_owned(), |count| count.to_string());
    format!(
        "{role}{stream}, PostgreSQL {}, as {} {between}, {connections} of {} connections, {} slots, {} \
         queries canceled",
        state.release,
        state.role,
        found.seen.settings.text("max_connections"),
        found.seen.slots.len(),
        found.seen.conflicts.total()
    )
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    exit_code: u8,
    findings: &'a [Finding],
    looked_at: Vec<Inspection>,
    looked_for: &'a [&'a str],
}

pub(super) fn json(
    cluster: &Cluster,
    findings: &[Finding],
    exit_code: u8,
) -> serde_json::Result<String> {
    let report = Report {
        exit_code,
        findings,
        looked_at: inspections(cluster),
        looked_for: &TOPICS,
    };
    Ok(serde_json::to_string(&report)? + "\n")
}

/// All that findings may be about.
const TOPICS: [&str; 31] = [
    "apply_delay",
    "balancer",
    "cascade",
    "clock",
    "conflicts",
    "connections",
    "feedback",
    "history",
    "hot_standby",
    "no_primary",
    "paused",
    "pooler",
    "pools",
    "privileges",
    "read_only",
    "refused",
    "rewind",
    "role",
    "same_server",
    "slot",
    "smaller",
    "standby_delay",
    "stream",
    "superuser",
    "synchronous",
    "system_identifier",
    "timeouts",
    "tls",
    "two_primaries",
    "unreachable",
    "version",
];
