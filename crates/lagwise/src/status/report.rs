//! One look at the cluster, in the words and units in which it is told.
//!
//! Durations are seconds, positions are PostgreSQL's text. The decisions behind it are the monitor's;
//! here is only how they are written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Cause, Instant, NodeView};
use serde::Serialize;

use crate::backend::Backend;
use crate::clock;
use crate::node;
use crate::router::Router;

/// All nodes at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Cluster {
    /// The name of the node that accepts writes, once one was found.
    pub primary: Option<Arc<str>>,
    /// For how long that node has not been reached, if it cannot be.
    pub primary_lost_seconds: Option<f64>,
    /// The timeline that the primary writes.
    pub timeline: Option<u32>,
    /// The cluster's identifier. A text, since it needs more digits than numbers in JSON have.
    pub system_identifier: Option<String>,
    /// How many replicas take reads.
    pub in_rotation: usize,
    /// The lag beyond which a replica takes none.
    pub max_lag_seconds: f64,
    /// How often every node is asked.
    pub poll_interval_seconds: f64,
    /// The nodes, in the order in which they were given.
    pub nodes: Vec<Node>,
}

/// One node of a [`Cluster`].
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// `primary` or `replica`, as it says itself; absent before it was asked.
    pub role: Option<&'static str>,
    /// Whether it is the node that gets the writes.
    pub is_primary: bool,
    /// `primary`, or of all others `in_rotation`, `probation` or `ejected`.
    pub membership: &'static str,
    /// Why it takes no reads.
    pub cause: Option<&'static str>,
    /// For how long the membership has been what it is.
    pub since_seconds: f64,
    /// Its position: replayed on a replica, inserted on the primary.
    pub lsn: Option<String>,
    /// How many bytes of log it has not replayed.
    pub bytes_behind: Option<u64>,
    /// The most that a read here can be behind the primary; absent where nothing is proved.
    pub staleness_seconds: Option<f64>,
    /// The least that it was behind when it was last asked, in log that it had not replayed; absent
    /// where nothing is known to be lacking.
    pub behind_for_seconds: Option<f64>,
    /// Its lag when it was last asked, interpolated.
    pub estimate_seconds: Option<f64>,
    /// How long ago it last answered the monitor, in its present run.
    pub observed_seconds_ago: Option<f64>,
    /// How long its last answer to the monitor took.
    pub latency_seconds: Option<f64>,
    /// Its share of the reads, relative to others.
    pub weight: u16,
    /// Where it stands.
    pub zone: Option<Arc<str>>,
    /// Whether it is an address of several servers.
    pub balanced: bool,
    /// This process's connections to it.
    pub pool: Pool,
    /// How often this process has chosen it since it began, by the reason.
    pub routes: BTreeMap<&'static str, u64>,
}

/// The connections of this process to a node.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct Pool {
    /// Those that are open.
    pub connections: u32,
    /// Those of them that nobody uses.
    pub idle: u32,
    /// How many there can be.
    pub most: u32,
}

impl Cluster {
    /// What a router knows now.
    #[must_use]
    pub fn of<DB: Backend>(router: &Router<DB>) -> Self {
        let view = router.shared().published.load();
        let now = clock::now();
        let policy = &view.policy;
        let nodes = view.present().filter_map(|node| {
            let way = view.roster.get(node.id)?;
            Some(Node::new(node, way, view.primary == Some(node.id), now))
        });
        let primary = view.primary.and_then(|id| view.node(id));
        Self {
            primary: primary.map(|node| Arc::clone(&node.spec.name)),
            primary_lost_seconds: view.primary_lost.map(|since| ago(now, since)),
            timeline: view.timeline.map(lagwise_core::Timeline::as_u32),
            system_identifier: view.system.map(|system| system.as_u64().to_string()),
            in_rotation: view.in_rotation(),
            max_lag_seconds: policy.max_lag.as_secs_f64(),
            poll_interval_seconds: policy.poll_interval.as_secs_f64(),
            nodes: nodes.collect(),
        }
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| *node.name == *name)
    }
}

impl Node {
    fn new<DB: Backend>(
        node: &NodeView,
        way: &node::Node<DB>,
        is_primary: bool,
        now: Instant,
    ) -> Self {
        let idle = way.idle();
        // Of the primary, all else would say only that it is no replica.
        let matters = |cause: &Cause| !is_primary || *cause == Cause::Drained;
        let cause = node.membership.cause().filter(matters);
        Self {
            name: Arc::clone(&node.spec.name),
            role: node.role.map(lagwise_core::Role::as_str),
            is_primary,
            membership: if is_primary {
                "primary"
            } else {
                node.membership.as_str()
            },
            cause: cause.map(Cause::as_str),
            since_seconds: ago(now, node.membership.since()),
            lsn: node.lsn.map(|lsn| lsn.to_string()),
            bytes_behind: node.bytes_behind,
            staleness_seconds: node.staleness(now).map(|staleness| staleness.as_secs_f64()),
            behind_for_seconds: node.behind_for.map(|least| least.as_secs_f64()),
            estimate_seconds: node.estimate.map(|estimate| estimate.as_secs_f64()),
            observed_seconds_ago: node.observed_at.map(|then| ago(now, then)),
            latency_seconds: way
                .load
                .last_round_trip()
                .map(|latency| latency.as_secs_f64()),
            weight: node.spec.weight.as_u16(),
            zone: node.spec.zone.clone(),
            balanced: node.spec.balanced,
            pool: Pool {
                connections: way.pool.size(),
                idle,
                most: way.pool.options().get_max_connections(),
            },
            routes: way
                .tally
                .counts()
                .map(|(reason, count)| (reason.as_str(), count))
                .collect(),
        }
    }
}

fn ago(now: Instant, then: Instant) -> f64 {
    let age: Duration = now.since(then);
    age.as_secs_f64()
}
