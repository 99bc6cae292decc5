//! Chooses a node for a read, and says why, or why none.
//!
//! Selection is a pure function of the requirement, the snapshot, the time and two random numbers,
//! so that any decision can be repeated and explained. It keeps one rule: a replica is eligible only
//! if it is in rotation *and* is proved to meet the whole requirement. What a read does when none is
//! eligible is decided in [`fallback`]; opening connections is nobody's business here.

mod eligible;
mod fallback;
mod lottery;
mod p2c;

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use self::eligible::judge;
pub use self::eligible::{Rejection, recheck, recheck_assumed, recheck_fresh};
pub use self::fallback::{Step, next_step, without_primary};
use self::p2c::Draw;
use crate::node::{NodeId, Weight};
use crate::random::Random;
use crate::requirement::{Fallback, Requirement};
use crate::snapshot::{NodeView, Snapshot};
use crate::time::Instant;

/// What a read asks of a selection.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a request is made of these and nothing else"
)]
pub struct Request<'a> {
    /// What the node must be proved to have.
    pub requirement: Requirement,
    /// What it does when no replica has it.
    pub fallback: Fallback,
    /// Until when it may wait for one that has.
    pub wait_until: Instant,
    /// Nodes that have failed this read already.
    pub failed: &'a [NodeId],
}

/// How busy and how slow each node is: the number that two candidates are compared by.
pub trait Loads {
    /// In-flight reads times peak latency; the lower is chosen.
    fn cost(&self, node: NodeId) -> u64;
}

impl<F: Fn(NodeId) -> u64> Loads for F {
    fn cost(&self, node: NodeId) -> u64 {
        self(node)
    }
}

/// A replica that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// It is proved to show every commit acknowledged before this; none of a balanced node.
    pub as_of: Option<Instant>,
    /// The most that a read here can be behind the primary; [`Duration::MAX`] where nothing is proved.
    pub staleness: Duration,
}

/// The outcome of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is a replica or there is none"
)]
pub enum Selection {
    /// This replica.
    Replica(Candidate),
    /// No replica, and why each of them was rejected.
    None(Rejections),
}

/// Why each node was rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejections(Vec<(NodeId, Rejection)>);

impl Rejections {
    /// Every node and its rejection.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, Rejection)> {
        self.0.iter().copied()
    }

    /// Whether there was no replica to reject.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a read went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A replica in rotation met the requirement.
    Eligible,
    /// The caller asked for the primary.
    Asked,
    /// No replica is configured.
    NoReplica,
    /// Every replica is out of rotation.
    NoneInRotation,
    /// No replica in rotation has what the session wrote or saw.
    BehindFloor,
    /// No replica in rotation is proved to be within the bound.
    BeyondBound,
    /// Every replica that would have done has failed this read.
    Failed,
    /// The freshest replica serves, although it is out of rotation.
    Freshest,
    /// A replica that is out for its lag serves a read that stated nothing: most of them are out so,
    /// and the primary cannot take it.
    Panic,
    /// In dry mode everything is read from the primary: a replica would have been looked for.
    DryRun,
    /// A write, or a transaction that may write.
    Write,
    /// A statement outside of any session.
    OutsideSession,
    /// A replica refused the statement as a write.
    RefusedByReplica,
}

impl Reason {
    /// Every reason, each in the place of its [`index`](Self::index).
    pub const ALL: [Self; 13] = [
        Self::Eligible,
        Self::Asked,
        Self::NoReplica,
        Self::NoneInRotation,
        Self::BehindFloor,
        Self::BeyondBound,
        Self::Failed,
        Self::Freshest,
        Self::Panic,
        Self::DryRun,
        Self::Write,
        Self::OutsideSession,
        Self::RefusedByReplica,
    ];

    /// The reason's place among [`ALL`](Self::ALL), to count by.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::BehindFloor => "behind_floor",
            Self::BeyondBound => "beyond_bound",
            Self::DryRun => "dry_run",
            Self::Eligible => "eligible",
            Self::Failed => "failed",
            Self::Freshest => "freshest",
            Self::NoReplica => "no_replica",
            Self::NoneInRotation => "none_in_rotation",
            Self::OutsideSession => "outside_session",
            Self::Panic => "panic",
            Self::RefusedByReplica => "refused_by_replica",
            Self::Write => "write",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Chooses a replica for a read.
///
/// Of the eligible replicas in the policy's zone, or of all if there are none, two are drawn by
/// weight and the cheaper one is taken. See [`Loads`] for the cost. Where the read needs what its
/// session wrote or saw, a balanced node serves only if no other is eligible: a proof goes before a
/// guess.
///
/// ```
/// use lagwise_core::{
///     Fallback, Instant, Monitor, NodeSpec, Policy, Request, Requirement, Role, Selection, select,
/// };
///
/// let now = Instant::from_nanos(0);
/// let nodes = [NodeSpec::new("db-1", Role::Primary), NodeSpec::new("db-2", Role::Replica)];
/// let monitor = Monitor::new(now, Policy::default().validate()?, nodes);
/// let request = Request {
///     requirement: Requirement::any(),
///     fallback: Fallback::Primary,
///     wait_until: now,
///     failed: &[],
/// };
///
/// let selection = select(&monitor.snapshot(now), request, now, &|_| 0, &mut || 0);
/// assert!(matches!(selection, Selection::None(_)), "a node that was never seen serves nobody");
/// # Ok::<(), lagwise_core::PolicyError>(())
/// ```
#[must_use]
pub fn select(
    snapshot: &Snapshot,
    request: Request<'_>,
    now: Instant,
    loads: &impl Loads,
    random: &mut impl Random,
) -> Selection {
    let draw = Draw {
        snapshot,
        now,
        loads,
    };
    let found = draw.soon(&request, random);
    match found.or_else(|| look_at_all(&draw, &request, random)) {
        Some(node) => Selection::Replica(candidate(node, now)),
        None => Selection::None(rejections(snapshot, &request, now)),
    }
}

/// What is proved before what is assumed, where the read asks for anything.
fn look_at_all<'a, L: Loads>(
    draw: &Draw<'a, L>,
    request: &Request<'_>,
    random: &mut impl Random,
) -> Option<&'a NodeView> {
    let mut among = |guesses: &[bool]| {
        let eligible = |node: &NodeView| {
            guesses.contains(&node.balanced)
                && judge(draw.snapshot, node, request, draw.now).is_ok()
        };
        draw_nearest(draw, eligible, random)
    };
    if request.requirement.floor_ref().asks_for().is_some() {
        among(&[false]).or_else(|| among(&[true]))
    } else {
        among(&[false, true])
    }
}

/// Draws near before far, and a node of weight zero, near or not, only when there is no other.
fn draw_nearest<'a, L: Loads>(
    draw: &Draw<'a, L>,
    eligible: impl Fn(&NodeView) -> bool,
    random: &mut impl Random,
) -> Option<&'a NodeView> {
    let classes = [(true, true), (false, true), (true, false), (false, false)];
    classes.into_iter().find_map(|(near, weighted)| {
        let in_class = |node: &NodeView| {
            node.near == near && (node.weight != Weight::ZERO) == weighted && eligible(node)
        };
        draw.among(in_class, random)
    })
}

fn candidate(node: &NodeView, now: Instant) -> Candidate {
    Candidate {
        node: node.id,
        as_of: node.as_of,
        staleness: node.staleness(now).unwrap_or(Duration::MAX),
    }
}

fn rejections(snapshot: &Snapshot, request: &Request<'_>, now: Instant) -> Rejections {
    let rejected = |node: &NodeView| {
        let rejection = judge(snapshot, node, request, now).err()?;
        Some((node.id, rejection))
    };
    Rejections(snapshot.replicas().filter_map(rejected).collect())
}

#[cfg(test)]
mod tests;
