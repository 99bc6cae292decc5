//! Transactions on one node, whose end is known exactly.
//!
//! A commit that returns raises the session's floor to that instant. A commit that was sent and
//! whose answer never came may have taken effect: its session stays on the primary for the sticky
//! window. A transaction that was never committed has written nothing.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlStr;

use crate::backend::{Backend, is_certain};
use crate::connection::ReadGuards;
use crate::lease::Lease;
use crate::load::InFlight;
use crate::route::Route;
use crate::session::SessionState;

/// A transaction, which rolls back when it is dropped.
///
/// It dereferences to the driver's connection: `.execute(&mut *transaction)`.
pub struct Transaction<DB: Backend> {
    inner: sqlx::Transaction<'static, DB>,
    route: Route,
    ending: Ending,
    _in_flight: InFlight,
}

/// What must happen when a transaction ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It can only read, and its read ends with it.
    Read { _guards: ReadGuards },
    /// It may write, in a session or outside of one.
    Write {
        session: Option<Arc<SessionState>>,
        sticky_window: Duration,
    },
}

impl<DB: Backend> Transaction<DB> {
    pub(crate) async fn begin(
        lease: Lease<DB>,
        statement: Option<SqlStr>,
        route: Route,
        ending: Ending,
    ) -> Result<Self, sqlx::Error> {
        let (connection, in_flight) = lease.into_parts();
        let inner = sqlx::Transaction::begin(connection, statement).await?;
        Ok(Self {
            inner,
            route,
            ending,
            _in_flight: in_flight,
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
    /// the same.
    ///
    /// # Cancel safety
    /// A dropped call may have committed; the session stays on the primary until that is certain.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let write = match &self.ending {
            Ending::Write {
                session: Some(session),
                sticky_window,
            } => Some(session.open_write(*sticky_window)),
            Ending::Write { session: None, .. } | Ending::Read { .. } => None,
        };
        let outcome = self.inner.commit().await;
        let certain = is_certain::<DB, _>(&outcome);
        match write {
            Some(write) if certain => write.close(),
            uncertain => drop(uncertain),
        }
        outcome
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
