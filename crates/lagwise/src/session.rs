//! One user's thread of reads and writes over a router.
//!
//! The core says what a session's next read must be able to see; its state is in [`state`], and how
//! it travels in [`leaving`]. This is the handle, which also knows what its holder asks of every read.

mod leaving;
mod shadow;
mod state;
#[cfg(feature = "tower")]
mod telling;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::Instant;
use sqlx::SqlSafeStr;

pub(crate) use self::shadow::ShadowRead;
pub(crate) use self::state::{OpenRead, OpenWrite, SessionState, Settled};
#[cfg(feature = "tower")]
pub(crate) use self::telling::Renewal;

use crate::ambient;
use crate::backend::Backend;
use crate::clock;
use crate::connection::{ReadConnection, WriteConnection};
use crate::error::Error;
use crate::options::ReadOptions;
use crate::router::Router;
use crate::routing::{self, Caller};
use crate::rules::Rules;
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
    rules: Rules,
}

impl<DB: Backend> Session<DB> {
    pub(crate) fn new(router: Router<DB>) -> Self {
        let state = if router.shared().dry {
            SessionState::with_shadow()
        } else {
            SessionState::default()
        };
        Self {
            router,
            state: Arc::new(state),
            rules: Rules::default(),
        }
    }

    pub(crate) const fn entered(
        router: Router<DB>,
        state: Arc<SessionState>,
        rules: Rules,
    ) -> Self {
        Self {
            router,
            state,
            rules,
        }
    }

    /// This session, whose reads through this handle ask for more than its floor, or fall back
    /// otherwise, unless they say so themselves.
    ///
    /// ```no_run
    /// # async fn example(session: lagwise::PgSession) -> Result<(), lagwise::Error> {
    /// use lagwise::{Fallback, ReadOptions};
    ///
    /// let patient = session.with_reads(ReadOptions::new().fallback(Fallback::Refuse));
    /// let report = patient.read().await?;
    /// # drop(report); Ok(()) }
    /// ```
    #[must_use]
    pub fn with_reads(&self, options: impl Into<ReadOptions>) -> Self {
        let mut session = self.clone();
        session.rules.reads = options.into().over(&self.rules.reads);
        session
    }

    /// This session, through a handle that refuses whatever is not known to be a read, with an
    /// error that [is read-only](Error::is_read_only).
    #[must_use]
    pub fn read_only(&self) -> Self {
        let mut session = self.clone();
        session.rules.read_only = true;
        session
    }

    /// This session, through a handle that writes, whatever was said before.
    #[must_use]
    pub fn allow_writes(&self) -> Self {
        let mut session = self.clone();
        session.rules.read_only = false;
        session
    }

    /// This session, through a handle whose reads end within `remaining` from now, whatever their own
    /// wait and [deadline](crate::ReadOptions::deadline) are.
    #[must_use]
    pub fn with_deadline(&self, remaining: Duration) -> Self {
        let mut session = self.clone();
        let deadline = clock::now().after(remaining);
        session.rules.deadline = Some(self.rules.deadline.unwrap_or(Instant::NEVER).min(deadline));
        session
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
        ambient::scope(self, future).await
    }

    /// The router that this session reads and writes through.
    #[must_use]
    pub const fn router(&self) -> &Router<DB> {
        &self.router
    }

    pub(crate) const fn state(&self) -> &Arc<SessionState> {
        &self.state
    }

    pub(crate) const fn rules(&self) -> Rules {
        self.rules
    }

    pub(crate) fn caller(&self) -> Caller<'_, DB> {
        Caller::new(self.router.shared(), Some(&self.state), &self.rules)
    }
}

impl<DB: Backend> Clone for Session<DB> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            state: Arc::clone(&self.state),
            rules: self.rules,
        }
    }
}
