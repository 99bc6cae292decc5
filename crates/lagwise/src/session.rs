//! One user's thread of reads and writes over a router.
//!
//! The core says what a session's next read must be able to see; this module holds that state where
//! concurrent statements can share it, and makes sure that every read and write that begins also
//! ends, however its future ends. The lock is held for a few instructions and never across a wait.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::Floor;
use sqlx::SqlSafeStr;
use tokio::sync::Notify;

use crate::ambient;
use crate::backend::Backend;
use crate::clock;
use crate::connection::{ReadConnection, WriteConnection};
use crate::error::Error;
use crate::options::ReadOptions;
use crate::router::Router;
use crate::routing::{self, Caller, Confirmed};
use crate::transaction::Transaction;

/// A session: its reads see its own writes, and never go back in time on replicas.
///
/// A cheap clone, and usable from several tasks at once: what one of them writes, all of them see.
/// While one read of a session is open, its others go to the same replica, or to the primary.
///
/// Two limits, which are PostgreSQL's: a read on the primary right after one on a replica can, for an
/// instant, lack a commit that the replica showed already, because a commit is shipped before it
/// becomes visible where it was made. And what a failed-over cluster has lost, no session can see.
#[derive(Debug)]
pub struct Session<DB: Backend> {
    router: Router<DB>,
    state: Arc<SessionState>,
}

impl<DB: Backend> Session<DB> {
    pub(crate) fn new(router: Router<DB>) -> Self {
        Self {
            router,
            state: Arc::new(SessionState::default()),
        }
    }

    /// A connection for reading: to a replica that has all that this session wrote and saw, or else
    /// as the router's [`Fallback`](crate::Fallback) says.
    ///
    /// # Errors
    /// If no node can serve the read, or none could be connected to.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn read(&self) -> Result<ReadConnection<DB>, Error> {
        self.read_with(ReadOptions::new()).await
    }

    /// [`Session::read`] that asks for more than the session's floor, or falls back otherwise.
    ///
    /// # Errors
    /// As [`Session::read`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn read_with(
        &self,
        options: impl Into<ReadOptions>,
    ) -> Result<ReadConnection<DB>, Error> {
        routing::read(self.caller(), options.into()).await
    }

    /// Runs a read, and once more on another node if the first one fails as a node does: gone, in
    /// conflict with replay, or silent, as the monitor learns. What the closure does must be fit to be
    /// done twice.
    ///
    /// ```no_run
    /// # async fn example(session: lagwise::PgSession) -> Result<(), lagwise::Error> {
    /// let notes: i64 = session
    ///     .run_read(|node| Box::pin(sqlx::query_scalar("select count(*) from notes").fetch_one(node)))
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Session::read`], and what the closure returns.
    ///
    /// # Cancel safety
    /// A dropped call has no effect, if the closure's future has none.
    pub async fn run_read<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        self.run_read_with(ReadOptions::new(), work).await
    }

    /// [`Session::run_read`] with options.
    ///
    /// # Errors
    /// As [`Session::run_read`].
    ///
    /// # Cancel safety
    /// As [`Session::run_read`].
    pub async fn run_read_with<T, F>(
        &self,
        options: impl Into<ReadOptions>,
        work: F,
    ) -> Result<T, Error>
    where
        F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        routing::run_read(self.caller(), options.into(), work).await
    }

    /// A connection to the primary. The session's next reads see whatever is done on it; while it is
    /// in use they go to the primary.
    ///
    /// # Errors
    /// If no primary is known, or it could not be connected to.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn write(&self) -> Result<WriteConnection<DB>, Error> {
        routing::write(self.caller()).await
    }

    /// [`Session::write`], under the name and with the errors of a pool's.
    ///
    /// # Errors
    /// As [`Session::write`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn acquire(&self) -> Result<WriteConnection<DB>, sqlx::Error> {
        Ok(self.write().await?)
    }

    /// A transaction on the primary. Its commit raises the session's floor.
    ///
    /// # Errors
    /// As [`Session::write`], and if the transaction cannot begin.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        Ok(routing::begin(self.caller(), None).await?)
    }

    /// A transaction on the primary that begins with a statement of its own, such as
    /// `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    /// As [`Session::begin`], and if the statement begins no transaction.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> Result<Transaction<DB>, sqlx::Error> {
        let statement = statement.into_sql_str();
        Ok(routing::begin(self.caller(), Some(statement)).await?)
    }

    /// A transaction that only reads: one node, and one state of it throughout.
    ///
    /// # Errors
    /// As [`Session::read`], and if the transaction cannot begin.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin_read_only(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.begin_read_only_with(ReadOptions::new()).await
    }

    /// [`Session::begin_read_only`] with options.
    ///
    /// # Errors
    /// As [`Session::begin_read_only`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin_read_only_with(
        &self,
        options: impl Into<ReadOptions>,
    ) -> Result<Transaction<DB>, sqlx::Error> {
        Ok(routing::begin_read_only(self.caller(), options.into()).await?)
    }

    /// Runs `future` with this session as the ambient one: whatever it asks of the same router, it
    /// asks in this session. Code deep down needs only the router.
    ///
    /// The session does not follow into spawned tasks; wrap their futures, too.
    ///
    /// ```no_run
    /// # async fn create_note(_: &lagwise::PgRouter) -> Result<(), lagwise::Error> { Ok(()) }
    /// # async fn example(db: lagwise::PgRouter) -> Result<(), lagwise::Error> {
    /// db.session()
    ///     .scope(async {
    ///         create_note(&db).await?;
    ///         let mut node = db.read().await?; // has the note
    ///         # drop(node);
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// That of `future`.
    pub async fn scope<F: Future>(&self, future: F) -> F::Output {
        ambient::scope(self.router.id(), Arc::clone(&self.state), future).await
    }

    /// The router that this session reads and writes through.
    #[must_use]
    pub const fn router(&self) -> &Router<DB> {
        &self.router
    }

    pub(crate) const fn state(&self) -> &Arc<SessionState> {
        &self.state
    }

    fn caller(&self) -> Caller<'_, DB> {
        Caller {
            shared: self.router.shared(),
            session: Some(Arc::clone(&self.state)),
        }
    }
}

impl<DB: Backend> Clone for Session<DB> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            state: Arc::clone(&self.state),
        }
    }
}

/// A session's state, shared by its handles.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    core: Mutex<lagwise_core::Session>,
    changed: Notify,
}

impl SessionState {
    pub(crate) fn floor(&self) -> Floor {
        self.core().floor()
    }

    /// Waits until a read or write of the session has ended that moves its floor away from `floor`.
    pub(crate) async fn changed_from(&self, floor: Floor) {
        let mut changed = pin!(self.changed.notified());
        // Registered before looking, so that no end is missed between the two.
        changed.as_mut().enable();
        if self.floor() == floor {
            changed.await;
        }
    }

    /// Opens a read on a replica, if what the session has seen meanwhile still admits it.
    pub(crate) fn open_read(self: &Arc<Self>, confirmed: Confirmed) -> Option<OpenRead> {
        let Confirmed {
            sight,
            reached,
            fresh,
        } = confirmed;
        let mut core = self.core();
        let opened = if fresh {
            core.open_fresh_read(sight, reached)
        } else {
            core.open_read(sight, reached)
        };
        opened.ok().map(|()| OpenRead {
            state: Arc::clone(self),
            on_primary: false,
        })
    }

    /// Opens a read on the primary.
    pub(crate) fn open_primary_read(self: &Arc<Self>) -> OpenRead {
        self.core().open_primary_read();
        OpenRead {
            state: Arc::clone(self),
            on_primary: true,
        }
    }

    /// Opens a write, which is lost if it is not closed.
    pub(crate) fn open_write(self: &Arc<Self>, sticky_window: Duration) -> OpenWrite {
        self.core().open_write();
        OpenWrite {
            state: Some(Arc::clone(self)),
            sticky_window,
        }
    }

    /// Keeps the session on the primary from now on.
    pub(crate) fn bind_to_primary(&self) {
        self.core().bind_to_primary();
        self.changed.notify_waiters();
    }

    fn core(&self) -> MutexGuard<'_, lagwise_core::Session> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read that is open; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenRead {
    state: Arc<SessionState>,
    on_primary: bool,
}

impl Drop for OpenRead {
    fn drop(&mut self) {
        let now = clock::now();
        if self.on_primary {
            self.state.core().close_primary_read(now);
        } else {
            self.state.core().close_read(now);
        }
        self.state.changed.notify_waiters();
    }
}

/// A write whose end is not known yet. Dropped as it is, its outcome stays unknown, and the session
/// stays on the primary for the sticky window.
#[derive(Debug)]
#[must_use = "a write that is not closed keeps the session on the primary"]
pub(crate) struct OpenWrite {
    state: Option<Arc<SessionState>>,
    sticky_window: Duration,
}

impl OpenWrite {
    /// The handle is gone, and its connection is being asked when the write ended.
    pub(crate) fn settle(&self) {
        if let Some(state) = &self.state {
            state.core().settle_write();
        }
    }

    /// The write has ended by now.
    pub(crate) fn close(mut self) {
        if let Some(state) = self.state.take() {
            state.core().close_write(clock::now());
            state.changed.notify_waiters();
        }
    }
}

impl Drop for OpenWrite {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            state.core().lose_write(clock::now(), self.sticky_window);
            state.changed.notify_waiters();
        }
    }
}
