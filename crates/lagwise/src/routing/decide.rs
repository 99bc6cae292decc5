//! What a read does next, by what is known at one moment.
//!
//! The decision is the core's; here it is asked with the read's requirement and what has failed it so
//! far, and two random numbers. Nothing is done about it here: neither waited, nor connected.

use lagwise_core::{
    Candidate, Floor, Instant, NodeId, Reason, Rejections, Request, Selection, Snapshot, Step,
    next_step, select, without_primary,
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

impl<DB: Backend> Search<'_, DB> {
    pub(super) fn decide(&self, view: &View<DB>, floor: Floor, now: Instant) -> Decision {
        self.decide_on(view, self.request(floor), now)
    }

    /// What the read would do if these nodes had failed it.
    pub(super) fn decide_without(
        &self,
        view: &View<DB>,
        floor: Floor,
        now: Instant,
        failed: &[NodeId],
    ) -> Decision {
        let request = Request {
            failed,
            ..self.request(floor)
        };
        self.decide_on(view, request, now)
    }

    /// The replica that serves although the primary cannot, if one does that is none of these.
    pub(super) fn without_primary(
        &self,
        view: &View<DB>,
        floor: Floor,
        now: Instant,
        failed: &[NodeId],
    ) -> Option<(Candidate, Reason)> {
        let request = Request {
            failed,
            ..self.request(floor)
        };
        let costs = view.costs(now);
        without_primary(view, request, now, &costs, &mut fastrand_u64)
    }

    fn decide_on(&self, view: &View<DB>, request: Request<'_>, now: Instant) -> Decision {
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

    /// The nodes that could serve the read no longer if another one failed it.
    pub(super) fn failed_with(&self, node: NodeId) -> Vec<NodeId> {
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
