//! Connections that know where they lead, and sessions that know what was done on them.
//!
//! A read handle ends its read when it is dropped. A write handle cannot see whether the last
//! statement on it ran to its end, so when it is dropped its connection is asked, off the caller's
//! path: the answer comes after everything before it, and only then does the session know the
//! instant from which its writes can be seen. The question is whether the server still accepts
//! writes: a connection to one that does not is closed, and the monitor looks at once.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use lagwise_core::{Reason, Sight, Timeline};

use crate::backend::{Backend, Fault, is_certain};
use crate::budget::Permit;
use crate::error::Error;
use crate::lease::Lease;
use crate::load::Imagined;
use crate::route::Route;
use crate::routing::{Run, is_silence};
use crate::session::{OpenRead, OpenWrite, SessionState};
use crate::shared::Shared;

/// A connection to read from.
///
/// It dereferences to the driver's connection: `.fetch_one(&mut *connection)`.
///
/// It is not made read-only where it leads to the primary: what only reads should use
/// [`begin_read_only`](crate::Session::begin_read_only) if it must not be able to write.
pub struct ReadConnection<DB: Backend> {
    lease: Lease<DB>,
    route: Route,
    /// The replica that it leads to.
    sight: Option<Sight>,
    /// The timeline of the primary that it leads to otherwise.
    on: Option<Timeline>,
    _read: Option<OpenRead>,
    _permit: Option<Permit>,
    /// In dry mode, what it would cost the replica that it would lead to.
    _load: Option<Imagined>,
}

impl<DB: Backend> ReadConnection<DB> {
    pub(crate) fn on_replica(
        lease: Lease<DB>,
        route: Route,
        sight: Sight,
        read: Option<OpenRead>,
    ) -> Self {
        Self {
            lease,
            route,
            sight: Some(sight),
            on: None,
            _read: read,
            _permit: None,
            _load: None,
        }
    }

    pub(crate) fn on_primary(
        lease: Lease<DB>,
        route: Route,
        read: Option<OpenRead>,
        permit: Option<Permit>,
        load: Option<Imagined>,
    ) -> Self {
        Self {
            lease,
            route,
            sight: None,
            on: None,
            _read: read,
            _permit: permit,
            _load: load,
        }
    }

    /// This, on a primary that is known to write that timeline.
    pub(crate) const fn written_on(mut self, on: Option<Timeline>) -> Self {
        self.on = on;
        self
    }

    /// The run of its node: when that has ended, no answer is to be waited for.
    pub(crate) const fn run(&self) -> Run {
        match self.sight {
            Some(sight) => Run::Replica(sight),
            None => Run::Primary(self.on),
        }
    }

    /// The replica that it leads to; none on the primary.
    pub(crate) const fn sight(&self) -> Option<Sight> {
        self.sight
    }

    /// Nothing is done on it but one statement that is known to be a read.
    pub(crate) const fn for_statement(&mut self) {
        self.lease.for_read();
    }

    /// The server has just answered.
    pub(crate) fn answered(&mut self) {
        self.lease.answered();
    }

    /// Gives the connection back to its pool, which tests it.
    pub(crate) fn fail(mut self) {
        self.lease.doubt();
    }

    /// Closes the connection instead of giving it back: an answer may still be on its way.
    pub(crate) fn discard(self) {
        self.lease.discard();
    }

    /// Where it leads, why, and how stale an answer can be.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn into_parts(self) -> (Lease<DB>, Route, ReadGuards) {
        (
            self.lease,
            self.route,
            ReadGuards {
                _read: self._read,
                _permit: self._permit,
                _load: self._load,
            },
        )
    }
}

/// What ends with a read.
#[derive(Debug)]
pub(crate) struct ReadGuards {
    _read: Option<OpenRead>,
    _permit: Option<Permit>,
    _load: Option<Imagined>,
}

impl<DB: Backend> Deref for ReadConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.lease
    }
}

impl<DB: Backend> DerefMut for ReadConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.lease
    }
}

impl<DB: Backend> AsRef<DB::Connection> for ReadConnection<DB> {
    fn as_ref(&self) -> &DB::Connection {
        self
    }
}

impl<DB: Backend> AsMut<DB::Connection> for ReadConnection<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Backend> fmt::Debug for ReadConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadConnection")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// A connection to the primary, to write on.
///
/// It dereferences to the driver's connection: `.execute(&mut *connection)`. Whatever was begun on
/// it counts as written, also if the future of a statement was dropped halfway.
///
/// It leads to the node that was the primary when it was handed out. Should another node be promoted
/// while it is held, what is written on it goes to the old one, if that still lives, and may be lost:
/// [`Session::may_have_lost_writes`](crate::Session::may_have_lost_writes) says so then. So hold it no
/// longer than it is needed. A [`Transaction`](crate::Transaction) is not committed then.
pub struct WriteConnection<DB: Backend> {
    shared: Arc<Shared<DB>>,
    /// None only while it is being dropped.
    lease: Option<Lease<DB>>,
    route: Route,
    /// The timeline that its node wrote when it was handed out.
    on: Option<Timeline>,
    session: Option<Arc<SessionState>>,
    /// Opened by the first statement.
    write: Option<OpenWrite>,
    /// Whether something was sent whose end is not known.
    unsettled: bool,
}

impl<DB: Backend> WriteConnection<DB> {
    pub(crate) fn new(
        shared: &Arc<Shared<DB>>,
        lease: Lease<DB>,
        route: Route,
        on: Option<Timeline>,
        session: Option<Arc<SessionState>>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            lease: Some(lease),
            route,
            on,
            session,
            write: None,
            unsettled: false,
        }
    }

    /// Where it leads, and why.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// The timeline that its node wrote when it was handed out.
    pub(crate) const fn on(&self) -> Option<Timeline> {
        self.on
    }

    /// This, for one statement. One that was sent here although it only reads sets nothing on the
    /// connection.
    pub(crate) fn for_statement(mut self, reason: Reason) -> Self {
        if let (Some(lease), Reason::OutsideSession) = (&mut self.lease, reason) {
            lease.for_read();
        }
        self
    }

    /// The server has just answered.
    pub(crate) fn answered(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.answered();
        }
    }

    /// Gives the connection back after its only statement. What the server said of that is its end;
    /// where the connection failed instead, the end is found out as for any handle.
    pub(crate) fn end<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if is_certain::<DB, _>(&outcome) {
            self.unsettled = false;
            if let Some(write) = self.write.take() {
                // The answer is known, so the session may go on before the connection is back.
                write.close();
            }
        }
        outcome.map_err(|error| self.failed(error))
    }

    /// Accounts for the failure of the only statement.
    fn failed(&mut self, error: sqlx::Error) -> sqlx::Error {
        if let Some(lease) = &mut self.lease {
            lease.doubt();
        }
        let is_of_no_use = DB::is_read_only(&error) || is_silence(&error);
        if let Some(lease) = self.lease.take_if(|_| is_of_no_use) {
            lease.discard();
        }
        let is_gone = DB::fault(&error) == Fault::Node;
        if is_of_no_use || is_gone {
            self.shared.node_failed(&self.route.node);
        }
        if !is_gone {
            return error;
        }
        Error::in_flight(&self.route.node, error).into()
    }
}

/// Finds out when everything on a connection has ended, and whether it leads to a node that accepts
/// writes; one that does not is closed, and the monitor is told.
async fn settle<DB: Backend>(
    shared: &Shared<DB>,
    node: &str,
    mut lease: Lease<DB>,
    write: Option<OpenWrite>,
) {
    let limit = shared.policy().sticky_window;
    let asked = tokio::time::timeout(limit, DB::accepts_writes(&mut lease)).await;
    let Ok(outcome) = asked else {
        // What was sent is lost: its write is dropped as it is.
        return lease.discard();
    };
    if let Some(write) = write.filter(|_| is_certain::<DB, _>(&outcome)) {
        write.close();
    }
    match outcome {
        Ok(true) => lease.answered(),
        Ok(false) => {
            lease.discard();
            shared.node_failed(node);
        }
        // The answer may have been that to something else, and its own is still on its way.
        Err(_) => lease.discard(),
    }
}

impl<DB: Backend> Deref for WriteConnection<DB> {
    type Target = DB::Connection;

    #[expect(clippy::expect_used, reason = "the lease is taken by `drop` alone")]
    fn deref(&self) -> &DB::Connection {
        self.lease
            .as_ref()
            .expect("a handle has its lease until it is dropped")
    }
}

impl<DB: Backend> DerefMut for WriteConnection<DB> {
    #[expect(clippy::expect_used, reason = "the lease is taken by `drop` alone")]
    fn deref_mut(&mut self) -> &mut DB::Connection {
        if let (Some(session), None) = (&self.session, &self.write) {
            let window = self.shared.policy().sticky_window;
            self.write = Some(session.open_write(self.on, window));
        }
        self.unsettled = true;
        self.lease
            .as_mut()
            .expect("a handle has its lease until it is dropped")
    }
}

impl<DB: Backend> Drop for WriteConnection<DB> {
    fn drop(&mut self) {
        let (Some(lease), true) = (self.lease.take(), self.unsettled) else {
            return;
        };
        let write = self.write.take();
        if let Some(write) = &write {
            write.settle();
        }
        let (shared, node) = (Arc::clone(&self.shared), Arc::clone(&self.route.node));
        // If the task is not run to its end, `write` is dropped as it is, and counts as lost.
        let tasks = &self.shared.tasks;
        tasks.spawn(async move { settle(&shared, &node, lease, write).await });
    }
}

impl<DB: Backend> AsRef<DB::Connection> for WriteConnection<DB> {
    fn as_ref(&self) -> &DB::Connection {
        self
    }
}

impl<DB: Backend> AsMut<DB::Connection> for WriteConnection<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Backend> fmt::Debug for WriteConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteConnection")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
