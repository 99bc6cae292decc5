//! What can be done at once: the node is known to do, and a connection to it is at hand.
//!
//! That is nearly every request of a busy service, and it should cost what the statement costs. So the
//! same questions are asked as by those who search (`read`, `write`), of one view and at one moment, and
//! nothing is awaited, allocated or locked for longer than a few instructions. Where there are more callers than connections, a read waits here for its turn, for a
//! moment, and asks the same questions again. Whatever does not go smoothly is no business of this
//! module: it says nothing, and the search begins at its beginning.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{
    Instant, NodeId, NodeView, Reached, Reason, Request, Requirement, Role, Selection, Sight,
    recheck, select,
};

use super::Caller;
use super::confirm::{Confirmed, Shows};
use super::write::is_ahead;
use crate::backend::Backend;
use crate::clock;
use crate::connection::{ReadConnection, WriteConnection};
use crate::lease::Lease;
use crate::node::Node;
use crate::observe;
use crate::options::ReadOptions;
use crate::route::Route;
use crate::session::{SessionState, Settled};
use crate::shared::Shared;
use crate::turn::Turn;
use crate::view::View;

/// What a read asks for that has not failed anywhere.
pub(super) struct Asked<'a, DB: Backend> {
    pub(super) shared: &'a Shared<DB>,
    pub(super) session: Option<&'a Arc<SessionState>>,
    pub(super) options: &'a ReadOptions,
}

/// Why a read cannot be done at once.
pub(crate) enum NotNow<DB: Backend> {
    /// All connections of this replica are in use.
    Full(Arc<Node<DB>>),
    /// A way has to be searched for.
    Search,
}

impl<DB: Backend> Asked<'_, DB> {
    /// A connection to a replica that is eligible at this moment.
    pub(super) fn read(&self, now: Instant) -> Result<ReadConnection<DB>, NotNow<DB>> {
        let view = self.shared.published.peek();
        let session = self.session.map(|session| session.settled(&view));
        let request = Request {
            requirement: self.requirement(session.as_ref()),
            fallback: self.shared.fallback,
            wait_until: now,
            failed: &[],
        };
        let costs = view.costs(now);
        let chosen = select(&view, request, now, &costs, &mut || fastrand::u64(..));
        let Selection::Replica(candidate) = chosen else {
            return Err(NotNow::Search);
        };
        let (node, seen) = fixed(&view, candidate.node).ok_or(NotNow::Search)?;
        // At this very moment and in this very view it was found to have what is needed.
        let opened = seen
            .reached()
            .zip(seen.observed_at)
            .and_then(|(reached, at)| {
                let lease = Lease::at_hand(node, now, at)?;
                open(session, lease, (seen.sight(), reached), now)
            });
        opened.ok_or_else(|| {
            if node.places.available_permits() == 0 {
                NotNow::Full(Arc::clone(node))
            } else {
                NotNow::Search
            }
        })
    }

    /// A connection to the replica whose turn has come, if it still is eligible. If not, nothing has
    /// become of the turn.
    fn read_in_turn(&self, turn: &mut Turn<DB>, now: Instant) -> Option<ReadConnection<DB>> {
        let view = self.shared.published.peek();
        let (node, seen) = fixed(&view, turn.node().id)?;
        // Another node may have been given its id.
        if !Arc::ptr_eq(node, turn.node()) || !seen.membership.is_in_rotation() {
            return None;
        }
        let session = self.session.map(|session| session.settled(&view));
        let requirement = self.requirement(session.as_ref());
        let reached = recheck(&view, node.id, &requirement, now).ok()?;
        let lease = Lease::at_hand_in_turn(turn, now, seen.observed_at?)?;
        open(session, lease, (seen.sight(), reached), now)
    }

    fn requirement(&self, session: Option<&Settled<'_>>) -> Requirement {
        let floor = session.map(Settled::floor);
        self.options.requirement(floor.unwrap_or_default())
    }
}

/// Opens a read. A connection that has lived through the observation of its node shows what was observed:
/// see `confirm`.
fn open<DB: Backend>(
    session: Option<Settled<'_>>,
    lease: Lease<DB>,
    (sight, reached): (Sight, Reached),
    now: Instant,
) -> Option<ReadConnection<DB>> {
    let confirmed = Confirmed {
        sight,
        shows: Shows::Observed(reached),
    };
    let read = match session {
        Some(session) => Some(session.open_read(confirmed)?),
        None => None,
    };
    let node = lease.node();
    let route = Route::at_once(node.name(), Role::Replica, Reason::Eligible);
    let route = route.with_staleness(now.since(reached.as_of));
    node.chosen(&route);
    Some(ReadConnection::on_replica(lease, route, sight, read))
}

/// A node that is one server, and what is known of it.
fn fixed<DB: Backend>(view: &View<DB>, id: NodeId) -> Option<(&Arc<Node<DB>>, &NodeView)> {
    let seen = view.node(id).filter(|seen| !seen.spec.balanced)?;
    Some((view.roster.get(id)?, seen))
}

impl<DB: Backend> Caller<'_, DB> {
    /// A connection to a replica that is eligible now; none where a read may be asked of two.
    pub(crate) fn read_at_once(
        &self,
        options: &ReadOptions,
        now: Instant,
    ) -> Result<ReadConnection<DB>, NotNow<DB>> {
        let shared = self.shared;
        let is_plain = !shared.dry && shared.hedges.is_none();
        if !is_plain || !self.may_go_at_once() || self.is_late(now) {
            return Err(NotNow::Search);
        }
        shared.orders.note_read(now);
        self.asked(&options.over(&self.rules.reads)).read(now)
    }

    /// Where a replica has no connection free, waits for a turn there, for a moment.
    ///
    /// # Errors
    /// The way has to be searched for, with what is left of the turn.
    pub(super) async fn read_in_turn(
        &self,
        options: &ReadOptions,
        not_now: NotNow<DB>,
        began: Instant,
    ) -> Result<ReadConnection<DB>, Option<Turn<DB>>> {
        let NotNow::Full(node) = not_now else {
            return Err(None);
        };
        let mut turn = Turn::ask(&node, began);
        let until = self.deadline(options, began).min(began.after(MOMENT));
        let comes = tokio::time::timeout(clock::until(until), turn.comes());
        let has_come = comes.await.is_ok_and(|outcome| outcome.is_ok());
        let now = clock::now();
        if !has_come || !self.may_go_at_once() || self.is_late(now) {
            return Err(Some(turn));
        }
        let options = options.over(&self.rules.reads);
        let read = self.asked(&options).read_in_turn(&mut turn, now);
        read.ok_or(Some(turn))
    }

    fn asked<'a>(&'a self, options: &'a ReadOptions) -> Asked<'a, DB> {
        Asked {
            shared: self.shared,
            session: self.session,
            options,
        }
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
        Some(WriteConnection::new(
            self.shared,
            lease,
            route,
            view.timeline,
            session,
        ))
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

/// For how long nobody looks whether a read that waits for its turn should go elsewhere.
const MOMENT: Duration = Duration::from_millis(10);
