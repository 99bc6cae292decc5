//! Runs a read, and once more where that is safe and can help.
//!
//! A replica that falls silent answers neither the read nor its end: only the monitor can tell. So a
//! read under way is given up as soon as the monitor knows that its replica has gone.

use std::io;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use lagwise_core::{Cause, Sight};

use super::Caller;
use super::read::Search;
use crate::backend::Backend;
use crate::error::Error;
use crate::options::ReadOptions;
use crate::router::Shared;

/// Runs `work` on a node that meets the options; if that node fails, once more on another one.
#[tracing::instrument(
    name = "lagwise.run_read",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason)
)]
pub(crate) async fn run_read<DB, T, F>(
    caller: Caller<'_, DB>,
    options: ReadOptions,
    mut work: F,
) -> Result<T, Error>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let shared = caller.shared;
    let mut search = Search::new(caller, options);
    loop {
        let mut connection = search.run().await?;
        let sight = connection.sight();
        let outcome = tokio::select! {
            biased;
            outcome = work(&mut connection) => outcome,
            () = end_of(shared, sight) => Err(fallen_silent()),
        };
        match outcome {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                let node = Arc::clone(&connection.route().node);
                if is_silence(&error) {
                    connection.discard();
                } else {
                    // Its place must be free again before the next one is looked for.
                    drop(connection);
                }
                search.forgive(&node, error)?;
            }
        }
    }
}

/// Waits until the monitor knows that a replica's run has ended. The primary's is not watched: who
/// reads there has nowhere else to go.
async fn end_of<DB: Backend>(shared: &Shared<DB>, sight: Option<Sight>) {
    let Some(sight) = sight else {
        return std::future::pending().await;
    };
    let mut published = shared.published.watch();
    loop {
        let snapshot = shared.published.load();
        let runs_on = snapshot.node(sight.node).is_some_and(|node| {
            node.incarnation == sight.incarnation
                && node.membership.cause() != Some(Cause::Unreachable)
        });
        if !runs_on {
            return;
        }
        published.changed().await;
    }
}

fn fallen_silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, Silence))
}

fn is_silence(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else {
        return false;
    };
    error.get_ref().is_some_and(|cause| cause.is::<Silence>())
}

/// The replica has gone, as the monitor knows, while a read was under way on it.
#[derive(Debug, thiserror::Error)]
#[error("the replica has gone while a read was under way on it")]
struct Silence;
