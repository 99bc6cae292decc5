//! Every figure that `/metrics` shows: its name, what it says, and where it comes from.
//!
//! Where a service that routes has a figure of the same meaning, the name is the same: a dashboard
//! serves both. `None` is a figure that the thing does not have, and NaN one that is not known; neither
//! is zero.

use lagwise::status::{Cluster, Node};

use super::exposition::{Family, Kind};
use crate::vitals::Vitals;

/// What is read off something, for one family.
pub(super) type Reading<T> = (Family, fn(&T) -> Option<f64>);

/// Of the whole cluster.
pub(super) const CLUSTER: [Reading<Cluster>; 6] = [
    (
        gauge(
            "lagwise_primary_available",
            "1 while there is a primary that answers.",
        ),
        |cluster| yes(cluster.primary.is_some() && cluster.primary_lost_seconds.is_none()),
    ),
    (
        gauge(
            "lagwise_primary_lost_seconds",
            "For how long the primary has not answered; absent while it does.",
        ),
        |cluster| cluster.primary_lost_seconds,
    ),
    (
        gauge("lagwise_timeline", "The timeline that the primary writes."),
        |cluster| cluster.timeline.map(f64::from),
    ),
    (
        gauge(
            "lagwise_replicas_in_rotation",
            "How many replicas take reads.",
        ),
        |cluster| u32::try_from(cluster.in_rotation).ok().map(f64::from),
    ),
    (
        gauge(
            "lagwise_max_lag_seconds",
            "The lag beyond which a replica takes no reads.",
        ),
        |cluster| Some(cluster.max_lag_seconds),
    ),
    (
        gauge(
            "lagwise_poll_interval_seconds",
            "How often every node is asked.",
        ),
        |cluster| Some(cluster.poll_interval_seconds),
    ),
];

/// Of each node, by the monitor.
pub(super) const NODES: [Reading<Node>; 10] = [
    (
        gauge("lagwise_node_up", "1 while the node answers the monitor."),
        |node| yes(node.observed_seconds_ago.is_some()),
    ),
    (
        gauge(
            "lagwise_node_is_primary",
            "1 for the node that gets the writes.",
        ),
        |node| yes(node.is_primary),
    ),
    (
        gauge(
            "lagwise_replica_in_rotation",
            "1 while the replica takes reads.",
        ),
        |node| of_replica(node, || yes(node.membership == "in_rotation")),
    ),
    (
        gauge(
            "lagwise_replica_staleness_bound_seconds",
            "The most that a read there can be behind the primary. NaN while nothing is proved.",
        ),
        |node| of_replica(node, || known(node.staleness_seconds)),
    ),
    (
        gauge(
            "lagwise_replica_lag_estimate_seconds",
            "The interpolated lag at the last observation. NaN while unknown.",
        ),
        |node| of_replica(node, || known(node.estimate_seconds)),
    ),
    (
        gauge(
            "lagwise_replica_lag_bytes",
            "How many bytes of log the replica has not replayed. NaN while unknown.",
        ),
        |node| of_replica(node, || known(node.bytes_behind.map(float))),
    ),
    (
        gauge(
            "lagwise_node_membership_age_seconds",
            "For how long the membership has been what it is.",
        ),
        |node| Some(node.since_seconds),
    ),
    (
        gauge(
            "lagwise_node_observation_age_seconds",
            "How long ago the node last answered the monitor; absent while it does not.",
        ),
        |node| node.observed_seconds_ago,
    ),
    (
        gauge(
            "lagwise_probe_last_duration_seconds",
            "How long its last answer to the monitor took; absent while it does not answer.",
        ),
        |node| node.observed_seconds_ago.and(node.latency_seconds),
    ),
    (
        Family {
            name: "lagwise_node_wal_bytes",
            kind: Kind::Counter,
            help: "Its position in the log: replayed on a replica, inserted on the primary.",
        },
        |node| node.lsn.as_deref().and_then(position),
    ),
];

/// Of each server, by itself.
pub(super) const SERVERS: [Reading<Vitals>; 7] = [
    (
        gauge(
            "lagwise_server_connections",
            "Connections of all clients to the server.",
        ),
        |vitals| vitals.connections.map(f64::from),
    ),
    (
        gauge(
            "lagwise_server_connections_limit",
            "The server's max_connections.",
        ),
        |vitals| Some(f64::from(vitals.max_connections)),
    ),
    (
        Family {
            name: "lagwise_server_conflicts",
            kind: Kind::Counter,
            help: "Queries that replay has canceled on the server, of all clients.",
        },
        |vitals| {
            vitals
                .conflicts
                .and_then(|count| u64::try_from(count).ok())
                .map(float)
        },
    ),
    (
        gauge(
            "lagwise_server_stream_up",
            "1 while the replica has a receiver of the log.",
        ),
        |vitals| {
            vitals
                .in_recovery
                .then_some(f64::from(u8::from(vitals.receiving)))
        },
    ),
    (
        gauge(
            "lagwise_server_stream_heard_age_seconds",
            "How long ago the replica's receiver last heard from its sender; absent to a role that may not see it.",
        ),
        |vitals| vitals.heard_seconds_ago,
    ),
    (
        gauge(
            "lagwise_server_standbys",
            "How many standbys stream from the server.",
        ),
        |vitals| u32::try_from(vitals.senders).ok().map(f64::from),
    ),
    (
        gauge(
            "lagwise_server_replay_paused",
            "1 while replay is paused, or is to be.",
        ),
        |vitals| {
            vitals
                .replay_pause
                .as_deref()
                .map(|state| f64::from(u8::from(state != "not paused")))
        },
    ),
];

/// 1 for the membership that a node has.
pub(super) const MEMBERSHIP: Family = gauge(
    "lagwise_node_membership",
    "1 for what the node is: in_rotation, probation, ejected with the cause, or primary.",
);

/// Whether a server has said in the last round what the monitor does not ask.
pub(super) const SERVER_ANSWERED: Family = gauge(
    "lagwise_server_answered",
    "1 if the server was asked for its own figures with success in the last seconds.",
);

pub(super) const SERVER: Family = Family {
    name: "lagwise_server",
    kind: Kind::Info,
    help: "The version of each server.",
};

pub(super) const EVENTS: Family = Family {
    name: "lagwise_events",
    kind: Kind::Counter,
    help: "Changes of the cluster.",
};

pub(super) const BUILD: Family = Family {
    name: "lagwise_build",
    kind: Kind::Info,
    help: "The version of this program.",
};

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        help,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is a figure that is there")]
fn yes(holds: bool) -> Option<f64> {
    Some(f64::from(u8::from(holds)))
}

fn known(figure: Option<f64>) -> Option<f64> {
    figure.or(Some(f64::NAN))
}

/// The primary is behind nobody, and no replica.
fn of_replica(node: &Node, read: impl FnOnce() -> Option<f64>) -> Option<f64> {
    if node.is_primary { None } else { read() }
}

/// `16/B374D848`, in bytes.
fn position(lsn: &str) -> Option<f64> {
    let (high, low) = lsn.split_once('/')?;
    let [high, low] = [high, low].map(|part| u32::from_str_radix(part, 16).ok());
    Some(float(u64::from(high?) << 32 | u64::from(low?)))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure has 53 bits; below 8 PiB it is exact"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}
