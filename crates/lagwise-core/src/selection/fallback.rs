//! What a read does next when no replica is eligible: wait, fall back, or be refused.
//!
//! Waiting is worth it only where progress alone can help, and within its deadline; a read whose
//! wait is known to be hopeless moves on at once. The primary's budget is spent by whoever takes the
//! step, not here.

use super::eligible::{Rejection, meets};
use super::{Candidate, Reason, Rejections, Request, candidate};
use crate::membership::Cause;
use crate::position::Place;
use crate::requirement::Fallback;
use crate::snapshot::Snapshot;
use crate::time::Instant;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever takes the step must know every one"
)]
pub enum Step {
    /// Wait for the next snapshot, at most until the read's deadline, and select again.
    Wait,
    /// Read from the primary, as a fallback that its budget must allow.
    Primary(Reason),
    /// Read from this replica, although it is out of rotation.
    Freshest(Candidate),
    /// Refuse the read.
    Refuse,
}

/// Decides what a read does after a selection brought no replica.
#[must_use]
pub fn next_step(
    snapshot: &Snapshot,
    request: Request<'_>,
    rejections: &Rejections,
    now: Instant,
) -> Step {
    // Somebody was told of a promotion that this monitor has yet to see: the primary it knows lacks
    // what the session has written since.
    if is_ahead(snapshot, &request) {
        return if now < request.wait_until {
            Step::Wait
        } else {
            Step::Refuse
        };
    }
    if request.requirement.is_primary() {
        return Step::Primary(Reason::Asked);
    }
    if snapshot.replicas().next().is_none() {
        return Step::Primary(Reason::NoReplica);
    }
    let settling = request.requirement.floor().is_settling();
    let deadline = request.wait_until;
    if now < deadline
        && rejections
            .iter()
            .any(|(_, rejection)| can_pass(rejection, settling, deadline))
    {
        return Step::Wait;
    }
    match request.fallback {
        Fallback::Primary => Step::Primary(dominant(rejections)),
        Fallback::Freshest => {
            freshest(snapshot, &request, now).map_or(Step::Refuse, Step::Freshest)
        }
        Fallback::Refuse => Step::Refuse,
    }
}

fn is_ahead(snapshot: &Snapshot, request: &Request<'_>) -> bool {
    let position = request.requirement.floor().needed_position();
    position.is_some_and(|position| snapshot.place(position, Instant::NEVER) == Place::Ahead)
}

/// Whether a rejection can go away by the deadline, by replay alone.
fn can_pass(rejection: Rejection, settling: bool, deadline: Instant) -> bool {
    match rejection {
        Rejection::BehindFloor {
            needed: Instant::NEVER,
            ..
        } => settling,
        Rejection::BehindFloor { needed, .. } => needed <= deadline,
        // Only time helps a balanced node, and a bound it never meets.
        Rejection::InWindow { until } => until <= deadline,
        Rejection::BeyondBound { staleness, .. } => staleness.is_some(),
        Rejection::BehindPosition => true,
        Rejection::Failed | Rejection::NotPrimary | Rejection::OutOfRotation(_) => false,
    }
}

/// The reason that explains the fallback best: what the nearest replica lacked.
fn dominant(rejections: &Rejections) -> Reason {
    rejections
        .iter()
        .map(|(_, rejection)| match rejection {
            Rejection::BehindFloor { .. }
            | Rejection::BehindPosition
            | Rejection::InWindow { .. } => Reason::BehindFloor,
            Rejection::BeyondBound { .. } => Reason::BeyondBound,
            Rejection::Failed => Reason::Failed,
            Rejection::NotPrimary | Rejection::OutOfRotation(_) => Reason::NoneInRotation,
        })
        .min_by_key(|reason| match reason {
            Reason::BehindFloor => 0,
            Reason::BeyondBound => 1,
            Reason::Failed => 2,
            _ => 3,
        })
        .unwrap_or(Reason::NoneInRotation)
}

/// The freshest replica that is proved to meet the requirement and is out for nothing but its lag.
/// A balanced node is proved to be nothing, so it is never the freshest.
fn freshest(snapshot: &Snapshot, request: &Request<'_>, now: Instant) -> Option<Candidate> {
    snapshot
        .replicas()
        .filter(|node| matches!(node.membership.cause(), None | Some(Cause::Lagging)))
        .filter(|node| !request.failed.contains(&node.id))
        .filter(|node| meets(snapshot, node, &request.requirement, now).is_ok())
        .filter(|node| node.as_of.is_some())
        .map(|node| candidate(node, now))
        .max_by_key(|candidate| candidate.as_of)
}
