//! The handle that an application holds: every way to a connection, and to what the monitor knows.

mod operations;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::{Classification, NodeView, Role, Snapshot};
use sqlx::{Pool, SqlSafeStr};

pub use self::operations::Shutdown;
use crate::ambient;
use crate::backend::Backend;
use crate::builder::RouterBuilder;
use crate::connection::{ReadConnection, WriteConnection};
use crate::error::Error;
use crate::events::Events;
use crate::executor::Origin;
use crate::observe;
use crate::options::ReadOptions;
use crate::routing;
use crate::session::Session;
use crate::shared::{RouterId, Shared};
use crate::token::Token;
use crate::transaction::Transaction;
use crate::view::View;

/// Routes statements over a primary and its replicas.
///
/// A cheap clone. When the last clone and the last session are dropped, its monitor ends;
/// [`Router::close`] ends it at once and waits for it.
///
/// Inside [`Session::scope`], the methods of a router act in that session.
pub struct Router<DB: Backend> {
    shared: Arc<Shared<DB>>,
}

impl<DB: Backend> Router<DB> {
    /// Begins a router: add the nodes, then [`connect`](RouterBuilder::connect).
    pub fn builder() -> RouterBuilder<DB> {
        RouterBuilder::new()
    }

    /// A new session, which has written and seen nothing yet.
    #[must_use]
    pub fn session(&self) -> Session<DB> {
        Session::new(self.clone())
    }

    /// The session that a token was taken of, as far as it is good: a bad one, one of another
    /// cluster, or one that is too old, is counted as such and leads to a session that has neither
    /// written nor read.
    ///
    /// ```no_run
    /// # async fn example(db: lagwise::PgRouter, elsewhere: lagwise::PgRouter) -> Result<(), lagwise::Error> {
    /// let session = db.session();
    /// sqlx::query("insert into notes (body) values ('carried')").execute(&session).await?;
    /// let token = session.token().await?;
    ///
    /// let session = elsewhere.resume(&token); // sees the note, on whichever node
    /// # drop(session); Ok(()) }
    /// ```
    #[must_use]
    pub fn resume(&self, token: &Token) -> Session<DB> {
        let session = self.session();
        // Why a token is no good is counted.
        session.take_up(token, None).ok();
        session
    }

    /// [`Router::resume`] of a token that was made for `binding` by [`Session::token_for`].
    #[must_use]
    pub fn resume_for(&self, token: &Token, binding: &str) -> Session<DB> {
        let session = self.session();
        session.take_up(token, Some(binding)).ok();
        session
    }

    /// The session that this code runs in, if it runs in one of this router: see [`Session::scope`].
    #[must_use]
    pub fn current_session(&self) -> Option<Session<DB>> {
        let (state, rules) = ambient::session(self.shared.id)?;
        Some(Session::entered(self.clone(), state, rules))
    }

    /// A connection for reading: in the ambient session as [`Session::read`]; outside of one, to any
    /// replica in rotation.
    ///
    /// # Errors
    /// If no node can serve the read, or none could be connected to.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn read(&self) -> Result<ReadConnection<DB>, Error> {
        self.read_with(ReadOptions::new()).await
    }

    /// [`Router::read`] with a requirement: a bound on staleness ([`Within`](crate::Within)), another
    /// fallback, another wait.
    ///
    /// # Errors
    /// As [`Router::read`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn read_with(
        &self,
        options: impl Into<ReadOptions>,
    ) -> Result<ReadConnection<DB>, Error> {
        routing::read(Origin::ambient(self).caller(), options.into()).await
    }

    /// Runs a read, and once more on another node if the first one fails as a node does. See
    /// [`Session::run_read`].
    ///
    /// # Errors
    /// As [`Router::read`], and what the closure returns.
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

    /// [`Router::run_read`] with options.
    ///
    /// # Errors
    /// As [`Router::run_read`].
    ///
    /// # Cancel safety
    /// As [`Router::run_read`].
    pub async fn run_read_with<T, F>(
        &self,
        options: impl Into<ReadOptions>,
        work: F,
    ) -> Result<T, Error>
    where
        F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
        T: Send,
    {
        routing::run_read(Origin::ambient(self).caller(), options.into(), work).await
    }

    /// A connection to the primary.
    ///
    /// # Errors
    /// If no primary is known, or it could not be connected to.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn write(&self) -> Result<WriteConnection<DB>, Error> {
        routing::write(Origin::ambient(self).caller()).await
    }

    /// [`Router::write`], under the name and with the errors of a pool's.
    ///
    /// # Errors
    /// As [`Router::write`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn acquire(&self) -> Result<WriteConnection<DB>, sqlx::Error> {
        Ok(self.write().await?)
    }

    /// A transaction on the primary.
    ///
    /// # Errors
    /// As [`Router::write`], and if the transaction cannot begin.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        Ok(routing::begin(Origin::ambient(self).caller(), None).await?)
    }

    /// A transaction on the primary that begins with a statement of its own, such as
    /// `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    /// As [`Router::begin`], and if the statement begins no transaction.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> Result<Transaction<DB>, sqlx::Error> {
        let statement = statement.into_sql_str();
        Ok(routing::begin(Origin::ambient(self).caller(), Some(statement)).await?)
    }

    /// A transaction that only reads: one node, and one state of it throughout.
    ///
    /// # Errors
    /// As [`Router::read`], and if the transaction cannot begin.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin_read_only(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.begin_read_only_with(ReadOptions::new()).await
    }

    /// [`Router::begin_read_only`] with options.
    ///
    /// # Errors
    /// As [`Router::begin_read_only`].
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn begin_read_only_with(
        &self,
        options: impl Into<ReadOptions>,
    ) -> Result<Transaction<DB>, sqlx::Error> {
        Ok(routing::begin_read_only(Origin::ambient(self).caller(), options.into()).await?)
    }

    /// Where the text of a statement may run, and what in it says so, by what is known of the
    /// database now.
    ///
    /// What a replica has refused as a write goes to the primary, whatever is said here.
    #[must_use]
    pub fn classify<'a>(&self, sql: &'a str) -> Classification<'a> {
        self.shared.statements.classify::<DB>(sql)
    }

    /// What the monitor knows now. Costs one atomic load.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shared.published.load().snapshot)
    }

    /// What happens to the cluster from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.events.subscribe()
    }

    /// Waits until writes have a primary and at least `replicas` replicas take reads.
    ///
    /// # Errors
    /// If that takes longer than `timeout`. The message names what is missing and why.
    ///
    /// # Cancel safety
    /// A dropped call has no effect.
    pub async fn ready(&self, replicas: usize, timeout: Duration) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::closed());
        }
        let is_ready = |view: &View<DB>| missing(view, replicas).is_none().then_some(());
        let waits = self.shared.published.until(is_ready);
        tokio::select! {
            biased;
            () = self.shared.tasks.cancelled() => Err(Error::closed()),
            () = waits => Ok(()),
            () = tokio::time::sleep(timeout) => match missing(&self.snapshot(), replicas) {
                Some(missing) => Err(Error::not_ready(missing)),
                None => Ok(()),
            },
        }
    }

    pub(crate) fn new(shared: Shared<DB>) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(crate) fn id(&self) -> RouterId {
        self.shared.id
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared<DB>> {
        &self.shared
    }
}

/// What is still missing until the cluster is ready.
fn missing(snapshot: &Snapshot, replicas: usize) -> Option<String> {
    let state = || {
        let describe = |node| describe(snapshot, node);
        let states: Vec<String> = snapshot.present().map(describe).collect();
        states.join(", ")
    };
    if snapshot.primary.is_none() || snapshot.primary_lost.is_some() {
        return Some(format!("no node accepts writes ({})", state()));
    }
    let found = snapshot.in_rotation();
    (found < replicas).then(|| format!("{found} of {replicas} replicas take reads ({})", state()))
}

/// Where a node stands, in a few words.
fn describe(snapshot: &Snapshot, node: &NodeView) -> String {
    let role = node.role.map_or("never seen", Role::as_str);
    let standing = match node.membership.cause() {
        _ if snapshot.primary == Some(node.id) && snapshot.primary_lost.is_some() => "lost",
        _ if snapshot.primary == Some(node.id) => "takes writes",
        Some(cause) => cause.as_str(),
        None => "in rotation",
    };
    format!("{}: {role}, {standing}", node.spec.name)
}

impl<DB: Backend> fmt::Debug for Router<DB> {
    /// Names the nodes and where they stand; what is behind them may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        let describe = |node| describe(&snapshot, node);
        let nodes: Vec<String> = snapshot.present().map(describe).collect();
        f.debug_struct("Router")
            .field("nodes", &nodes)
            .finish_non_exhaustive()
    }
}

/// What only a pool can do, such as `COPY`, a listener, or a function that takes a pool: the primary's
/// pool.
///
/// Nobody sees what is done with it, so inside a session this keeps the session on the primary from
/// then on.
impl<DB: Backend> Deref for Router<DB> {
    type Target = Pool<DB>;

    fn deref(&self) -> &Pool<DB> {
        if let Some((session, _)) = ambient::session(self.shared.id) {
            session.bind_to_primary();
            observe::session_bound();
        }
        self.shared.primary_pool()
    }
}

impl<DB: Backend> Clone for Router<DB> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}
