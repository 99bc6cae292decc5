//! What a read does next, by what is known at one moment.
//!
//! The decision is the core's; here it is asked with the read's requirement and what has failed it so
//! far, and two random numbers. Nothing is done about it here: neither waited, nor connected.

use lagwise_core::{
    Candidate, Floor, Instant, NodeId, Reason, Rejections, Request, Selection, Snapshot, Step,
    next_step, select,
};

use super::read::Search;
use crate::backend::Backend;
use crate::view::View;

/// What a read does next.
#[derive(Debug)]
pub(super) enum Decision {
    Primary(Reason),
    Refuse(Rejections),
    Try(Candidate, Reason),
    Wait,
}

/// What a read that asks for this does next.
pub(super) fn decide<DB: Backend>(view: &View<DB>, request: Request<'_>, now: Instant) -> Decision {
    match select(view, request, now, &view.costs(now), &mut fastrand_u64) {
        Selection::Replica(candidate) => Decision::Try(candidate, Reason::Eligible),
        Selection::None(rejections) => match next_step(view, request, &rejections, now) {
            Step::Freshest(candidate) => Decision::Try(candidate, Reason::Freshest),
            Step::Primary(reason) => Decision::Primary(reason),
            Step::Refuse => Decision::Refuse(rejections),
            Step::Wait => Decision::Wait,
        },
    }
}

/// The replica that serves although the primary cannot, if one does.
pub(super) fn without_primary<DB: Backend>(
    view: &View<DB>,
    request: Request<'_>,
    now: Instant,
) -> Option<(Candidate, Reason)> {
    let costs = view.costs(now);
    lagwise_core::without_primary(view, request, now, &costs, &mut fastrand_u64)
}

impl<DB: Backend> Search<'_, DB> {
    /// What the session needs at this moment.
    pub(super) fn floor(&self, snapshot: &Snapshot) -> Floor {
        self.session
            .as_ref()
            .map(|session| session.floor_under(snapshot))
            .unwrap_or_default()
    }

    pub(super) fn request(&self, floor: Floor) -> Request<'_> {
        Request {
            requirement: self.options.requirement(floor),
            fallback: self.fallback,
            wait_until: self.wait_until(),
            failed: &self.failed,
        }
    }

    /// The nodes that would not serve the read if another one failed it.
    pub(super) fn failed_if(&self, node: NodeId) -> Vec<NodeId> {
        let mut failed = self.failed_and(node);
        if self.last_error.is_some() {
            failed.extend(self.everybody());
        }
        failed
    }

    /// The nodes that have failed the read, and another one.
    pub(super) fn failed_and(&self, node: NodeId) -> Vec<NodeId> {
        self.failed.iter().copied().chain([node]).collect()
    }
}

fn fastrand_u64() -> u64 {
    fastrand::u64(..)
}
