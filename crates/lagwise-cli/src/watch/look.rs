//! One look at the cluster, as the values that are shown.
//!
//! It is the router's own account, [`Cluster`], with durations as durations and positions as numbers.
//! Nothing is judged here; what was seen too long ago to speak of the present is unknown.

use std::sync::Arc;
use std::time::Duration;

use lagwise::status::{Cluster, Node};
use lagwise_core::{Instant, Lsn};

/// The cluster at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    pub(crate) primary: Option<Arc<str>>,
    pub(crate) primary_lost: Option<Duration>,
    pub(crate) timeline: Option<u32>,
    pub(crate) system: Option<String>,
    pub(crate) in_rotation: usize,
    pub(crate) max_lag: Duration,
    pub(crate) poll_interval: Duration,
    /// In the order in which they were given.
    pub(crate) nodes: Vec<NodeLook>,
}

/// One node of it.
#[derive(Clone, Debug)]
pub(crate) struct NodeLook {
    pub(crate) name: Arc<str>,
    pub(crate) role: Option<&'static str>,
    pub(crate) is_primary: bool,
    pub(crate) membership: &'static str,
    pub(crate) cause: Option<&'static str>,
    pub(crate) since: Duration,
    pub(crate) position: Option<Lsn>,
    pub(crate) bytes_behind: Option<u64>,
    /// The most that a read here can be behind.
    pub(crate) bound: Option<Duration>,
    /// How far it probably is behind.
    pub(crate) estimate: Option<Duration>,
    pub(crate) observed_ago: Option<Duration>,
    pub(crate) latency: Option<Duration>,
    pub(crate) weight: u16,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) balanced: bool,
}

impl Look {
    pub(crate) fn of(cluster: &Cluster, at: Instant) -> Self {
        let polls = duration(cluster.poll_interval_seconds).unwrap_or_default() * FRESH_POLLS;
        let present = Present {
            fresh_for: polls.max(FRESH_FOR),
            has_head: cluster.primary.is_some() && cluster.primary_lost_seconds.is_none(),
        };
        Self {
            at,
            primary: cluster.primary.clone(),
            primary_lost: cluster.primary_lost_seconds.and_then(duration),
            timeline: cluster.timeline,
            system: cluster.system_identifier.clone(),
            in_rotation: cluster.in_rotation,
            max_lag: duration(cluster.max_lag_seconds).unwrap_or_default(),
            poll_interval: duration(cluster.poll_interval_seconds).unwrap_or_default(),
            nodes: cluster
                .nodes
                .iter()
                .map(|node| NodeLook::of(node, present))
                .collect(),
        }
    }

    /// How many nodes are not the primary.
    pub(crate) fn replicas(&self) -> usize {
        self.nodes.iter().filter(|node| !node.is_primary).count()
    }

    pub(crate) fn node(&self, name: &str) -> Option<&NodeLook> {
        self.nodes.iter().find(|node| *node.name == *name)
    }
}

impl NodeLook {
    fn of(node: &Node, present: Present) -> Self {
        let observed_ago = node.observed_seconds_ago.and_then(duration);
        let fresh = observed_ago.is_some_and(|ago| ago <= present.fresh_for);
        let position = node.lsn.as_ref().and_then(|lsn| lsn.parse().ok());
        let bound = node.staleness_seconds.and_then(duration);
        // Of the node that writes, none of these is a question; and a distance to what is not known, or
        // of what is not proved to follow it, would be a number without a meaning.
        let comparable = fresh && !node.is_primary && present.has_head && bound.is_some();
        Self {
            name: Arc::clone(&node.name),
            role: node.role,
            is_primary: node.is_primary,
            membership: node.membership,
            cause: node.cause,
            since: duration(node.since_seconds).unwrap_or_default(),
            position: position.filter(|_| fresh),
            bytes_behind: node.bytes_behind.filter(|_| comparable),
            bound: bound.filter(|_| !node.is_primary),
            estimate: node
                .estimate_seconds
                .and_then(duration)
                .filter(|_| comparable),
            observed_ago,
            latency: node.latency_seconds.and_then(duration).filter(|_| fresh),
            weight: node.weight,
            zone: node.zone.clone(),
            balanced: node.balanced,
        }
    }

    /// When it was last asked with success.
    pub(crate) fn observed_at(&self, look: &Look) -> Option<Instant> {
        self.observed_ago.map(|ago| look.at.before(ago))
    }

    /// Whether it was taken out by hand, here.
    pub(crate) fn is_drained(&self) -> bool {
        self.cause == Some(lagwise::Cause::Drained.as_str())
    }

    /// Whether it is on its way to a membership that it will keep.
    pub(crate) fn is_settled(&self) -> bool {
        let unproved = self.cause == Some(lagwise::Cause::Unproved.as_str());
        self.is_primary || (!unproved && self.membership != "probation")
    }
}

/// What a look may speak of.
#[derive(Clone, Copy, Debug)]
struct Present {
    /// What was observed longer ago says nothing of it.
    fresh_for: Duration,
    /// Whether it is known where the primary stands now.
    has_head: bool,
}

fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// What was observed longer ago, in polls and in time, says nothing of the present.
const FRESH_POLLS: u32 = 5;
const FRESH_FOR: Duration = Duration::from_secs(1);
