//! What a read does next when no replica is eligible: wait, fall back, or be refused.
//!
//! Waiting is worth it only where progress alone can help, and within its deadline; a read whose
//! wait is known to be hopeless moves on at once. The primary's budget is spent by whoever takes the
//! step, not here; where that was in vain, [`without_primary`] says what is left.

use super::eligible::{Rejection, meets};
use super::p2c::Draw;
use super::{Candidate, Loads, Reason, Rejections, Request, candidate, draw_nearest};
use crate::membership::Cause;
use crate::position::Place;
use crate::random::Random;
use crate::requirement::Fallback;
use crate::snapshot::{NodeView, Snapshot};
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
        Fallback::Primary | Fallback::PrimaryThenFreshest => Step::Primary(dominant(rejections)),
        Fallback::Freshest => {
            freshest(snapshot, &request, now).map_or(Step::Refuse, Step::Freshest)
        }
        Fallback::Refuse => Step::Refuse,
    }
}

/// What a read does that fell back to the primary, where the primary's budget is spent or there is no
/// primary: the replica that serves it all the same, and why. None: the read is refused.
///
/// Whoever stated a floor or a bound is served by nobody who is not proved to meet it. Whoever stated
/// nothing accepts what a replica in rotation shows, and is served by one that is late only while so
/// many are that refusing is worse.
#[must_use]
pub fn without_primary(
    snapshot: &Snapshot,
    request: Request<'_>,
    now: Instant,
    loads: &impl Loads,
    random: &mut impl Random,
) -> Option<(Candidate, Reason)> {
    if request.requirement.is_primary() {
        return None;
    }
    match request.fallback {
        Fallback::PrimaryThenFreshest => {
            freshest(snapshot, &request, now).map(|candidate| (candidate, Reason::Freshest))
        }
        Fallback::Primary if request.requirement.is_any() && is_panic(snapshot, now) => {
            let serves = |node: &NodeView| {
                is_late(snapshot, node, now) && !request.failed.contains(&node.id)
            };
            let draw = Draw {
                snapshot,
                now,
                loads,
            };
            let node = draw_nearest(&draw, serves, random)?;
            Some((candidate(node, now), Reason::Panic))
        }
        Fallback::Primary | Fallback::Freshest | Fallback::Refuse => None,
    }
}

/// Whether so many replicas are out for their lag that the policy prefers their answers to none.
fn is_panic(snapshot: &Snapshot, now: Instant) -> bool {
    let threshold = usize::try_from(snapshot.policy.panic_threshold).unwrap_or(usize::MAX);
    let in_use = |node: &&NodeView| node.membership.cause() != Some(Cause::Drained);
    let all = snapshot.replicas().filter(in_use).count();
    let late = snapshot
        .replicas()
        .filter(|node| is_late(snapshot, node, now))
        .count();
    threshold > 0 && late > 0 && late.saturating_mul(100) >= all.saturating_mul(threshold)
}

/// Whether a replica follows the primary, as is proved, and is out for nothing but its lag.
fn is_late(snapshot: &Snapshot, node: &NodeView, now: Instant) -> bool {
    snapshot.primary != Some(node.id)
        && node.membership.cause() == Some(Cause::Lagging)
        && node
            .staleness(now)
            .is_some_and(|staleness| staleness <= snapshot.policy.lag_ceiling)
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
