//! What a commit waits for, and what its readers may expect of that.

use super::cluster::Cluster;
use super::examine::Found;
use super::finding::{Finding, RELOAD, Severity};

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in cluster.primaries() {
        let rules = [read_only(found), synchronous(found)];
        findings.extend(rules.into_iter().flatten().map(|finding| finding.on(name)));
    }
    findings
}

fn read_only(found: &Found) -> Option<Finding> {
    found.seen.state.read_only.then(|| {
        let what = "default_transaction_read_only is on";
        Finding::new(Severity::Problem, "read_only", what)
            .because("it refuses to write, and is not taken for the primary")
            .mend("reset it, of the role where it is set for that; of the server:")
            .command("ALTER SYSTEM RESET default_transaction_read_only;")
            .command(RELOAD)
    })
}

const COMMIT: &str = "synchronous_commit";
const NAMES: &str = "synchronous_standby_names";

fn synchronous(found: &Found) -> Option<Finding> {
    let settings = &found.seen.settings;
    let (commit, names) = (settings.text(COMMIT), settings.text(NAMES));
    if commit == "off" {
        let what = format!("{COMMIT} is off");
        let finding = Finding::new(Severity::Note, "synchronous", what)
            .because(
                "a crash loses commits that were acknowledged, and replicas get them up to 600 ms \
                 later: reads of one's own writes wait that long, or go to the primary",
            )
            .mend_by_setting(COMMIT, "on");
        return Some(finding);
    }
    if names.is_empty() || commit == "local" {
        return None;
    }
    let is_waited_for = |state: Option<&str>| matches!(state, Some("sync" | "quorum"));
    let senders = found.seen.senders.iter();
    let present = senders
        .filter(|sender| is_waited_for(sender.sync_state.as_deref()))
        .count();
    if present == 0 && found.seen.state.sees_stats {
        let what = format!("{NAMES} is '{names}', and none of them streams");
        let finding = Finding::new(Severity::Problem, "synchronous", what)
            .because("every commit waits until one does, and no statement_timeout ends that")
            .mend_by_setting(NAMES, "");
        return Some(finding);
    }
    let (what, why) = match commit {
        "remote_apply" => (
            format!("{COMMIT} is remote_apply for '{names}'"),
            "a commit waits until those that are named show it; other replicas may still not",
        ),
        _ => (
            format!("{COMMIT} is {commit} for '{names}'"),
            "a commit waits until it is stored there, not until reads there show it: a synchronous \
             replica is read like any other, by position",
        ),
    };
    let mend = "nothing: this is what it means";
    Some(
        Finding::new(Severity::Note, "synchronous", what)
            .because(why)
            .mend(mend),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;
    use crate::doctor::seen::{Sender, Settings};

    #[test]
    fn what_a_commit_waits_for_is_told_and_a_wait_for_nobody_is_a_problem() {
        let with = |commit: &str, names: &str, states: &[&str]| {
            let mut seen = well(false);
            seen.settings = Settings::of(&[(COMMIT, commit, 0.0), (NAMES, names, 0.0)]);
            let sender = |state: &&str| Sender {
                sync_state: Some((*state).to_owned()),
                ..Sender::default()
            };
            seen.senders = states.iter().map(sender).collect();
            let found = Found {
                seen,
                ..Found::default()
            };
            synchronous(&found).map(|finding| finding.severity)
        };
        assert_eq!(with("on", "", &["async"]), None);
        assert_eq!(with("local", "*", &["async"]), None);
        assert_eq!(with("off", "", &["async"]), Some(Severity::Note));
        assert_eq!(with("on", "r1", &["async"]), Some(Severity::Problem));
        assert_eq!(with("on", "r1", &["async", "sync"]), Some(Severity::Note));
        let quorum = with("remote_apply", "ANY 1 (*)", &["quorum"]);
        assert_eq!(quorum, Some(Severity::Note));
    }
}
