//! Everything that can happen to a cluster, one variant each.
//!
//! Events are the one account of what changed; logs, metrics and people subscribe to them.

use core::fmt;

use crate::membership::Cause;
use crate::node::{NodeId, Role, SystemId, Timeline};
use crate::observation::ProbeFailure;

/// A change in what the monitor knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A node was taken out of rotation by hand.
    Drained {
        /// The node.
        node: NodeId,
    },
    /// A replica was taken out of rotation.
    Ejected {
        /// The replica.
        node: NodeId,
        /// Why.
        cause: Cause,
    },
    /// A new history of the primary's positions began: nothing is proved until replicas pass it.
    HistoryBegun {
        /// The cluster.
        system: SystemId,
        /// The timeline.
        timeline: Timeline,
    },
    /// A node was added.
    NodeAdded {
        /// The node.
        node: NodeId,
    },
    /// A node was removed. Its id may go to another one.
    NodeRemoved {
        /// What was the node.
        node: NodeId,
    },
    /// The policy is another one.
    PolicyChanged,
    /// The node that accepts writes is known, and can be asked.
    PrimaryFound {
        /// The node.
        node: NodeId,
        /// The timeline that it writes.
        timeline: Timeline,
    },
    /// The node that accepts writes cannot be asked.
    PrimaryLost {
        /// The node.
        node: NodeId,
    },
    /// A probe failed. Said once for each run of failures of one kind.
    ProbeFailed {
        /// The node.
        node: NodeId,
        /// How.
        failure: ProbeFailure,
    },
    /// A replica takes reads: for the first time, or again.
    Readmitted {
        /// The replica.
        node: NodeId,
        /// What it had left for; `Unproved` the first time.
        after: Cause,
    },
    /// A second node of the cluster accepts writes: on the primary's timeline, so that nothing
    /// tells them apart, or still on an older one. It gets none.
    Rival {
        /// The node that gets no writes.
        node: NodeId,
    },
    /// A node's role is another than before.
    RoleChanged {
        /// The node.
        node: NodeId,
        /// What it was, where it had been seen.
        from: Option<Role>,
        /// What it is.
        to: Role,
    },
    /// A drained node may prove itself again.
    Undrained {
        /// The node.
        node: NodeId,
    },
}

impl Event {
    /// The node that it happened to.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        match *self {
            Self::Drained { node }
            | Self::Ejected { node, .. }
            | Self::NodeAdded { node }
            | Self::NodeRemoved { node }
            | Self::PrimaryFound { node, .. }
            | Self::PrimaryLost { node }
            | Self::ProbeFailed { node, .. }
            | Self::Readmitted { node, .. }
            | Self::Rival { node }
            | Self::RoleChanged { node, .. }
            | Self::Undrained { node } => Some(node),
            Self::HistoryBegun { .. } | Self::PolicyChanged => None,
        }
    }

    /// The event's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Drained { .. } => "drained",
            Self::Ejected { .. } => "ejected",
            Self::HistoryBegun { .. } => "history_begun",
            Self::NodeAdded { .. } => "node_added",
            Self::NodeRemoved { .. } => "node_removed",
            Self::PolicyChanged => "policy_changed",
            Self::PrimaryFound { .. } => "primary_found",
            Self::PrimaryLost { .. } => "primary_lost",
            Self::ProbeFailed { .. } => "probe_failed",
            Self::Readmitted { .. } => "readmitted",
            Self::Rival { .. } => "rival",
            Self::RoleChanged { .. } => "role_changed",
            Self::Undrained { .. } => "undrained",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Ejected { cause, .. } => write!(f, ": {cause}"),
            Self::HistoryBegun { timeline, .. } | Self::PrimaryFound { timeline, .. } => {
                write!(f, ": timeline {}", timeline.as_u32())
            }
            Self::ProbeFailed { failure, .. } => write!(f, ": {failure}"),
            Self::Readmitted { after, .. } => write!(f, ": was {after}"),
            Self::RoleChanged {
                from: Some(from),
                to,
                ..
            } => write!(f, ": {from} to {to}"),
            Self::RoleChanged { from: None, to, .. } => write!(f, ": {to}"),
            Self::Drained { .. }
            | Self::NodeAdded { .. }
            | Self::NodeRemoved { .. }
            | Self::PolicyChanged
            | Self::PrimaryLost { .. }
            | Self::Rival { .. }
            | Self::Undrained { .. } => Ok(()),
        }
    }
}
