//! Whether the log reaches the replicas, whether a break would be noticed, and what it is kept for.

use super::cluster::Cluster;
use super::examine::Found;
use super::finding::{Finding, Severity};
use super::seen::Slot;
use crate::format::size;

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in cluster.found() {
        let slots = found.seen.slots.iter();
        findings.extend(
            slots
                .filter_map(|slot| idle_slot(slot, found))
                .map(|f| f.on(name)),
        );
        findings.extend(deaf(found, SENDER).map(|finding| finding.on(name)));
        findings.extend(unrewindable(found).map(|finding| finding.on(name)));
    }
    let sender = cluster.primary().map(|(_, found)| found);
    for (name, found) in cluster.replicas() {
        let rules = [
            cut(found),
            deaf(found, RECEIVER),
            mute(found, sender),
            cascade(found),
        ];
        findings.extend(rules.into_iter().flatten().map(|finding| finding.on(name)));
    }
    findings
}

fn idle_slot(slot: &Slot, found: &Found) -> Option<Finding> {
    if slot.active {
        return None;
    }
    let name = &slot.name;
    let drop = format!(
        "SELECT pg_drop_replication_slot('{}');",
        name.replace('\'', "''")
    );
    if slot.wal_status.as_deref() == Some("lost") {
        let what = format!("the slot {name} has lost the log that it was to keep");
        let finding = Finding::new(Severity::Warning, "slot", what)
            .because("whoever used it cannot go on, and must be built anew: pg_basebackup");
        return Some(finding.mend("drop it, there:").command(drop));
    }
    let held = u64::try_from(slot.held?).unwrap_or_default();
    let limit = found.seen.settings.amount(KEEP).unwrap_or(-1.0);
    let endless = limit < 0.0;
    let severity = match endless && held >= MUCH {
        true => Severity::Problem,
        false => Severity::Warning,
    };
    let limit = match endless {
        true => "without a limit".to_owned(),
        false => format!("up to {}", found.seen.settings.text(KEEP)),
    };
    let what = format!(
        "nobody uses the slot {name}, which keeps {} of the log, {limit}",
        size(held)
    );
    let finding = Finding::new(severity, "slot", what)
        .because("the log is kept until its disk is full, and then the server stops");
    let finding = finding.mend("start whoever uses it, or drop it; and set a limit in any case:");
    Some(finding.command(drop).setting(KEEP, "10GB"))
}

const KEEP: &str = "max_slot_wal_keep_size";

/// It has been forgotten for a while.
const MUCH: u64 = 1 << 30;

const SENDER: &str = "wal_sender_timeout";
const RECEIVER: &str = "wal_receiver_timeout";

/// Whether a dead connection is noticed, and soon.
fn deaf(found: &Found, name: &str) -> Option<Finding> {
    let settings = &found.seen.settings;
    let timeout = settings.amount(name)?;
    let why = match timeout {
        none if none < f64::EPSILON => "a stream that breaks without a word is never noticed",
        late if late > LATE => "a stream that breaks without a word is noticed late",
        _ => return None,
    };
    let what = format!("{name} is {}", settings.text(name));
    let finding = Finding::new(Severity::Warning, "timeouts", what).because(why);
    Some(finding.mend_by_setting(name, "1min"))
}

/// Five times the default.
const LATE: f64 = 300.0;

const STATUS: &str = "wal_receiver_status_interval";

/// Whether a replica speaks before its sender gives it up.
fn mute(found: &Found, sender: Option<&Found>) -> Option<Finding> {
    let settings = &found.seen.settings;
    let interval = settings.amount(STATUS)?;
    let patience = sender.and_then(|sender| sender.seen.settings.amount(SENDER));
    let given_up = patience.is_some_and(|patience| patience > 0.0 && interval >= patience);
    let why = match interval {
        none if none < f64::EPSILON => "the primary does not know where the replica is",
        _ if given_up => "the primary gives the replica up while it has nothing to say",
        _ => return None,
    };
    let what = format!("{STATUS} is {}", settings.text(STATUS));
    let finding = Finding::new(Severity::Warning, "timeouts", what).because(why);
    Some(finding.mend_by_setting(STATUS, "10s"))
}

fn cut(found: &Found) -> Option<Finding> {
    let state = &found.seen.state;
    if state.receiver.streams() {
        return None;
    }
    if !state.receiver.runs && state.has_upstream == Some(false) {
        let what = "it is fed from an archive and does not stream";
        let finding = Finding::new(Severity::Warning, "stream", what)
            .because("it is late by what is not archived yet, a segment or archive_timeout");
        return Some(
            finding.mend("set primary_conninfo to the address of the primary, and reload"),
        );
    }
    let what = match &state.receiver.status {
        Some(status) => format!("its stream is broken: the receiver is {status}"),
        None => "it receives nothing: no receiver runs".to_owned(),
    };
    let finding =
        Finding::new(Severity::Problem, "stream", what).because("it falls behind with every write");
    Some(finding.mend(
        "look for \"could not\" in its log: the primary's address in primary_conninfo, a line for \
         replication in the primary's pg_hba.conf, a segment that was removed",
    ))
}

/// Others than the primary have replicas, too.
fn cascade(found: &Found) -> Option<Finding> {
    let standbys = found.seen.state.standbys;
    (standbys > 0).then(|| {
        let what = format!("{standbys} other replicas stream from it");
        Finding::new(Severity::Note, "cascade", what)
            .because("they are later than it is, and late when it is paused, stopped or gone")
            .mend("where that matters, let them stream from the primary: primary_conninfo")
    })
}

/// After a failover the old primary is a replica again only once it is rewound.
fn unrewindable(found: &Found) -> Option<Finding> {
    let settings = &found.seen.settings;
    let can = settings.is_on("wal_log_hints") || settings.is_on("data_checksums");
    (!can && !found.seen.state.in_recovery).then(|| {
        let what = "wal_log_hints and data checksums are off";
        Finding::new(Severity::Note, "rewind", what)
            .because("pg_rewind refuses: after a failover this server must be copied anew")
            .mend("this and a restart, there:")
            .command("ALTER SYSTEM SET wal_log_hints = on;")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;

    #[test]
    fn an_idle_slot_is_a_problem_once_it_keeps_much_without_a_limit() {
        let found = Found {
            seen: well(false),
            ..Found::default()
        };
        let slot = |active, held, wal_status: &str| Slot {
            name: "old".to_owned(),
            active,
            held,
            wal_status: Some(wal_status.to_owned()),
        };
        for (slot, severity) in [
            (slot(true, Some(1 << 40), "reserved"), None),
            (slot(false, None, "reserved"), None),
            (slot(false, Some(0), "reserved"), Some(Severity::Warning)),
            (
                slot(false, Some(1 << 31), "extended"),
                Some(Severity::Problem),
            ),
            (slot(false, None, "lost"), Some(Severity::Warning)),
        ] {
            let finding = idle_slot(&slot, &found);
            assert_eq!(
                finding.map(|finding| finding.severity),
                severity,
                "{slot:?}"
            );
        }
    }

    #[test]
    fn a_replica_without_a_stream_has_a_problem_unless_it_is_meant_to_have_none() {
        let with = |status: Option<&str>, has_upstream| {
            let mut seen = well(true);
            seen.state.receiver.runs = status.is_some();
            seen.state.receiver.status = status.map(str::to_owned);
            seen.state.has_upstream = has_upstream;
            let found = Found {
                seen,
                ..Found::default()
            };
            cut(&found).map(|finding| finding.severity)
        };
        assert_eq!(with(Some("streaming"), None), None);
        for status in [None, Some("waiting")] {
            assert_eq!(with(status, None), Some(Severity::Problem));
            assert_eq!(with(status, Some(true)), Some(Severity::Problem));
        }
        assert_eq!(with(None, Some(false)), Some(Severity::Warning));
    }
}
