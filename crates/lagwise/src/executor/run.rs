//! Runs a statement whose whole result is handed over at its end.
//!
//! Until then nobody has seen a part of it, so what failed on one node can be run on another. A
//! statement that a replica refuses as a write is run once on the primary, and remembered. One that
//! the primary itself refuses, because it is the primary no longer, is run once on the next.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use lagwise_core::Reason;

use super::Statement;
use super::way::{Origin, Way};
use crate::backend::Backend;
use crate::error::Error;
use crate::observe;
use crate::options::ReadOptions;
use crate::routing::{self, Ran};

/// Runs `work` with the statement where it belongs.
pub(super) fn run<'e, DB, T, F>(
    origin: Origin<DB>,
    statement: Result<Statement<DB>, sqlx::Error>,
    work: F,
) -> BoxFuture<'e, Result<T, sqlx::Error>>
where
    DB: Backend,
    T: Send + 'e,
    F: for<'c> Fn(&'c mut DB::Connection, Statement<DB>) -> BoxFuture<'c, Result<T, sqlx::Error>>
        + Send
        + Sync
        + 'e,
{
    Box::pin(async move {
        let statement = statement?;
        match origin.way(statement.sql.as_str())? {
            Way::Primary(reason) => Ok(on_primary(&origin, statement, reason, work).await?),
            Way::Read => read(&origin, statement, work).await,
        }
    })
}

async fn read<DB, T, F>(
    origin: &Origin<DB>,
    statement: Statement<DB>,
    work: F,
) -> Result<T, sqlx::Error>
where
    DB: Backend,
    T: Send,
    F: for<'c> Fn(&'c mut DB::Connection, Statement<DB>) -> BoxFuture<'c, Result<T, sqlx::Error>>
        + Send
        + Sync,
{
    let ran = routing::run_statement(origin.caller(), ReadOptions::new(), |connection| {
        work(connection, statement.clone())
    })
    .await?;
    let node = match ran {
        Ran::Done(answer) => return Ok(answer),
        Ran::Refused(node) => node,
    };
    observe::statement_refused(&node);
    let sql = statement.sql.clone();
    let outcome = on_primary(origin, statement, Reason::RefusedByReplica, work).await;
    let error = outcome.as_ref().err().and_then(Error::as_sqlx);
    origin.shared.learn_refusal(&node, sql.as_str(), error);
    Ok(outcome?)
}

/// Runs a statement on the primary, once.
async fn on_primary<DB, T, F>(
    origin: &Origin<DB>,
    statement: Statement<DB>,
    reason: Reason,
    work: F,
) -> Result<T, Error>
where
    DB: Backend,
    F: for<'c> Fn(&'c mut DB::Connection, Statement<DB>) -> BoxFuture<'c, Result<T, sqlx::Error>>,
{
    let (node, outcome) = once_on_primary(origin, statement.clone(), reason, &work).await?;
    if !statement.is_refused_whole(&outcome) || !routing::is_deposed(&origin.shared, &node).await {
        return Ok(outcome?);
    }
    Ok(once_on_primary(origin, statement, reason, &work).await?.1?)
}

/// The node that a statement ran on, and what came of it. A primary that falls silent while another
/// is promoted is not waited for.
async fn once_on_primary<DB, T, F>(
    origin: &Origin<DB>,
    statement: Statement<DB>,
    reason: Reason,
    work: &F,
) -> Result<(Arc<str>, Result<T, sqlx::Error>), Error>
where
    DB: Backend,
    F: for<'c> Fn(&'c mut DB::Connection, Statement<DB>) -> BoxFuture<'c, Result<T, sqlx::Error>>,
{
    let connection = routing::write_because(origin.caller(), reason).await?;
    let mut connection = connection.for_statement(reason);
    let (node, on) = (Arc::clone(&connection.route().node), connection.on());
    let outcome = tokio::select! {
        biased;
        outcome = work(&mut connection, statement) => outcome,
        () = routing::deposed(&origin.shared, on) => Err(routing::fallen_silent()),
    };
    Ok((node, connection.end(outcome)))
}
