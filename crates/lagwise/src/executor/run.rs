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
use crate::clock;
use crate::error::Error;
use crate::observe;
use crate::options::ReadOptions;
use crate::routing::{self, Ran};

/// Runs `work` with the statement where it belongs, and hands over what `finish` makes of its answer.
///
/// Where that is, is decided when the statement is made. A read that can be run at once is run here; all
/// else has a future of its own, so that this one is small.
pub(super) fn run<'e, DB, T, R, F>(
    origin: Origin<DB>,
    statement: Result<Statement<DB>, sqlx::Error>,
    work: F,
    finish: fn(T) -> Result<R, sqlx::Error>,
) -> BoxFuture<'e, Result<R, sqlx::Error>>
where
    DB: Backend,
    T: Send + 'e,
    R: Send + 'e,
    F: for<'c> Fn(&'c mut DB::Connection, Statement<DB>) -> BoxFuture<'c, Result<T, sqlx::Error>>
        + Send
        + Sync
        + 'e,
{
    let statement = match statement {
        Ok(statement) => statement,
        Err(error) => return Box::pin(std::future::ready(Err(error))),
    };
    let way = match origin.way(statement.sql.as_str()) {
        Ok(way) => way,
        Err(error) => return Box::pin(std::future::ready(Err(error.into()))),
    };
    match way {
        Way::Primary(reason) => Box::pin(async move {
            let answer = on_primary(&origin, statement, reason, work).await;
            finish(answer?)
        }),
        Way::Read => Box::pin(async move {
            let (caller, began) = (origin.caller(), clock::now());
            let mut found = caller.read_at_once(&ReadOptions::new(), began);
            let mut outcome = None;
            if let Ok(connection) = &mut found {
                connection.for_statement();
                let run = connection.run();
                let deadline = caller.deadline(&ReadOptions::new(), began);
                // As `routing::until_end`, whose future would carry all of this twice.
                outcome = Some(tokio::select! {
                    biased;
                    outcome = work(connection, statement.clone()) => outcome,
                    () = routing::end_of(caller.shared, run) => Err(routing::fallen_silent()),
                    () = routing::passed(deadline) => Err(routing::timed_out()),
                });
            }
            let not_yet = match routing::settle(found, outcome) {
                Ok(answer) => return finish(answer),
                Err(not_yet) => not_yet,
            };
            let later = routing::run_later(caller, began, not_yet, |connection| {
                work(connection, statement.clone())
            });
            // What is rare has a future of its own: this one is small.
            match Box::pin(later).await? {
                Ran::Done(answer) => finish(answer),
                Ran::Refused(node) => {
                    let refused = Box::pin(after_refusal(&origin, statement, &node, work));
                    finish(refused.await?)
                }
            }
        }),
    }
}

/// Runs a statement on the primary that a replica has refused as a write.
async fn after_refusal<DB, T, F>(
    origin: &Origin<DB>,
    statement: Statement<DB>,
    node: &Arc<str>,
    work: F,
) -> Result<T, Error>
where
    DB: Backend,
    F: for<'c> Fn(&'c mut DB::Connection, Statement<DB>) -> BoxFuture<'c, Result<T, sqlx::Error>>,
{
    observe::statement_refused(node);
    let sql = statement.sql.clone();
    let outcome = on_primary(origin, statement, Reason::RefusedByReplica, work).await;
    let error = outcome.as_ref().err().and_then(Error::as_sqlx);
    origin.shared.learn_refusal(node, sql.as_str(), error);
    outcome
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
    if outcome.is_ok() {
        connection.answered();
    }
    Ok((node, connection.end(outcome)))
}
