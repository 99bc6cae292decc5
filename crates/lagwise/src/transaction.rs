//! Transactions on one node, whose end is known exactly.
//!
//! A commit that returns raises the session's floor to that instant. A commit that was sent and
//! whose answer never came may have taken effect: its session stays on the primary for the sticky
//! window. A transaction that was never committed has written nothing, so one whose node is no longer
//! the primary is not committed.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use lagwise_core::Timeline;
use sqlx::SqlStr;

use crate::backend::{Backend, Fault, is_certain};
use crate::clock;
use crate::connection::ReadGuards;
use crate::error::Error;
use crate::lease::Lease;
use crate::route::Route;
use crate::routing::{deposed, fallen_silent};
use crate::session::SessionState;
use crate::shared::Shared;
use crate::tenure::Tenure;

/// A transaction, which rolls back when it is dropped.
///
/// It dereferences to the driver's connection: `.execute(&mut *transaction)`.
pub struct Transaction<DB: Backend> {
    inner: sqlx::Transaction<'static, DB>,
    route: Route,
    ending: Ending<DB>,
    /// Its place.
    _lease: Lease<DB>,
}

/// What must happen when a transaction ends.
pub(crate) enum Ending<DB: Backend> {
    /// It can only read, and its read ends with it.
    Read { _guards: ReadGuards },
    /// It may write, in a session or outside of one.
    Write {
        shared: Arc<Shared<DB>>,
        session: Option<Arc<SessionState>>,
        /// The timeline that its node wrote when it began.
        on: Option<Timeline>,
    },
}

/// Begins a transaction of the driver's.
///
/// Until it has begun, the driver does not know that it must be rolled back: one that is given up on the
/// way goes back to the pool as it is. So no connection of that age is handed out again then.
pub(crate) async fn begin_on<DB: Backend>(
    lease: Lease<DB>,
    statement: Option<SqlStr>,
) -> Result<(sqlx::Transaction<'static, DB>, Lease<DB>), sqlx::Error> {
    let (connection, lease) = lease.take_out();
    let beginning = Beginning(Some(Arc::clone(&lease.node().tenure)));
    let begun = sqlx::Transaction::begin(connection, statement).await;
    beginning.end();
    Ok((begun?, lease))
}

/// A transaction that is about to begin.
struct Beginning(Option<Arc<Tenure>>);

impl Beginning {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Some(tenure) = self.0.take() {
            tenure.renew(clock::now());
        }
    }
}

impl<DB: Backend> Transaction<DB> {
    pub(crate) async fn begin(
        lease: Lease<DB>,
        statement: Option<SqlStr>,
        route: Route,
        ending: Ending<DB>,
    ) -> Result<Self, sqlx::Error> {
        let (inner, lease) = begin_on(lease, statement).await?;
        Ok(Self {
            inner,
            route,
            ending,
            _lease: lease,
        })
    }

    /// Where it runs, why, and how stale its state can be.
    #[must_use]
    pub const fn route(&self) -> &Route {
        &self.route
    }

    /// The driver's own transaction, for functions that take one. It can be neither committed nor
    /// rolled back by reference: that is this type's business.
    pub const fn as_sqlx(&mut self) -> &mut sqlx::Transaction<'static, DB> {
        &mut self.inner
    }

    /// Commits.
    ///
    /// # Errors
    /// What the server said. If the connection was lost, the transaction may have been committed all
    /// the same: see [`may_have_been_applied`](crate::may_have_been_applied). Where another node has
    /// been promoted since it began, it is not committed, and can be begun again.
    ///
    /// # Cancel safety
    /// A dropped call may have committed; the session stays on the primary until that is certain.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let Ending::Write {
            shared,
            session,
            on,
        } = self.ending
        else {
            return self.inner.commit().await;
        };
        let node = self.route.node;
        let now_on = shared.published.load().timeline;
        if on.is_some_and(|on| Some(on) < now_on) {
            return Err(Error::deposed(&node).into());
        }
        let window = shared.policy().sticky_window;
        let write = session.map(|session| session.open_write(on, window));
        let outcome = tokio::select! {
            biased;
            outcome = self.inner.commit() => outcome,
            () = deposed(&shared, on) => Err(fallen_silent()),
        };
        if let Some(write) = write
            && is_certain::<DB, _>(&outcome)
        {
            write.close();
        }
        outcome.map_err(|error| {
            if DB::fault(&error) != Fault::Node {
                return error;
            }
            shared.node_failed(&node);
            Error::in_flight(&node, error).into()
        })
    }

    /// Rolls back.
    ///
    /// # Errors
    /// If the server could not be told. It rolls back all the same.
    ///
    /// # Cancel safety
    /// A dropped call rolls back as well.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.inner.rollback().await
    }
}

impl<DB: Backend> Deref for Transaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.inner
    }
}

impl<DB: Backend> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.inner
    }
}

impl<DB: Backend> AsRef<DB::Connection> for Transaction<DB> {
    fn as_ref(&self) -> &DB::Connection {
        self
    }
}

impl<DB: Backend> AsMut<DB::Connection> for Transaction<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Backend> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}
