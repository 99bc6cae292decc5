//! All nodes as they were found, for the rules that compare them.

use std::time::Duration;

use super::examine::{Examined, Found};

/// Everything that rules may look at.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Examined>,
    /// The lag beyond which a replica takes no reads.
    pub(crate) max_lag: Duration,
    /// How many connections a process opens to each node at most.
    pub(crate) pool: u32,
    /// How many processes there are.
    pub(crate) instances: u32,
}

impl Cluster {
    /// Every server that could be looked at, under the first of its names.
    pub(crate) fn found(&self) -> impl Iterator<Item = (&str, &Found)> {
        let nodes = self.nodes.iter();
        let first = nodes.filter(|node| self.twin(node).is_none());
        first.filter_map(|node| Some((node.node.name(), node.found()?)))
    }

    /// The node before this one that is the same server: no two of one cluster have been started at the
    /// same microsecond.
    pub(crate) fn twin(&self, node: &Examined) -> Option<&Examined> {
        let server = node.server()?;
        let before = self
            .nodes
            .iter()
            .take_while(|other| !std::ptr::eq(*other, node));
        let mut twins = before.filter(|other| other.server() == Some(server));
        twins.next()
    }

    /// Those that accept writes, or would.
    pub(crate) fn primaries(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.found()
            .filter(|(_, found)| !found.seen.state.in_recovery)
    }

    pub(crate) fn primary(&self) -> Option<(&str, &Found)> {
        self.primaries().next()
    }

    pub(crate) fn replicas(&self) -> impl Iterator<Item = (&str, &Found)> {
        self.found()
            .filter(|(_, found)| found.seen.state.in_recovery)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lagwise::Role;
    use lagwise::config::Config;

    use super::*;
    use crate::doctor::finding::{Finding, Severity};
    use crate::doctor::seen::{Receiver, Seen, Settings, State};

    /// What findings are about, and how much it matters.
    pub(crate) fn topics(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
        let topic = |finding: &Finding| (finding.topic, finding.severity);
        findings.iter().map(topic).collect()
    }

    /// A server as it should be.
    pub(crate) fn well(in_recovery: bool) -> Seen {
        let settings = [
            ("max_connections", "100", 100.0),
            ("superuser_reserved_connections", "3", 3.0),
            ("wal_sender_timeout", "1min", 60.0),
            ("wal_receiver_timeout", "1min", 60.0),
            ("wal_receiver_status_interval", "10s", 10.0),
            ("max_standby_streaming_delay", "30s", 30.0),
            ("recovery_min_apply_delay", "0", 0.0),
            ("max_slot_wal_keep_size", "-1", -1.0),
            ("wal_log_hints", "on", 0.0),
            ("synchronous_commit", "on", 0.0),
        ];
        Seen {
            state: State {
                version: 150_018,
                release: "15.18".to_owned(),
                in_recovery,
                system: 1,
                sees_stats: true,
                role: "app".to_owned(),
                receiver: Receiver {
                    runs: in_recovery,
                    status: in_recovery.then(|| "streaming".to_owned()),
                    timeline: in_recovery.then_some(1),
                    is_at_end: in_recovery,
                },
                timeline: (!in_recovery).then_some(1),
                read_only: in_recovery,
                ..State::default()
            },
            settings: Settings::of(&settings),
            ..Seen::default()
        }
    }

    impl Cluster {
        /// A primary, `db-1`, and its replicas, `db-2` and so on.
        pub(crate) fn of(seen: Vec<Seen>) -> Self {
            let mut config = Config::new();
            for place in 0..seen.len() {
                let role = [Role::Primary, Role::Replica][place.min(1)];
                let name = format!("db-{}", place + 1);
                let url = format!("postgres://app@{name}/shop");
                config.add(role, Some(&name), &url).expect("it is well");
            }
            let started = seen.into_iter().zip(1..).map(|(mut seen, started)| {
                seen.state.started = started;
                seen
            });
            let nodes = config.nodes().iter().cloned().zip(started);
            let examined = |(node, seen)| Examined {
                node,
                outcome: Ok(Found {
                    seen,
                    ..Found::default()
                }),
            };
            Self {
                nodes: nodes.map(examined).collect(),
                max_lag: Duration::from_secs(1),
                pool: 10,
                instances: 1,
            }
        }

        pub(crate) fn node_mut(&mut self, place: usize) -> &mut Found {
            self.nodes[place].outcome.as_mut().expect("it was found")
        }
    }
}
