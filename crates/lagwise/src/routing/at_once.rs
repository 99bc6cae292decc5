//! What can be done at once: the node is known to do, and a connection to it is at hand.
//!
//! That is nearly every request of a busy service, and it should cost what the statement costs. So the
//! same questions are asked as by those who search ([`read`](super::read), [`write`](super::write)), of
//! one view and at one moment, and nothing is awaited, allocated or locked for longer than a few
//! instructions. Whatever does not go smoothly is no business of this module: it says nothing, and the
//! search begins at its beginning.

use lagwise_core::{Instant, Reason, Request, Requirement, Role, Selection, recheck, select};

use super::Caller;
use super::confirm::{Confirmed, Shows};
use super::write::is_ahead;
use crate::backend::Backend;
use crate::clock;
use crate::connection::{ReadConnection, WriteConnection};
use crate::lease::Lease;
use crate::observe;
use crate::options::ReadOptions;
use crate::route::Route;
use crate::view::View;

impl<DB: Backend> Caller<'_, DB> {
    /// A connection to a replica that is eligible at this moment.
    pub(super) fn read_at_once(&self, options: &ReadOptions) -> Option<ReadConnection<DB>> {
        let shared = self.shared;
        let is_plain = !shared.dry && shared.hedges.is_none();
        if !is_plain || !self.may_go_at_once() {
            return None;
        }
        let now = clock::now();
        if self.is_late(now) {
            return None;
        }
        shared.orders.note_read(now);
        let view = shared.published.peek();
        let session = self.session;
        let floor = session.map(|session| session.floor_under(&view));
        let stated = options.requirement.and(self.rules.reads.requirement);
        let request = Request {
            requirement: match floor {
                Some(floor) => stated.and(Requirement::at_least(floor)),
                None => stated,
            },
            fallback: shared.fallback,
            wait_until: now,
            failed: &[],
        };
        let costs = view.costs(now);
        let chosen = select(&view, request, now, &costs, &mut || fastrand::u64(..));
        let Selection::Replica(candidate) = chosen else {
            return None;
        };
        let node = view.roster.get(candidate.node)?;
        let seen = view
            .node(candidate.node)
            .filter(|seen| !seen.spec.balanced)?;
        // One that has lived through the observation of its node shows what was observed: see `confirm`.
        let lease = Lease::at_hand(node, now, seen.observed_at?)?;
        let reached = recheck(&view, candidate.node, &request.requirement, now).ok()?;
        let confirmed = Confirmed {
            sight: seen.sight(),
            shows: Shows::Observed(reached),
        };
        let read = match session {
            Some(session) => Some(session.open_read(confirmed)?),
            None => None,
        };
        node.tally.count(Reason::Eligible);
        let route = Route::at_once(node.name(), Role::Replica, Reason::Eligible);
        let route = route.with_staleness(now.since(reached.as_of));
        observe::routed(&route);
        Some(ReadConnection::on_replica(
            lease,
            route,
            confirmed.sight,
            read,
        ))
    }

    /// A connection to the node that accepts writes.
    pub(super) fn write_at_once(&self, reason: Reason) -> Option<WriteConnection<DB>> {
        let now = clock::now();
        if !self.may_go_at_once() || self.is_late(now) || self.rules.admit_write().is_err() {
            return None;
        }
        let view = self.shared.published.peek();
        let session = self.session;
        if view.primary_lost.is_some() || session.is_some_and(|session| is_ahead(&view, session)) {
            return None;
        }
        let node = view.primary_node()?;
        let seen = view.node(node.id)?;
        // One that has lived through the observation of its node leads to what was observed: see
        // `authority`.
        let lease = Lease::at_hand(node, now, seen.observed_at?)?;
        node.tally.count(reason);
        let route = Route::at_once(node.name(), Role::Primary, reason);
        observe::routed(&route);
        let session = session.cloned();
        let connection = WriteConnection::new(self.shared, lease, route, view.timeline, session);
        Some(connection)
    }

    /// Whether the time of whoever asks is over.
    fn is_late(&self, now: Instant) -> bool {
        self.rules.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether nothing about the request itself asks for a search. One that is traced has spans that
    /// only a search has.
    fn may_go_at_once(&self) -> bool {
        self.begun.admit().is_ok() && !self.shared.tasks.is_closed() && !observe::traces_routes()
    }
}

impl<DB: Backend> View<DB> {
    /// The cost of every node at an instant.
    fn costs(&self, now: Instant) -> impl Fn(lagwise_core::NodeId) -> u64 {
        move |id| {
            let node = self.roster.get(id);
            node.map_or(u64::MAX, |node| node.load.cost(now))
        }
    }
}
