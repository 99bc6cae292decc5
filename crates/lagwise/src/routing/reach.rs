//! Getting a connection of the node that a read was sent to, and giving that up in time.
//!
//! A pool waits as long as its settings say: for a server that hangs, for one of its own connections,
//! and through refusals that the driver swallows, such as that no connection slot is left. A read does
//! not. It goes elsewhere as soon as the monitor knows that the replica has gone, and after a while
//! also while nobody knows anything, if there is an elsewhere. What is confirmed of the connection,
//! and what a read may do after a failure, is decided around here.

use std::io;
use std::sync::Arc;

use lagwise_core::{Candidate, Floor, Instant, Reason, Request, Role, Sight};

use super::confirm::{Confirmed, Doubt, confirm};
use super::deadline::{passed, timed_out};
use super::decide::{Decision, decide, without_primary};
use super::dry::Foreseen;
use super::read::Search;
use super::run::{Failed, Run, end_of, fallen_silent};
use super::write::{await_primary, connect_primary};
use crate::ahead;
use crate::backend::Backend;
use crate::budget::Permit;
use crate::clock;
use crate::connection::ReadConnection;
use crate::error::Error;
use crate::lease::{Lease, Leased};
use crate::monitor::Command;
use crate::node::Node;
use crate::observe;
use crate::turn::Turn;

/// What became of an attempt at a replica.
pub(super) enum Tried<DB: Backend> {
    Opened(Box<ReadConnection<DB>>),
    /// The connection falls short of what the read needs, and replay may make up for it.
    NotYet,
    /// The search goes on without the replica.
    Failed,
}

/// What became of a fallback to the primary.
pub(super) enum Fell<DB: Backend> {
    Opened(Box<ReadConnection<DB>>),
    /// The primary cannot take the read, and this replica serves it all the same.
    Instead(Candidate, Reason),
}

impl<DB: Backend> Search<'_, DB> {
    /// Connects to a replica and confirms it.
    pub(super) async fn try_replica(
        &mut self,
        candidate: Candidate,
        floor: Floor,
        reason: Reason,
    ) -> Result<Tried<DB>, Error> {
        let shared = self.shared();
        let sight = self.sight(candidate);
        let (Some(node), Some(sight)) = (shared.node(candidate.node), sight) else {
            self.exclude(candidate.node);
            return Ok(Tried::Failed);
        };
        let requirement = self.request(floor).requirement;
        let lease = match self.lease(&node, sight).await {
            Ok(lease) => lease,
            Err(error) => return self.failed_at(&node, error),
        };
        let mut leased = Leased { node, lease };
        let outcome = tokio::select! {
            biased;
            outcome = confirm(shared, &mut leased, candidate, requirement) => outcome,
            () = end_of(shared, Run::Replica(sight)) => Err(Doubt::Failed(fallen_silent())),
            () = passed(self.deadline()) => Err(Doubt::Failed(timed_out())),
        };
        match outcome {
            Ok(confirmed) => {
                // One that was taken in vain is free for another.
                self.permit = None;
                let opened = self.open(leased, confirmed, reason);
                Ok(opened.map_or(Tried::Failed, |connection| {
                    Tried::Opened(Box::new(connection))
                }))
            }
            Err(Doubt::Failed(error)) => {
                // Whatever has failed here is not known to have ended.
                leased.lease.discard();
                self.failed_at(&leased.node, error)
            }
            Err(Doubt::Behind) if clock::now() < self.wait_until() => {
                observe::doubted(leased.node.name());
                Ok(Tried::NotYet)
            }
            Err(doubt) => {
                if matches!(doubt, Doubt::Changed) {
                    shared.orders.give(Command::Suspect(candidate.node));
                }
                observe::doubted(leased.node.name());
                self.exclude(candidate.node);
                Ok(Tried::Failed)
            }
        }
    }

    /// Borrows a connection of a replica, as long as that is worth waiting for.
    async fn lease(
        &mut self,
        node: &Arc<Node<DB>>,
        sight: Sight,
    ) -> Result<Lease<DB>, sqlx::Error> {
        let (shared, deadline) = (self.shared(), self.deadline());
        let turn = self.turn_at(node);
        let borrows = async {
            match turn {
                Some(turn) => Lease::in_turn(turn).await,
                None => node.lease().await,
            }
        };
        tokio::select! {
            biased;
            lease = borrows => lease,
            () = end_of(shared, Run::Replica(sight)) => Err(fallen_silent()),
            () = self.out_of_patience(node) => {
                // Where opening takes longer than reads wait, none of them would see the end of it: the next
                // one may find the connection open.
                let turn = Turn::ask(node, clock::now());
                ahead::open(&shared.published, &shared.tasks, node, vec![turn]);
                Err(slow())
            }
            () = passed(deadline) => Err(timed_out()),
        }
    }

    /// Waits until a connection has been waited for long enough and something else can serve.
    async fn out_of_patience(&mut self, node: &Node<DB>) {
        let patience = self.shared().policy().acquire_patience;
        loop {
            tokio::time::sleep(patience).await;
            // Where others get their connections, this read only waits for its turn.
            if !node.load.grants(clock::now(), patience) && self.has_elsewhere(node).await {
                return;
            }
        }
    }

    /// Whether the read can be served without this node: by another replica that has room, or by the
    /// primary, whose permit is taken at once. Where all pools are just being filled, nobody gains by
    /// going from one to the other.
    async fn has_elsewhere(&mut self, but: &Node<DB>) -> bool {
        let snapshot = self.shared().published.load();
        let (floor, now) = (self.floor(&snapshot), clock::now());
        let failed = self.failed_if(but.id);
        let request = Request {
            failed: &failed,
            ..self.request(floor)
        };
        match decide(&snapshot, request, now) {
            Decision::Try(candidate, _) => self.has_room(candidate, now),
            // It is tried again only where nothing else is left.
            Decision::Primary(_) if self.primary_failed => {
                let other = without_primary(&snapshot, request, now);
                other.is_some_and(|(candidate, _)| self.has_room(candidate, now))
            }
            Decision::Primary(reason) => {
                if self.permit.is_none() && is_fallback(reason) {
                    self.permit = self.shared().purse.spend(now).await.ok();
                }
                self.permit.is_some() || !is_fallback(reason)
            }
            Decision::Refuse(_) | Decision::Wait => false,
        }
    }

    fn has_room(&self, candidate: Candidate, now: Instant) -> bool {
        let shared = self.shared();
        let patience = shared.policy().acquire_patience;
        let node = shared.node(candidate.node);
        node.is_some_and(|node| node.has_room(now, patience))
    }

    fn failed_at(&mut self, node: &Node<DB>, error: sqlx::Error) -> Result<Tried<DB>, Error> {
        self.forgive(Failed {
            node: Arc::clone(node.name()),
            on_replica: true,
            error,
        })?;
        self.unsent = true;
        Ok(Tried::Failed)
    }

    /// Opens the read in the session; none if the session has seen something newer meanwhile.
    fn open(
        &self,
        leased: Leased<DB>,
        confirmed: Confirmed,
        reason: Reason,
    ) -> Option<ReadConnection<DB>> {
        let read = match self.session() {
            Some(session) => Some(session.open_read(confirmed)?),
            None => None,
        };
        let staleness = match confirmed.shows.as_of() {
            Some(as_of) => clock::now().since(as_of),
            None => std::time::Duration::MAX,
        };
        let leased = self.take_up(leased);
        let route = self.route(&leased, Role::Replica, reason, staleness);
        Some(ReadConnection::on_replica(
            leased.lease,
            route,
            confirmed.sight,
            read,
        ))
    }

    /// Reads from the primary: within its budget, unless the caller asked for it or there is no
    /// replica that could have served.
    pub(super) async fn primary(
        &mut self,
        floor: Floor,
        reason: Reason,
    ) -> Result<Fell<DB>, Error> {
        let fallback = is_fallback(reason);
        if !self.is_served_without_primary(floor) {
            // Whoever waits for a primary needs no place on it yet.
            self.await_primary().await;
        }
        let outcome = match self.permit(floor, reason).await {
            Ok(permit) => self.on_primary(floor, reason, permit).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(connection) => Ok(Fell::Opened(Box::new(connection))),
            Err(error) if fallback && !error.is_timed_out() && !error.is_closed() => {
                // The wait for the primary took a while: what is left is asked now.
                let snapshot = self.shared().published.load();
                let now = clock::now();
                let left = match decide(&snapshot, self.request(floor), now) {
                    Decision::Try(candidate, reason) => Some((candidate, reason)),
                    _ => without_primary(&snapshot, self.request(floor), now),
                };
                self.primary_failed = !error.is_overloaded();
                left.map(|(candidate, reason)| Fell::Instead(candidate, reason))
                    .ok_or_else(|| self.refused_by_primary(error))
            }
            Err(error) => Err(error),
        }
    }

    /// A permit for the primary. Who has somewhere else to go does not queue for one.
    async fn permit(&mut self, floor: Floor, reason: Reason) -> Result<Option<Permit>, Error> {
        if !is_fallback(reason) {
            return Ok(None);
        }
        if let Some(permit) = self.permit.take() {
            return Ok(Some(permit));
        }
        let until = if self.is_served_without_primary(floor) {
            clock::now()
        } else {
            self.deadline()
        };
        match self.shared().purse.spend(until).await {
            Ok(permit) => Ok(Some(permit)),
            Err(_) if clock::now() >= self.deadline() => Err(self.too_late()),
            Err(_) => Err(Error::overloaded()),
        }
    }

    /// Waits for a primary as long as the read does, once.
    pub(super) async fn await_primary(&mut self) {
        let (mut waited, until) = (std::time::Duration::ZERO, self.until());
        await_primary(self.shared(), until, &mut waited).await;
        self.add_wait(waited);
    }

    /// Until when a primary is waited for.
    fn until(&mut self) -> Instant {
        let patience = self.shared().policy().write_wait;
        let until = clock::now().after(patience).min(self.deadline());
        *self.primary_until.get_or_insert(until)
    }

    fn is_served_without_primary(&self, floor: Floor) -> bool {
        let snapshot = self.shared().published.load();
        without_primary(&snapshot, self.request(floor), clock::now()).is_some()
    }

    pub(super) async fn on_primary(
        &mut self,
        floor: Floor,
        reason: Reason,
        permit: Option<Permit>,
    ) -> Result<ReadConnection<DB>, Error> {
        let shared = self.shared();
        // The wait is over, and its place is free for another.
        self.leave_queue();
        let elsewhere = is_fallback(reason) && self.is_served_without_primary(floor);
        let (mut waited, until) = (std::time::Duration::ZERO, self.until());
        let session = self.session().cloned();
        let until = (until, self.deadline());
        let before = shared.published.load().timeline;
        let leased = tokio::select! {
            biased;
            leased = connect_primary(shared, session.as_ref(), until, &mut waited) => leased?,
            () = tokio::time::sleep(shared.policy().acquire_patience), if elsewhere => {
                return Err(Error::no_primary());
            }
            () = passed(self.deadline()) => return Err(self.too_late()),
        };
        self.add_wait(waited);
        // Where another timeline has begun meanwhile, it is not known whose the connection is.
        let on = shared.published.load().timeline;
        let wanted_replica = is_fallback(reason) || reason == Reason::DryRun;
        let shadow = self.foreseen.as_mut().and_then(Foreseen::shadow);
        let load = self.foreseen.as_mut().and_then(Foreseen::load);
        let read = self.session();
        let read = read.map(|session| session.open_primary_read(wanted_replica, shadow));
        let leased = self.take_up(leased);
        let route = self.route(&leased, Role::Primary, reason, std::time::Duration::ZERO);
        Ok(
            ReadConnection::on_primary(leased.lease, route, read, permit, load)
                .written_on(on.filter(|_| on == before)),
        )
    }

    fn sight(&self, candidate: Candidate) -> Option<Sight> {
        let snapshot = self.shared().published.load();
        snapshot
            .node(candidate.node)
            .map(lagwise_core::NodeView::sight)
    }
}

/// Whether a read goes to the primary for want of a replica, which its budget must allow.
const fn is_fallback(reason: Reason) -> bool {
    !matches!(reason, Reason::Asked | Reason::DryRun | Reason::NoReplica)
}

fn slow() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, Slow))
}

/// A connection was waited for until the read could be served elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("the node gave no connection in time, and the read went elsewhere")]
struct Slow;
