//! Whether the nodes are one cluster, and each address one server.

use super::cluster::Cluster;
use super::examine::{Between, Examined};
use super::finding::{Finding, Severity};

pub(super) fn findings(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = primaries(cluster);
    findings.extend(cluster.nodes.iter().filter_map(|node| twin(cluster, node)));
    findings.extend(cluster.nodes.iter().filter_map(between));
    let reference = cluster.primary().or_else(|| cluster.found().next());
    let Some((reference, first)) = reference else {
        return findings;
    };
    for (name, found) in cluster.found() {
        let (ours, theirs) = (&first.seen.state, &found.seen.state);
        let version = (ours.version, theirs.version);
        if theirs.system != ours.system {
            findings.push(foreign(reference).on(name));
        }
        if let Some(finding) = skew(reference, version, &theirs.release) {
            findings.push(finding.on(name));
        }
    }
    findings
}

fn primaries(cluster: &Cluster) -> Vec<Finding> {
    // One of another cluster is no rival.
    let ours = cluster.primary().map(|(_, found)| found.seen.state.system);
    let rivals = cluster.primaries();
    let rivals = rivals.filter(|(_, found)| Some(found.seen.state.system) == ours);
    let names: Vec<&str> = rivals.map(|(name, _)| name).collect();
    let all_seen = cluster.nodes.iter().all(|node| node.outcome.is_ok());
    let mut findings = Vec::new();
    match names.as_slice() {
        [] if all_seen => findings.push(
            Finding::new(Severity::Problem, "no_primary", "all nodes are in recovery")
                .because("no node accepts writes")
                .mend("name the primary as well, or promote one, there:")
                .command("SELECT pg_promote();"),
        ),
        [] | [_] => {}
        several => {
            let what = format!("{} are out of recovery", several.join(" and "));
            findings.push(
                Finding::new(Severity::Problem, "two_primaries", what)
                    .because("what is written on one is missing on the other")
                    .mend("stop the one that must not be, and rewind it: pg_rewind"),
            );
        }
    }
    let servers = cluster.nodes.iter();
    let servers = servers.filter(|node| cluster.twin(node).is_none());
    let mistaken = servers.filter_map(mistaken);
    findings.extend(mistaken);
    findings
}

fn twin(cluster: &Cluster, node: &Examined) -> Option<Finding> {
    let first = cluster.twin(node)?.node.name();
    let what = format!("{} and {first} are the same server", node.node.name());
    let finding = Finding::new(Severity::Warning, "same_server", what)
        .because("it counts for two and takes the reads of two, and with it go both")
        .mend("name each server once: correct its URL, or leave it out");
    Some(finding.on(node.node.name()))
}

/// Roles are found by asking, so a wrong one does no harm but to people.
fn mistaken(node: &Examined) -> Option<Finding> {
    let recovers = node.found()?.seen.state.in_recovery;
    let (given, is) = match (node.node.role()?, recovers) {
        (lagwise::Role::Primary, true) => ("the primary", "a replica"),
        (lagwise::Role::Replica, false) => ("a replica", "a primary"),
        _ => return None,
    };
    let what = format!("it is given as {given} and is {is}");
    let finding = Finding::new(Severity::Note, "role", what)
        .because("roles are found by asking; whoever reads the settings is misled")
        .mend("swap them, or name all nodes as hosts of one URL");
    Some(finding.on(node.node.name()))
}

fn between(node: &Examined) -> Option<Finding> {
    let finding = match node.found()?.between {
        Between::Nothing => return None,
        Between::SessionPooler => Finding::new(
            Severity::Note,
            "pooler",
            "a pooler stands between, with a server connection for each client",
        )
        .because("there is one more hop and one more thing to fail; lagwise pools by itself")
        .mend("give the server's own address"),
        Between::TransactionPooler => Finding::new(
            Severity::Problem,
            "pooler",
            "a pooler stands between, whose clients share server connections",
        )
        .because(
            "prepared statements fail or cross over, and what a connection shows proves nothing of \
             the next statement on it",
        )
        .mend("give the server's own address, or set pool_mode = session in pgbouncer.ini"),
        Between::Balancer if node.node.is_balanced() => return None,
        Between::Balancer => Finding::new(
            Severity::Problem,
            "balancer",
            "its address leads to different servers",
        )
        .because("what the monitor is told by one of them says nothing of the others")
        .mend("give each server's own address, or set balanced = true for this one in the file"),
    };
    Some(finding.on(node.node.name()))
}

fn foreign(reference: &str) -> Finding {
    let what = format!("it holds the data of another cluster than {reference}");
    Finding::new(Severity::Problem, "system_identifier", what)
        .because("it is no copy, and is never read from")
        .mend("correct its URL, or build it anew: pg_basebackup")
}

fn skew(reference: &str, (ours, theirs): (i32, i32), release: &str) -> Option<Finding> {
    if theirs < OLDEST {
        let what = format!("it is PostgreSQL {release}");
        let finding = Finding::new(Severity::Problem, "version", what);
        return Some(
            finding
                .because("what lagwise asks is known from 14 on")
                .mend("upgrade it"),
        );
    }
    if theirs / 10_000 != ours / 10_000 {
        let what = format!("it is PostgreSQL {release}, of another major version than {reference}");
        let finding = Finding::new(Severity::Problem, "version", what)
            .because("a physical replica has the major version of its primary")
            .mend("upgrade the older one");
        return Some(finding);
    }
    (theirs != ours).then(|| {
        let what = format!("it is PostgreSQL {release}, of another minor version than {reference}");
        Finding::new(Severity::Note, "version", what)
            .because("that is well while one upgrades, replicas first")
            .mend("finish the upgrade")
    })
}

const OLDEST: i32 = 140_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::cluster::tests::well;

    fn topics(cluster: &Cluster) -> Vec<(&'static str, Severity)> {
        crate::doctor::cluster::tests::topics(&findings(cluster))
    }

    #[test]
    fn versions_may_differ_in_their_minor_part() {
        let mut cluster = Cluster::of(vec![well(false), well(true)]);
        assert_eq!(topics(&cluster), []);
        for (version, severity) in [
            (150_017, Severity::Note),
            (160_000, Severity::Problem),
            (130_000, Severity::Problem),
        ] {
            cluster.node_mut(1).seen.state.version = version;
            assert_eq!(topics(&cluster), [("version", severity)], "{version}");
        }
    }

    #[test]
    fn an_address_is_one_server_and_its_connections_are_ones_own() {
        let mut cluster = Cluster::of(vec![well(false), well(true)]);
        for (between, topic, severity) in [
            (Between::SessionPooler, "pooler", Severity::Note),
            (Between::TransactionPooler, "pooler", Severity::Problem),
            (Between::Balancer, "balancer", Severity::Problem),
        ] {
            cluster.node_mut(1).between = between;
            assert_eq!(topics(&cluster), [(topic, severity)]);
        }
    }

    #[test]
    fn exactly_one_node_accepts_writes() {
        let none = Cluster::of(vec![well(true), well(true)]);
        let missing = [("no_primary", Severity::Problem), ("role", Severity::Note)];
        assert_eq!(topics(&none), missing);
        let two = Cluster::of(vec![well(false), well(false)]);
        let many = [
            ("two_primaries", Severity::Problem),
            ("role", Severity::Note),
        ];
        assert_eq!(topics(&two), many);
        let mut one = two;
        one.node_mut(1).seen.state.started = 1;
        let twice = [("same_server", Severity::Warning)];
        assert_eq!(topics(&one), twice, "it is no rival of itself");
    }
}
