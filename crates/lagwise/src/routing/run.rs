//! Runs a read, and once more where that is safe and can help.
//!
//! A replica that falls silent answers neither the read nor its end: only the monitor can tell. So a
//! read under way is given up as soon as the monitor knows that its replica has gone, and at its
//! deadline wherever it runs.

use std::future::Future;
use std::io;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use lagwise_core::{Instant, Sight, Timeline};

use super::at_once::NotNow;
use super::deadline::{is_timed_out, passed, timed_out};
use super::read::Search;
use super::{Caller, hedge};
use crate::backend::{Backend, Fault};
use crate::connection::ReadConnection;
use crate::error::Error;
use crate::options::ReadOptions;
use crate::shared::Shared;

/// Runs `work` on a node that meets the options; if that node fails, once more on another one.
#[tracing::instrument(
    name = "lagwise.run_read",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason, lagwise.dry)
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
    let mut search = Search::new(caller, options);
    loop {
        match attempt(&mut search, &mut work).await? {
            Ok(answer) => return Ok(answer),
            Err(failed) => search.forgive(failed)?,
        }
    }
}

/// What became of a statement that was taken for a read.
#[derive(Debug)]
pub(crate) enum Ran<T> {
    Done(T),
    /// The replica of this name refused it as a write.
    Refused(Arc<str>),
}

/// Why a statement has no answer yet.
pub(crate) enum NotYet<DB: Backend> {
    /// It cannot be run at once.
    NotRun(NotNow<DB>),
    /// It was run, and failed.
    Failed(Failed),
}

/// [`run_read`] for a statement that may turn out to be a write, and has no answer yet. It is not tried
/// again then: it has to be run as one.
pub(crate) async fn run_later<DB, T, F>(
    caller: Caller<'_, DB>,
    began: Instant,
    not_yet: NotYet<DB>,
    mut work: F,
) -> Result<Ran<T>, Error>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let options = ReadOptions::new();
    let (turn, failed) = match not_yet {
        NotYet::Failed(failed) => (None, Some(failed)),
        NotYet::NotRun(not_now) => match caller.read_in_turn(&options, not_now, began).await {
            Err(turn) => (turn, None),
            Ok(mut connection) => {
                connection.for_statement();
                let (run, deadline) = (connection.run(), caller.deadline(&options, began));
                let answers = work(&mut connection);
                let outcome = until_end(caller.shared, run, deadline, answers).await;
                match end_use(connection, outcome) {
                    Ok(answer) => return Ok(Ran::Done(answer)),
                    Err(failed) => (None, Some(failed)),
                }
            }
        },
    };
    let search = Search::begun(caller, options, began).in_turn(turn);
    Box::pin(run_by_search(search, failed, work)).await
}

/// What has come of what was found for a statement.
pub(crate) fn settle<DB: Backend, T>(
    found: Result<ReadConnection<DB>, NotNow<DB>>,
    outcome: Option<Result<T, sqlx::Error>>,
) -> Result<T, NotYet<DB>> {
    match (found, outcome) {
        (Ok(connection), Some(outcome)) => end_use(connection, outcome).map_err(NotYet::Failed),
        (Ok(_), None) => Err(NotYet::NotRun(NotNow::Search)),
        (Err(not_now), _) => Err(NotYet::NotRun(not_now)),
    }
}

fn end_use<DB: Backend, T>(
    mut connection: ReadConnection<DB>,
    outcome: Result<T, sqlx::Error>,
) -> Result<T, Failed> {
    match outcome {
        Ok(answer) => {
            connection.answered();
            Ok(answer)
        }
        Err(error) => Err(Failed::on(connection, error)),
    }
}

/// Runs a statement on what is found for it.
#[tracing::instrument(
    name = "lagwise.statement",
    target = "lagwise::route",
    level = "debug",
    skip_all,
    fields(lagwise.node, lagwise.reason, lagwise.dry)
)]
async fn run_by_search<DB, T, F>(
    search: Search<'_, DB>,
    mut failed: Option<Failed>,
    mut work: F,
) -> Result<Ran<T>, Error>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let mut search = search.for_statement();
    loop {
        match failed.take() {
            None => match attempt(&mut search, &mut work).await? {
                Ok(answer) => return Ok(Ran::Done(answer)),
                Err(error) => failed = Some(error),
            },
            Some(failed) if failed.is_refusal::<DB>() => return Ok(Ran::Refused(failed.node)),
            Some(failed) => search.forgive(failed)?,
        }
    }
}

/// Runs `work` until its end, that of its node or the deadline.
pub(super) async fn until_end<DB: Backend, T>(
    shared: &Shared<DB>,
    run: Run,
    deadline: Instant,
    work: BoxFuture<'_, Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::select! {
        biased;
        outcome = work => outcome,
        () = end_of(shared, run) => Err(fallen_silent()),
        () = passed(deadline) => Err(timed_out()),
    }
}

/// One attempt: the inner error is that of the node, and may be forgiven.
async fn attempt<DB, T, F>(
    search: &mut Search<'_, DB>,
    work: &mut F,
) -> Result<Result<T, Failed>, Error>
where
    DB: Backend,
    F: for<'c> FnMut(&'c mut DB::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
    T: Send,
{
    let connection = search.run().await?;
    Ok(hedge::run(search, connection, work).await)
}

/// A read that failed on a node that was found for it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) node: Arc<str>,
    pub(crate) on_replica: bool,
    pub(crate) error: sqlx::Error,
}

impl Failed {
    /// Gives the connection up: its place must be free again before the next one is looked for.
    pub(crate) fn on<DB: Backend>(connection: ReadConnection<DB>, error: sqlx::Error) -> Self {
        let node = Arc::clone(&connection.route().node);
        let on_replica = connection.sight().is_some();
        if is_silence(&error) || is_timed_out(&error) {
            connection.discard();
        } else {
            connection.fail();
        }
        Self {
            node,
            on_replica,
            error,
        }
    }

    /// Whether a replica has refused to do what only the primary can.
    pub(crate) fn is_refusal<DB: Backend>(&self) -> bool {
        self.on_replica && DB::fault(&self.error) == Fault::ReplicaRefuses
    }
}

/// What a connection is of, as long as it is worth waiting for an answer on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    /// This run of a replica.
    Replica(Sight),
    /// The primary, on this timeline.
    Primary(Option<Timeline>),
}

/// Waits until the monitor knows that a replica's run has ended, or that another node was promoted
/// after the primary: whoever still waits there for an answer may wait for ever.
pub(crate) fn end_of<DB: Backend>(shared: &Shared<DB>, run: Run) -> impl Future<Output = ()> + '_ {
    // One wait for both: most reads run on replicas, and all would carry a place for another.
    shared.published.until_end(move |view| match run {
        Run::Replica(sight) => !view.runs_on(sight),
        Run::Primary(on) => on.is_some() && view.timeline > on,
    })
}

pub(crate) fn fallen_silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, Silence))
}

pub(crate) fn is_silence(error: &sqlx::Error) -> bool {
    let sqlx::Error::Io(error) = error else {
        return false;
    };
    error.get_ref().is_some_and(|cause| cause.is::<Silence>())
}

/// The node has gone, as the monitor knows, while a statement was under way on it.
#[derive(Debug, thiserror::Error)]
#[error("the node has gone while a statement was under way on it")]
struct Silence;
