//! Whether there is room for everybody's connections, and for what the primary allows itself.

use super::cluster::Cluster;
use super::examine::Found;
use super::finding::{Finding, Severity};

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in cluster.found() {
        let rules = [pools(cluster, found), crowd(found)];
        findings.extend(rules.into_iter().flatten().map(|finding| finding.on(name)));
    }
    let Some((_, primary)) = cluster.primary() else {
        return findings;
    };
    for (name, found) in cluster.replicas() {
        let smaller = COPIED
            .iter()
            .filter_map(|setting| smaller(setting, primary, found));
        findings.extend(smaller.map(|finding| finding.on(name)));
    }
    findings
}

const CONNECTIONS: &str = "max_connections";

/// The pools of all processes and the connections of their monitors, against what is there for them.
fn pools(cluster: &Cluster, found: &Found) -> Option<Finding> {
    let wanted = f64::from(cluster.instances) * f64::from(cluster.pool.saturating_add(MONITOR));
    let all = found.seen.settings.amount(CONNECTIONS)?;
    let free = all - reserved(found);
    (wanted > free).then(|| {
        let what = format!(
            "{} processes with {} connections each and {MONITOR} of the monitor are {wanted}, and \
             {CONNECTIONS} leaves {free}",
            cluster.instances, cluster.pool
        );
        let each = (free / f64::from(cluster.instances.max(1))).floor() - f64::from(MONITOR);
        let mend = format!(
            "[pool] max_connections = {} in the file; or, replicas first, this and a restart:",
            each.max(1.0)
        );
        let needed = (wanted + reserved(found)).ceil();
        Finding::new(Severity::Warning, "pools", what)
            .because("under load the last ones are refused: too many clients already")
            .mend(mend)
            .command(format!("ALTER SYSTEM SET {CONNECTIONS} = '{needed}';"))
    })
}

/// One connection to each node is the monitor's.
const MONITOR: u32 = 1;

fn reserved(found: &Found) -> f64 {
    ["superuser_reserved_connections", "reserved_connections"]
        .iter()
        .filter_map(|name| found.seen.settings.amount(name))
        .sum()
}

/// It is nearly full already.
fn crowd(found: &Found) -> Option<Finding> {
    let used = f64::from(found.seen.state.connections?);
    let free = found.seen.settings.amount(CONNECTIONS)? - reserved(found);
    (used >= free * 0.9).then(|| {
        let what = format!("{used} of {free} connections are in use");
        Finding::new(Severity::Warning, "connections", what)
            .because("soon the next one is refused: too many clients already")
            .mend("smaller pools, or a larger max_connections and a restart")
    })
}

/// Settings that a standby must have at least as large as its primary. See "Hot Standby", section
/// "Administrator's Overview".
const COPIED: [&str; 5] = [
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
];

fn smaller(name: &str, primary: &Found, replica: &Found) -> Option<Finding> {
    let ours = replica.seen.settings.amount(name)?;
    let needed = primary.seen.settings.amount(name)?;
    (ours < needed).then(|| {
        let what = format!("{name} is {ours}, and {needed} on the primary");
        Finding::new(Severity::Problem, "smaller", what)
            .because("replay pauses, and after a restart the server does not start")
            .mend("this and a restart, there:")
            .command(format!("ALTER SYSTEM SET {name} = '{needed}';"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;

    #[test]
    fn pools_of_all_processes_fit_into_each_server() {
        let mut cluster = Cluster::of(vec![well(false)]);
        for (instances, count) in [(1, 0), (8, 0), (9, 1)] {
            cluster.instances = instances;
            assert_eq!(
                findings(&cluster).len(),
                count,
                "{instances} of 11, and 97 are free"
            );
        }
        let finding = findings(&cluster).remove(0);
        assert!(
            finding
                .what
                .contains("are 99, and max_connections leaves 97"),
            "{finding:?}"
        );
        assert!(
            finding.mend.contains("max_connections = 9 in the file"),
            "{finding:?}"
        );
        assert_eq!(
            finding.commands,
            ["ALTER SYSTEM SET max_connections = '102';"]
        );
        cluster.instances = 1;
        cluster.node_mut(0).seen.state.connections = Some(90);
        assert_eq!(findings(&cluster)[0].topic, "connections");
    }
}
