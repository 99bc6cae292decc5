//! Every node at one instant, immutable.
//!
//! The monitor owns the truth; everybody else sees a snapshot of it. A snapshot ages: its as-of
//! instants stay true, because replay only advances, while staleness is always asked for a `now`.

mod lots;
mod nodes;

use alloc::sync::Arc;
use core::time::Duration;

pub(crate) use self::lots::Drawn;
pub use self::nodes::Nodes;

use crate::floor::{Reached, Sight};
use crate::history::{Sample, as_of};
use crate::lsn::Lsn;
use crate::membership::{Cause, Membership};
use crate::node::{Incarnation, NodeId, NodeSpec, Role, SystemId, Timeline, Weight};
use crate::observation::ServerStart;
use crate::policy::ValidPolicy;
use crate::position::Switch;
use crate::time::Instant;

/// What the monitor knew at one instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken.
    pub taken_at: Instant,
    /// The node that accepts writes, as last proved; none before one was found.
    pub primary: Option<NodeId>,
    /// Since when that node cannot be asked.
    pub primary_lost: Option<Instant>,
    /// The cluster.
    pub system: Option<SystemId>,
    /// The timeline that the primary writes.
    pub timeline: Option<Timeline>,
    /// The primary's newest position, and when it was asked for.
    pub head: Option<Sample>,
    /// Every node, by its [`NodeId`]; in the place of one that was removed, what is left of it.
    pub nodes: Nodes,
    /// The policy that the decisions are taken by.
    pub policy: Arc<ValidPolicy>,
    /// The promotions that were seen, oldest first.
    pub switches: Arc<[Switch]>,
    pub(crate) recent: Recent,
}

/// One node in a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeView {
    /// Which node.
    pub id: NodeId,
    /// What the configuration says of it.
    pub spec: Arc<NodeSpec>,
    /// What it is; unknown before the first observation.
    pub role: Option<Role>,
    /// Its place in the rotation.
    pub membership: Membership,
    /// Its present run.
    pub incarnation: Incarnation,
    /// When it was last asked with success, in this run.
    pub observed_at: Option<Instant>,
    /// Since when this run is known to be unbroken.
    pub runs_since: Option<Instant>,
    /// When its server was started, as last observed.
    pub started: Option<ServerStart>,
    /// Its position: replayed on a replica, inserted on the primary.
    pub lsn: Option<Lsn>,
    /// It is proved to show every commit acknowledged before this. Nothing is proved of a balanced
    /// node, whatever the monitor's own connection to it shows.
    pub as_of: Option<Instant>,
    /// It is proved to have passed where the primary stood at this instant. Before `as_of` while the
    /// primary writes nothing that anybody can see.
    pub passed: Option<Instant>,
    /// Its lag when it was observed, interpolated: for people.
    pub estimate: Option<Duration>,
    /// For how long, when it was last asked, it had lacked something that the primary had written:
    /// the least that it was behind, but for the length of a question. None while it is not known to
    /// lack anything. For people, and for whoever cannot wait for a proof.
    pub behind_for: Option<Duration>,
    /// How many bytes behind the primary's newest position it stands. This and the estimate are unknown
    /// while the primary cannot be asked, and of a node with another history.
    pub bytes_behind: Option<u64>,
    /// Whether it stands in the policy's zone, or the policy names none.
    pub near: bool,
    /// These two are its spec's: whoever judges the node need not go there.
    pub(crate) weight: Weight,
    pub(crate) balanced: bool,
}

impl NodeView {
    /// The most that a read here can be behind the primary; unknown where nothing is proved.
    #[must_use]
    pub fn staleness(&self, now: Instant) -> Option<Duration> {
        self.as_of.map(|as_of| now.since(as_of))
    }

    /// What it is proved to have reached.
    #[must_use]
    #[inline]
    pub fn reached(&self) -> Option<Reached> {
        Some(Reached {
            as_of: self.as_of?,
            passed: self.passed?,
        })
    }

    /// Whether it may be drawn: it is in rotation, and something is proved of it or assumed.
    pub(crate) const fn serves(&self) -> bool {
        self.membership.is_in_rotation() && (self.as_of.is_some() || self.balanced)
    }

    /// The node in its present run.
    #[must_use]
    pub const fn sight(&self) -> Sight {
        Sight {
            node: self.id,
            incarnation: self.incarnation,
        }
    }
}

impl Snapshot {
    /// The node of this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.nodes.get(id.index())
    }

    /// Every node that was not removed.
    pub fn present(&self) -> impl Iterator<Item = &NodeView> {
        let removed = |node: &NodeView| node.membership.cause() == Some(Cause::Removed);
        self.nodes.iter().filter(move |node| !removed(node))
    }

    /// Every one of them but the primary.
    pub fn replicas(&self) -> impl Iterator<Item = &NodeView> {
        self.present().filter(|node| Some(node.id) != self.primary)
    }

    /// How many replicas take reads.
    #[must_use]
    pub fn in_rotation(&self) -> usize {
        self.replicas()
            .filter(|node| node.membership.is_in_rotation())
            .count()
    }

    /// What a position read just now from a node of this snapshot proves.
    ///
    /// For a connection that was opened after the node was last observed: it must not inherit what
    /// an observation before a crash has shown.
    #[must_use]
    pub fn reached(&self, replay: Lsn) -> Option<Reached> {
        Some(Reached {
            as_of: as_of(self.recent.visible.iter(), replay)?,
            passed: as_of(self.recent.passed.iter(), replay)?,
        })
    }
}

/// The newest samples of both histories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    pub(crate) passed: Arc<[Sample]>,
    pub(crate) visible: Arc<[Sample]>,
}
