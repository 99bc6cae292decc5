//! Callers that run one statement after the other, each in its own way to the server.
//!
//! The ways differ, and the statement does not: what is compared is what the ways need for it. Which
//! statement that is, a case says.

use std::future::Future;

use lagwise::PgSession;
use sqlx::postgres::PgConnection;
use sqlx::{PgExecutor, PgPool};

use crate::Result;
use crate::rounds::Caller;

/// What callers do on whatever runs statements.
pub(crate) trait Work: Copy + Send + Sync + 'static {
    /// Does it once.
    fn on<'e>(self, executor: impl PgExecutor<'e> + 'e) -> impl Future<Output = Result<()>> + Send;
}

/// On a connection of its own.
pub(crate) struct OnConnection<W>(pub(crate) PgConnection, pub(crate) W);

/// Through a pool of the driver.
pub(crate) struct OnPool<W>(pub(crate) PgPool, pub(crate) W);

/// In a session of a router, by statement.
pub(crate) struct OnSession<W>(pub(crate) PgSession, pub(crate) W);

impl<W: Work> Caller for OnConnection<W> {
    async fn call(&mut self) -> Result<()> {
        self.1.on(&mut self.0).await
    }
}

impl<W: Work> Caller for OnPool<W> {
    async fn call(&mut self) -> Result<()> {
        self.1.on(&self.0).await
    }
}

impl<W: Work> Caller for OnSession<W> {
    async fn call(&mut self) -> Result<()> {
        self.1.on(&self.0).await
    }
}
