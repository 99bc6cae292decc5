//! One predicate for each reason to refuse a node.
//!
//! The order matters: what a caller learns first is what an operator would mend first.

use core::fmt;
use core::time::Duration;

use super::Request;
use crate::floor::Reached;
use crate::lsn::Lsn;
use crate::membership::Cause;
use crate::node::NodeId;
use crate::position::{Place, Position};
use crate::requirement::Requirement;
use crate::snapshot::{NodeView, Snapshot};
use crate::time::Instant;

/// Why a node does not serve a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// It lacks commits that the session wrote or saw.
    BehindFloor {
        /// The as-of instant that it must reach; `NEVER` while a write is under way.
        needed: Instant,
        /// The one it is proved to have reached.
        as_of: Option<Instant>,
    },
    /// It is not proved to have replayed a position that a token names.
    BehindPosition,
    /// It is not proved to be within the bound that the read states.
    BeyondBound {
        /// The bound.
        bound: Duration,
        /// The most it can be behind; unknown where nothing is proved.
        staleness: Option<Duration>,
    },
    /// It has failed this read already.
    Failed,
    /// Nothing is proved of a balanced node, and the session wrote, read or came in too lately to
    /// assume that every server behind it has what the session needs.
    InWindow {
        /// From when on that is assumed; `NEVER` while a write or read is under way.
        until: Instant,
    },
    /// Only the primary will do.
    NotPrimary,
    /// It is out of rotation.
    OutOfRotation(Cause),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BehindFloor {
                needed: Instant::NEVER,
                ..
            } => f.write_str("a write or read of the session is still under way"),
            Self::BehindFloor {
                needed,
                as_of: Some(as_of),
            } => {
                write!(
                    f,
                    "{:?} short of what the session wrote or saw",
                    needed.since(*as_of)
                )
            }
            Self::BehindFloor { as_of: None, .. } => {
                f.write_str("not proved to have what the session wrote or saw")
            }
            Self::BehindPosition => f.write_str("not proved to have replayed the token's position"),
            Self::BeyondBound {
                bound,
                staleness: Some(staleness),
            } => {
                write!(f, "up to {staleness:?} behind, where {bound:?} is accepted")
            }
            Self::BeyondBound {
                bound,
                staleness: None,
            } => {
                write!(f, "of unknown staleness, where {bound:?} is accepted")
            }
            Self::InWindow {
                until: Instant::NEVER,
            } => f.write_str("balanced, and a write or read of the session is still under way"),
            Self::InWindow { .. } => f.write_str(
                "balanced, and the session wrote, read or came in within the sticky window",
            ),
            Self::Failed => f.write_str("failed this read already"),
            Self::NotPrimary => f.write_str("not the primary"),
            Self::OutOfRotation(cause) => write!(f, "out of rotation: {cause}"),
        }
    }
}

/// Whether a replica may serve the request.
///
/// # Errors
/// The first reason why not.
#[inline]
pub(super) fn judge(
    snapshot: &Snapshot,
    node: &NodeView,
    request: &Request<'_>,
    now: Instant,
) -> Result<(), Rejection> {
    is_replica(snapshot, node, &request.requirement)?;
    has_not_failed(node.id, request.failed)?;
    in_rotation(node)?;
    meets(snapshot, node, &request.requirement, now)
}

/// Whether a node is proved to have what the read must see, or assumed to if it is balanced, whatever
/// its place in the rotation.
#[inline]
pub(super) fn meets(
    snapshot: &Snapshot,
    node: &NodeView,
    requirement: &Requirement,
    now: Instant,
) -> Result<(), Rejection> {
    if node.balanced {
        return may_meet(snapshot, requirement, now);
    }
    let floor = requirement.floor_ref();
    let sight = node.sight();
    let lacking = match node.reached() {
        Some(reached) => floor.lacking(sight, reached),
        None => floor.needed_from(sight),
    };
    if let Some(needed) = lacking {
        return Err(Rejection::BehindFloor {
            needed,
            as_of: node.as_of,
        });
    }
    if let Some(position) = floor.needed_position()
        && !has_replayed(snapshot, node, position, floor.since())
    {
        return Err(Rejection::BehindPosition);
    }
    match requirement.bound() {
        Some(bound)
            if node
                .staleness(now)
                .is_none_or(|staleness| staleness > bound) =>
        {
            Err(Rejection::BeyondBound {
                bound,
                staleness: node.staleness(now),
            })
        }
        _ => Ok(()),
    }
}

/// Whether a balanced node is assumed to have what the read must see.
///
/// The assumption is that no server behind it is further behind than the sticky window. So it has
/// whatever was written, seen or brought along before that; what the session read there itself
/// excuses nothing, because the next connection leads elsewhere. A bound is a promise, and nothing
/// is promised here.
fn may_meet(snapshot: &Snapshot, requirement: &Requirement, now: Instant) -> Result<(), Rejection> {
    if let Some(bound) = requirement.bound() {
        return Err(Rejection::BeyondBound {
            bound,
            staleness: None,
        });
    }
    let floor = requirement.floor_ref();
    if let Some(needed) = floor.asks_for()
        && needed > assumed(snapshot, now)
    {
        let until = needed.after(snapshot.policy.sticky_window);
        return Err(Rejection::InWindow { until });
    }
    let since = floor.since().unwrap_or(Instant::NEVER);
    match floor.needed_position() {
        Some(position) if snapshot.place(position, since) != Place::Here => {
            Err(Rejection::BehindPosition)
        }
        _ => Ok(()),
    }
}

/// What every server behind a balanced node is assumed to show.
fn assumed(snapshot: &Snapshot, now: Instant) -> Instant {
    now.before(snapshot.policy.sticky_window)
}

/// Whether a balanced node that was chosen a while ago is still assumed to have what the read needs,
/// and the instant before which it is assumed to show everything. No connection to it is asked:
/// it would speak for itself alone.
///
/// # Errors
/// What it is not assumed to have.
pub fn recheck_assumed(
    snapshot: &Snapshot,
    node: NodeId,
    requirement: &Requirement,
    now: Instant,
) -> Result<Instant, Rejection> {
    let unknown = Rejection::OutOfRotation(Cause::Unproved);
    let view = snapshot.node(node).ok_or(unknown)?;
    in_rotation(view)?;
    meets(snapshot, view, requirement, now).map(|()| assumed(snapshot, now))
}

/// Whether a node that was chosen a while ago is still proved to have what the read needs, and what it
/// has reached. For a connection that is older than the node's observation in
/// `snapshot`, which need not be the snapshot that the read was routed by.
///
/// # Errors
/// What it is not proved to have.
pub fn recheck(
    snapshot: &Snapshot,
    node: NodeId,
    requirement: &Requirement,
    now: Instant,
) -> Result<Reached, Rejection> {
    let unproved = Rejection::OutOfRotation(Cause::Unproved);
    let view = snapshot.node(node).ok_or(unproved)?;
    let reached = view.reached().ok_or(unproved)?;
    meets(snapshot, view, requirement, now).map(|()| reached)
}

/// [`recheck`] for a connection that is younger than the node's observation, and that says itself
/// that it has replayed `replay`.
///
/// The node may have gone back since it was observed: what was observed of it counts for nothing,
/// neither its position nor what a session has read from it. That it is one of ours still has to be
/// known from the observation.
///
/// # Errors
/// What it is not proved to have.
pub fn recheck_fresh(
    snapshot: &Snapshot,
    node: NodeId,
    requirement: &Requirement,
    replay: Lsn,
    now: Instant,
) -> Result<Reached, Rejection> {
    let unproved = Rejection::OutOfRotation(Cause::Unproved);
    let view = snapshot.node(node).ok_or(unproved)?;
    let known = view.reached();
    let reached = known
        .and_then(|_| snapshot.reached(replay))
        .ok_or(unproved)?;
    let shown = NodeView {
        as_of: Some(reached.as_of),
        passed: Some(reached.passed),
        lsn: Some(replay),
        // No session has seen this run of the node.
        incarnation: view.incarnation.next(),
        ..view.clone()
    };
    meets(snapshot, &shown, requirement, now).map(|()| reached)
}

#[inline]
fn is_replica(
    snapshot: &Snapshot,
    node: &NodeView,
    requirement: &Requirement,
) -> Result<(), Rejection> {
    if requirement.is_primary() || snapshot.primary == Some(node.id) {
        return Err(Rejection::NotPrimary);
    }
    Ok(())
}

#[inline]
fn has_not_failed(node: NodeId, failed: &[NodeId]) -> Result<(), Rejection> {
    if failed.contains(&node) {
        Err(Rejection::Failed)
    } else {
        Ok(())
    }
}

/// Without an as-of instant nothing is known of a node, whatever its membership says. A balanced one
/// is what the monitor's own connection to it shows.
#[inline]
fn in_rotation(node: &NodeView) -> Result<(), Rejection> {
    match node.membership.cause() {
        Some(cause) => Err(Rejection::OutOfRotation(cause)),
        None if node.as_of.is_none() && !node.balanced => {
            Err(Rejection::OutOfRotation(Cause::Unproved))
        }
        None => Ok(()),
    }
}

/// A position of another cluster, or of another branch of history, is nothing to compare with.
fn has_replayed(
    snapshot: &Snapshot,
    node: &NodeView,
    position: Position,
    since: Option<Instant>,
) -> bool {
    let place = snapshot.place(position, since.unwrap_or(Instant::NEVER));
    place == Place::Here && node.as_of.is_some() && node.lsn.is_some_and(|lsn| lsn >= position.lsn)
}
