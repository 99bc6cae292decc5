//! One node as its monitor knows it, and what makes that void.
//!
//! An observation proves something for as long as the node runs on without a break, because replay
//! only advances. A lost connection, another start of the server, a position that went back, another
//! cluster or another role is a break: a new incarnation, of which nothing is known.

use alloc::sync::Arc;
use core::time::Duration;

use crate::lsn::Lsn;
use crate::membership::Cause;
use crate::node::{Incarnation, NodeId, NodeSpec, Role, Timeline};
use crate::observation::{Observation, ProbeFailure, Standing};
use crate::rotation::Rotation;
use crate::time::Instant;

/// What is known of one node.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(super) struct Track {
    pub(super) id: NodeId,
    pub(super) presence: Presence,
    pub(super) spec: Arc<NodeSpec>,
    pub(super) near: bool,
    pub(super) rotation: Rotation,
    pub(super) incarnation: Incarnation,
    pub(super) drained: bool,
    /// It has replayed what the primary never wrote. Ends with the incarnation.
    pub(super) diverged: bool,
    /// It was proved to be on no rival's branch of history. Ends with the incarnation.
    pub(super) apart: bool,
    /// It claims to be a primary that nobody follows, and that was said.
    pub(super) rival: bool,
    /// Since when the present run is known to be unbroken.
    pub(super) runs_since: Option<Instant>,
    /// The farthest that it was proved to have replayed of a timeline, as a replica.
    pub(super) kept: Option<Kept>,
    last: Option<Observation>,
    /// Its first position of this run under the present history, and when that was received.
    anchor: Option<(Lsn, Instant)>,
    /// When the present history began: what was asked before shows where the last one led.
    anchored_from: Instant,
    failure: Option<ProbeFailure>,
    failed_at: Option<Instant>,
    suspected: Option<Instant>,
}

/// Whether a node is one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is.
    Here,
    /// It was removed, and something may still be under way on it.
    Leaving,
    /// It was removed, and its id is free.
    Gone,
}

/// What a replica was proved to have of a timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) timeline: Timeline,
    pub(super) replay: Lsn,
    pub(super) as_of: Instant,
}

impl Track {
    pub(super) fn new(now: Instant, id: NodeId, spec: NodeSpec, zone: Option<&str>) -> Self {
        Self {
            id,
            presence: Presence::Here,
            near: Self::is_near(&spec, zone),
            spec: Arc::new(spec),
            rotation: Rotation::new(now),
            incarnation: Incarnation::default(),
            drained: false,
            diverged: false,
            apart: false,
            rival: false,
            runs_since: None,
            kept: None,
            last: None,
            anchor: None,
            anchored_from: now,
            failure: None,
            failed_at: None,
            suspected: None,
        }
    }

    /// Whether it stands where the reads come from, or nobody said where that is.
    pub(super) fn is_near(spec: &NodeSpec, zone: Option<&str>) -> bool {
        zone.is_none() || spec.zone.as_deref() == zone
    }

    /// What is left of a node that is removed: its run, so that whatever is under way on it is known to
    /// be, and nothing that was proved of it.
    pub(super) fn remains(&self, now: Instant) -> Self {
        Self {
            presence: Presence::Leaving,
            rotation: self.rotation,
            incarnation: self.incarnation,
            ..Self::new(now, self.id, NodeSpec::clone(&self.spec), None)
        }
    }

    pub(super) fn is_present(&self) -> bool {
        self.presence == Presence::Here
    }

    /// Whether its id may go to another node.
    pub(super) fn is_free(&self) -> bool {
        self.presence == Presence::Gone
    }

    /// Takes in an observation, and says whether it begins a new incarnation.
    pub(super) fn accept(&mut self, observed: Observation) -> bool {
        let broken = self.failure.is_some()
            || self
                .last
                .is_some_and(|last| !is_continued_by(&last, &observed));
        if self
            .last
            .is_some_and(|last| !is_of_server(&last, &observed))
        {
            // Another server may have been put at this address: it need not have what was there.
            self.kept = None;
        }
        if broken {
            self.incarnation = self.incarnation.next();
            self.diverged = false;
            self.apart = false;
            self.anchor = None;
            self.runs_since = None;
        }
        // The connection was there when the question was sent.
        self.runs_since = self.runs_since.or(Some(observed.sent_at));
        self.failure = None;
        self.suspected = self
            .suspected
            .filter(|suspected| observed.sent_at < *suspected);
        self.last = Some(observed);
        self.anchor = self.anchor.or_else(|| self.anchorage());
        broken
    }

    /// Whether it was asked to the end once: it answered, or could not.
    pub(super) fn is_heard(&self) -> bool {
        self.last.is_some() || self.failure.is_some()
    }

    /// Whether an observation is of a time before what is already known, and proves nothing now:
    /// the node may have gone back since.
    pub(super) fn is_past(&self, observed: &Observation) -> bool {
        let known = self.last.map(|last| last.sent_at).max(self.failed_at);
        known.is_some_and(|known| observed.sent_at < known)
    }

    /// Takes in a failed probe, and says whether it is news.
    pub(super) fn fail(&mut self, now: Instant, failure: ProbeFailure) -> bool {
        self.failed_at = self.failed_at.max(Some(now));
        self.failure.replace(failure) != Some(failure)
    }

    /// Trusts no observation that was sent before `now`.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.suspected = Some(now);
    }

    /// The last observation, whatever has happened since.
    pub(super) const fn last(&self) -> Option<&Observation> {
        self.last.as_ref()
    }

    /// The last observation, if nothing has voided it.
    pub(super) fn trusted(&self) -> Option<&Observation> {
        let doubted = self.failure.is_some() || self.suspected.is_some();
        self.last.as_ref().filter(|_| !doubted)
    }

    /// The failure since the last observation.
    pub(super) const fn failure(&self) -> Option<ProbeFailure> {
        self.failure
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.last.map(|last| last.standing.role())
    }

    /// The position that the node is proved to have replayed.
    pub(super) fn replay(&self) -> Option<Lsn> {
        self.position().map(|(replay, _)| replay)
    }

    /// That position, and when it was received.
    pub(super) fn position(&self) -> Option<(Lsn, Instant)> {
        self.trusted().and_then(position)
    }

    /// Where this run of the node was first seen under the present history: what is proved of it
    /// counts once the primary was asked after that.
    pub(super) const fn anchor(&self) -> Option<(Lsn, Instant)> {
        self.anchor
    }

    /// A new history begins, of a primary that was asked at `from`: the node must be proved to
    /// follow that one.
    pub(super) fn anchor_anew(&mut self, from: Instant) {
        self.anchored_from = from;
        self.anchor = self.anchorage();
        self.diverged = false;
        self.apart = false;
    }

    /// The last position, if it can be told from it where the node stands on the present history.
    /// What was asked before the history began may since have grown along another one.
    fn anchorage(&self) -> Option<(Lsn, Instant)> {
        let last = self.last.as_ref();
        last.filter(|last| last.sent_at >= self.anchored_from)
            .and_then(position)
    }

    /// When the node counts as unseen, if nothing is seen of it until then and it may serve: in
    /// rotation, or late, as the freshest there is.
    pub(super) fn unseen_at(&self, unseen_for: Duration) -> Option<Instant> {
        let may_serve = matches!(
            self.rotation.membership().cause(),
            None | Some(Cause::Lagging)
        );
        let last = self.last.filter(|_| may_serve)?;
        Some(
            last.received_at
                .after(unseen_for)
                .after(Duration::from_nanos(1)),
        )
    }
}

fn position(observed: &Observation) -> Option<(Lsn, Instant)> {
    match observed.standing {
        Standing::Replica { replay, .. } => Some((replay?, observed.received_at)),
        Standing::Primary { .. } => None,
    }
}

fn is_continued_by(last: &Observation, next: &Observation) -> bool {
    let went_on = match (last.standing, next.standing) {
        (Standing::Replica { replay: before, .. }, Standing::Replica { replay: after, .. }) => {
            before <= after
        }
        (Standing::Primary { .. }, Standing::Primary { .. }) => true,
        _ => false,
    };
    went_on && last.connection == next.connection && is_of_server(last, next)
}

fn is_of_server(last: &Observation, next: &Observation) -> bool {
    last.started == next.started && last.system == next.system
}
