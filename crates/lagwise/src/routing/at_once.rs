//! What can be done at once: the node is known to do, and a connection to it is at hand.
//!
//! That is nearly every request of a busy service, and it should cost what the statement costs. So the
//! same questions are asked as by those who search (`read`, `write`), of
//! one view and at one moment, and nothing is awaited, allocated or locked for longer than a few
//! instructions. Whatever does not go smoothly is no business of this module: it says nothing, and the
//! search begins at its beginning.

use std::sync::Arc;

use lagwise_core::{Instant, Reason, Request, Role, Selection, select};

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
use crate::session::SessionState;
use crate::shared::Shared;

/// What a read asks for that has not failed anywhere.
pub(super) struct Asked<'a, DB: Backend> {
    pub(super) shared: &'a Shared<DB>,
    pub(super) session: Option<&'a Arc<SessionState>>,
    pub(super) options: &'a ReadOptions,
}

impl<DB: Backend> Asked<'_, DB> {
    /// A connection to a replica that is eligible at this moment.
    pub(super) fn read(&self, now: Instant) -> Option<ReadConnection<DB>> {
        let view = self.shared.published.peek();
        let floor = self.session.map(|session| session.floor_under(&view));
        let requirement = self.options.requirement(floor.unwrap_or_default());
        let request = Request {
            requirement,
            fallback: self.shared.fallback,
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
        // At this very moment and in this very view it was found to have what is needed.
        let reached = seen.reached()?;
        let confirmed = Confirmed {
            sight: seen.sight(),
            shows: Shows::Observed(reached),
        };
        let read = match self.session {
            Some(session) => Some(session.open_read(confirmed)?),
            None => None,
        };
        let route = Route::at_once(node.name(), Role::Replica, Reason::Eligible);
        let route = route.with_staleness(now.since(reached.as_of));
        node.chosen(&route);
        Some(ReadConnection::on_replica(
            lease,
            route,
            confirmed.sight,
            read,
        ))
    }
}

impl<DB: Backend> Caller<'_, DB> {
    /// A connection to a replica that is eligible now; none where a read may be asked of two.
    pub(super) fn read_at_once(
        &self,
        options: &ReadOptions,
        now: Instant,
    ) -> Option<ReadConnection<DB>> {
        let shared = self.shared;
        let is_plain = !shared.dry && shared.hedges.is_none();
        if !is_plain || !self.may_go_at_once() || self.is_late(now) {
            return None;
        }
        shared.orders.note_read(now);
        let asked = Asked {
            shared,
            session: self.session,
            options: &options.over(&self.rules.reads),
        };
        asked.read(now)
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
        let route = Route::at_once(node.name(), Role::Primary, reason);
        node.chosen(&route);
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
        self.begun.admit().is_ok() && !observe::traces_routes()
    }
}
