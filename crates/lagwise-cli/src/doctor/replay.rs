//! What keeps replicas from replaying, and what replaying costs their readers.

use std::time::Duration;

use super::cluster::Cluster;
use super::examine::Found;
use super::finding::{Finding, Severity};
use crate::format::short;

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in cluster.replicas() {
        let rules = [
            delay(found, cluster.max_lag),
            pause(found),
            patience(found),
            conflicts(found),
        ];
        findings.extend(rules.into_iter().flatten().map(|finding| finding.on(name)));
    }
    for (name, found) in cluster.found() {
        findings.extend(bloat(found).into_iter().map(|finding| finding.on(name)));
    }
    findings
}

const DELAY: &str = "recovery_min_apply_delay";

fn delay(found: &Found, max_lag: Duration) -> Option<Finding> {
    let settings = &found.seen.settings;
    let delay = settings.amount(DELAY).filter(|delay| *delay > 0.0)?;
    let what = format!("{DELAY} is {}", settings.text(DELAY));
    let finding = if delay >= max_lag.as_secs_f64() {
        let what = format!("{what}, and max_lag {}", short(max_lag));
        Finding::new(Severity::Problem, "apply_delay", what)
            .because("it is always later than that, and so never takes reads")
    } else {
        Finding::new(Severity::Warning, "apply_delay", what)
            .because("every read of one's own write waits for that long or goes to the primary")
    };
    Some(finding.mend_by_setting(DELAY, "0"))
}

fn pause(found: &Found) -> Option<Finding> {
    let state = found.seen.state.replay_pause.as_deref()?;
    (state != "not paused").then(|| {
        Finding::new(Severity::Warning, "paused", "replay is paused")
            .because("it falls behind with every write, and takes no reads")
            .mend("after a change of max_connections, restart it; otherwise, there:")
            .command("SELECT pg_wal_replay_resume();")
    })
}

const PATIENCE: &str = "max_standby_streaming_delay";

fn patience(found: &Found) -> Option<Finding> {
    let delay = found.seen.settings.amount(PATIENCE)?;
    if delay < 0.0 {
        let finding = Finding::new(
            Severity::Warning,
            "standby_delay",
            format!("{PATIENCE} is -1"),
        )
        .because("one long query stops replay for as long as it runs, and the replica is late")
        .mend_by_setting(PATIENCE, "30s");
        return Some(finding);
    }
    (delay < f64::EPSILON).then(|| {
        Finding::new(
            Severity::Warning,
            "standby_delay",
            format!("{PATIENCE} is 0"),
        )
        .because("replay waits for no query: every conflict cancels one")
        .mend_by_setting(PATIENCE, "30s")
    })
}

const FEEDBACK: &str = "hot_standby_feedback";

fn conflicts(found: &Found) -> Option<Finding> {
    let (conflicts, settings) = (&found.seen.conflicts, &found.seen.settings);
    if conflicts.total() == 0 {
        return None;
    }
    let kinds = [
        (conflicts.snapshot, "by vacuum"),
        (conflicts.lock, "by locks of DDL"),
        (conflicts.bufferpin, "by buffer pins"),
        (conflicts.deadlock, "by deadlocks"),
        (conflicts.tablespace, "by dropped tablespaces"),
    ];
    let told: Vec<String> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {kind}"))
        .collect();
    let what = format!("replay has canceled queries: {}", told.join(", "));
    let finding = Finding::new(Severity::Warning, "conflicts", what)
        .because("they failed with 40001 for whoever does not try again elsewhere");
    let by_vacuum = conflicts.snapshot * 2 >= conflicts.total();
    let finding = if by_vacuum && !settings.is_on(FEEDBACK) {
        // Which has a price: what the replica reads is not vacuumed.
        finding.mend_by_setting(FEEDBACK, "on")
    } else {
        let delay = settings.text(PATIENCE);
        let mend = format!("shorten the queries, or let replay wait longer than {delay}, there:");
        finding.mend(mend).setting(PATIENCE, "2min")
    };
    Some(finding)
}

/// Feedback keeps the rows that a replica reads, on the primary.
fn bloat(found: &Found) -> Vec<Finding> {
    let old = found.seen.senders.iter().filter_map(|sender| {
        let age = sender.xmin_age.filter(|age| *age > OLD)?;
        Some((sender.name.as_deref().unwrap_or("a standby"), age))
    });
    old.map(|(name, age)| {
        let what = format!("vacuum spares what {name} reads since {age} transactions ago");
        Finding::new(Severity::Warning, "feedback", what)
            .because("tables grow for as long as a transaction stays open on the replica")
            .mend("look for old xact_start in pg_stat_activity of the replica, and end such there:")
            .setting("idle_in_transaction_session_timeout", "5min")
    })
    .collect()
}

/// Twenty times what autovacuum lets a small table gather.
const OLD: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;
    use crate::doctor::seen::{Conflicts, Sender};

    fn found(change: impl Fn(&mut Found)) -> Found {
        let mut found = Found {
            seen: well(true),
            ..Found::default()
        };
        change(&mut found);
        found
    }

    #[test]
    fn conflicts_by_vacuum_are_mended_by_feedback_and_others_by_patience() {
        let with = |snapshot, lock| {
            let conflicts = Conflicts {
                snapshot,
                lock,
                ..Conflicts::default()
            };
            conflicts_of(&found(|found| found.seen.conflicts = conflicts.clone()))
        };
        assert_eq!(with(0, 0), None);
        let vacuum = with(3, 1).expect("there are some");
        assert_eq!(
            vacuum.what,
            "replay has canceled queries: 3 by vacuum, 1 by locks of DDL"
        );
        assert!(
            vacuum.commands[0].contains("hot_standby_feedback = 'on'"),
            "{vacuum:?}"
        );
        let locks = with(0, 1).expect("there are some");
        assert!(
            locks.commands[0].contains("max_standby_streaming_delay"),
            "{locks:?}"
        );
    }

    fn conflicts_of(found: &Found) -> Option<Finding> {
        conflicts(found)
    }

    #[test]
    fn an_old_snapshot_of_a_replica_keeps_rows_on_the_primary() {
        let with = |xmin_age| {
            found(|found| {
                let name = Some("db-2".to_owned());
                found.seen.senders = vec![Sender {
                    name,
                    xmin_age,
                    ..Sender::default()
                }];
            })
        };
        assert_eq!(bloat(&with(None)), []);
        assert_eq!(bloat(&with(Some(1000))), []);
        let old = bloat(&with(Some(2_000_000)));
        assert!(old[0].what.contains("db-2 reads since 2000000"), "{old:?}");
    }
}
