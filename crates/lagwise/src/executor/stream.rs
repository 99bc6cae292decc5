//! Runs a statement whose results are handed over one by one.
//!
//! Until the first one, what failed on one node can be run on another; after it, the caller has seen
//! a part and hears of the failure. What the stream holds, the connection and the session's open read
//! or write, it holds until it ends or is dropped.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use async_stream::try_stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use lagwise_core::{Instant, Reason};

use super::way::{Origin, Way};
use super::{Item, Statement};
use crate::backend::Backend;
use crate::connection::{ReadConnection, WriteConnection};
use crate::observe;
use crate::options::ReadOptions;
use crate::routing::{self, Failed, Search};
use crate::shared::Shared;

/// The results of a statement, run where it belongs, as far as `keep` keeps them.
pub(super) fn stream<'e, DB, T>(
    origin: Origin<DB>,
    statement: Result<Statement<DB>, sqlx::Error>,
    keep: fn(Item<DB>) -> Option<T>,
) -> BoxStream<'e, Result<T, sqlx::Error>>
where
    DB: Backend,
    T: Send + 'e,
{
    Box::pin(try_stream! {
        let statement = statement?;
        let mut route = Attempts::new(&origin, &statement)?;
        loop {
            let mut connection = route.connect().await?;
            let mut handed_out = false;
            let outcome = {
                let mut silence = pin!(connection.silence(&origin.shared));
                let mut deadline = pin!(routing::passed(route.deadline()));
                let mut items = DB::fetch_many_on(connection.driver(), statement.clone());
                loop {
                    let item = tokio::select! {
                        biased;
                        item = next(&mut items) => item.transpose(),
                        () = &mut silence => Err(routing::fallen_silent()),
                        () = &mut deadline => Err(routing::timed_out()),
                    };
                    match item {
                        Ok(None) => break Ok(()),
                        Err(error) => break Err(error),
                        Ok(Some(item)) => {
                            if let Some(item) = keep(item) {
                                if !handed_out {
                                    handed_out = true;
                                    route.learn(None);
                                }
                                yield item;
                            }
                        }
                    }
                }
            };
            if route.ended(connection, outcome, handed_out).await? {
                break;
            }
        }
    })
}

/// The next item of a stream.
pub(super) async fn next<T>(stream: &mut BoxStream<'_, T>) -> Option<T> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// A connection for a statement.
enum Connected<DB: Backend> {
    Read(ReadConnection<DB>),
    Write(WriteConnection<DB>),
}

impl<DB: Backend> Connected<DB> {
    fn driver(&mut self) -> &mut DB::Connection {
        match self {
            Self::Read(connection) => connection,
            Self::Write(connection) => connection,
        }
    }

    /// Waits until the node is known to have gone, so that no more is to be waited for.
    fn silence<'a>(&self, shared: &'a Shared<DB>) -> BoxFuture<'a, ()> {
        match self {
            Self::Read(connection) => Box::pin(routing::end_of(shared, connection.run())),
            Self::Write(connection) => Box::pin(routing::deposed(shared, connection.on())),
        }
    }
}

/// The attempts at one statement.
struct Attempts<'a, DB: Backend> {
    origin: &'a Origin<DB>,
    statement: &'a Statement<DB>,
    next: Next<'a, DB>,
    /// Whether the primary has refused the statement, because it was the primary no longer.
    deposed: bool,
}

enum Next<'a, DB: Backend> {
    /// Wherever the search leads.
    Read(Box<Search<'a, DB>>),
    /// The primary, for a reason; and the replica that has refused the statement, if one has.
    Primary(Reason, Option<Arc<str>>),
}

impl<'a, DB: Backend> Attempts<'a, DB> {
    fn new(origin: &'a Origin<DB>, statement: &'a Statement<DB>) -> Result<Self, sqlx::Error> {
        let next = match origin.way(statement.sql.as_str())? {
            Way::Read => {
                let search = Search::new(origin.caller(), ReadOptions::new());
                Next::Read(Box::new(search.for_statement()))
            }
            Way::Primary(reason) => Next::Primary(reason, None),
        };
        Ok(Self {
            origin,
            statement,
            next,
            deposed: false,
        })
    }

    /// When the statement is cut; what may write never is.
    fn deadline(&self) -> Instant {
        match &self.next {
            Next::Read(search) => search.deadline(),
            Next::Primary(..) => Instant::NEVER,
        }
    }

    async fn connect(&mut self) -> Result<Connected<DB>, sqlx::Error> {
        match &mut self.next {
            Next::Read(search) => Ok(Connected::Read(search.run().await?)),
            Next::Primary(reason, _) => {
                let connection = routing::write_because(self.origin.caller(), *reason).await?;
                Ok(Connected::Write(connection.for_statement(*reason)))
            }
        }
    }

    /// Whether the statement has ended; if not, it is tried again.
    async fn ended(
        &mut self,
        connection: Connected<DB>,
        outcome: Result<(), sqlx::Error>,
        handed_out: bool,
    ) -> Result<bool, sqlx::Error> {
        match connection {
            Connected::Read(connection) => match outcome {
                Ok(()) => Ok(true),
                Err(error) => self.read_failed(connection, error, handed_out),
            },
            Connected::Write(connection) => {
                self.learn(outcome.as_ref().err());
                let node = Arc::clone(&connection.route().node);
                let outcome = connection.end(outcome);
                if handed_out || !self.is_to_be_sent_elsewhere(&node, &outcome).await {
                    return outcome.map(|()| true);
                }
                Ok(false)
            }
        }
    }

    /// Whether the primary has refused the statement because it is the primary no longer. Asked once.
    async fn is_to_be_sent_elsewhere(
        &mut self,
        node: &str,
        outcome: &Result<(), sqlx::Error>,
    ) -> bool {
        if self.deposed || !self.statement.is_refused_whole(outcome) {
            return false;
        }
        self.deposed = routing::is_deposed(&self.origin.shared, node).await;
        self.deposed
    }

    fn read_failed(
        &mut self,
        connection: ReadConnection<DB>,
        error: sqlx::Error,
        handed_out: bool,
    ) -> Result<bool, sqlx::Error> {
        let failed = Failed::on(connection, error);
        let Next::Read(search) = &mut self.next else {
            return Err(failed.error);
        };
        let refused = failed.is_refusal::<DB>();
        if refused {
            observe::statement_refused(&failed.node);
        }
        if handed_out {
            if refused {
                // Too late for this time, but not for the next.
                let shared = &self.origin.shared;
                shared.learn_refusal(&failed.node, self.statement.sql.as_str(), None);
            }
            return Err(search.give_up(failed).into());
        }
        if refused {
            self.next = Next::Primary(Reason::RefusedByReplica, Some(failed.node));
        } else {
            search.forgive(failed)?;
        }
        Ok(false)
    }

    /// The primary has answered, or failed: a statement that a replica refused may be remembered.
    fn learn(&self, error: Option<&sqlx::Error>) {
        if let Next::Primary(_, Some(replica)) = &self.next {
            let shared = &self.origin.shared;
            shared.learn_refusal(replica, self.statement.sql.as_str(), error);
        }
    }
}
