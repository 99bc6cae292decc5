//! Asks one node where it stands, on a connection of its own.
//!
//! Every question has a deadline, and a connection that missed one is never used again: its answer
//! would be that to the last question.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Observation, ProbeFailure};
use sqlx::ConnectOptions as _;
use tokio::sync::oneshot;

use super::Tasks;
use super::questions::Limit;
use crate::backend::{Backend, Fault, Identity};
use crate::clock;
use crate::node::Node;
use crate::observe;

/// What a probe brought, and the prober that went out for it.
pub(super) struct Outcome<DB: Backend> {
    pub(super) prober: Prober<DB>,
    pub(super) result: Result<Observation, ProbeFailure>,
}

/// The prober of one node.
pub(super) struct Prober<DB: Backend> {
    pub(super) node: Arc<Node<DB>>,
    tasks: Tasks,
    line: Option<Line<DB>>,
    lines: u64,
}

impl<DB: Backend> fmt::Debug for Prober<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("node", &self.node.name())
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

/// The connection, and what the node said once on it.
struct Line<DB: Backend> {
    connection: DB::Connection,
    known: Option<Identity>,
}

impl<DB: Backend> Prober<DB> {
    pub(super) fn new(node: &Arc<Node<DB>>, tasks: &Tasks) -> Self {
        Self {
            node: Arc::clone(node),
            tasks: tasks.clone(),
            line: None,
            lines: 0,
        }
    }

    /// Asks, until the limit ends it. The server is told to give up after `timeout`.
    pub(super) async fn probe(mut self, timeout: Duration, limit: Limit) -> Outcome<DB> {
        if self.node.tenure.take_doubt() {
            self.line = None;
        }
        let connected = self.line.is_some();
        let began = clock::now();
        let answer = limit.hold(self.ask(timeout)).await;
        let ended = clock::now();
        let took = ended.since(began);
        let result = answer.unwrap_or(Err(ProbeFailure::Timeout));
        match result {
            // What it takes to connect says nothing of how fast the node answers.
            Ok(_) if connected => self.node.load.probed(ended, took),
            Ok(_) => {}
            Err(_) => self.line = None,
        }
        observe::probed(self.node.name(), took, result.as_ref().err().copied());
        observe::in_use(&self.node);
        Outcome {
            prober: self,
            result,
        }
    }

    /// Takes leave of the node: nobody will ask it any longer.
    pub(super) fn leave(self) {
        if let Some(line) = self.line {
            self.tasks.spawn(async move {
                let closes = sqlx::Connection::close(line.connection);
                tokio::time::timeout(FAREWELL, closes).await.ok();
            });
        }
    }

    async fn ask(&mut self, timeout: Duration) -> Result<Observation, ProbeFailure> {
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                let connection = connect(&self.node, &self.tasks, timeout).await?;
                self.lines += 1;
                none.insert(Line {
                    connection,
                    known: None,
                })
            }
        };
        // Read before the question is sent: what the answer covers was there by then.
        let sent_at = clock::now();
        let reading = DB::probe(&mut line.connection, &mut line.known)
            .await
            .map_err(|error| {
                tracing::debug!(node = %self.node.name(), %error, "a probe failed");
                match DB::fault(&error) {
                    Fault::Node => ProbeFailure::Lost,
                    Fault::Busy | Fault::Conflict | Fault::ReplicaRefuses | Fault::Statement => {
                        ProbeFailure::Refused
                    }
                }
            })?;
        Ok(Observation {
            sent_at,
            received_at: clock::now(),
            connection: self.lines,
            system: reading.system,
            started: reading.started,
            standing: reading.standing,
        })
    }
}

/// Connects, in a task of its own that ends when nobody waits for it: keys and passwords take a processor
/// for milliseconds, during which all other answers would wait.
async fn connect<DB: Backend>(
    node: &Arc<Node<DB>>,
    tasks: &Tasks,
    timeout: Duration,
) -> Result<DB::Connection, ProbeFailure> {
    let (mut connected, connection) = oneshot::channel();
    let node = Arc::clone(node);
    tasks.spawn(async move {
        let options = node.monitor_options(timeout);
        tokio::select! {
            () = connected.closed() => {}
            outcome = options.connect() => {
                let outcome = outcome.inspect_err(|error| {
                    tracing::debug!(node = %node.name(), %error, "the monitor cannot connect");
                });
                // Its time may be up.
                connected.send(outcome.ok()).ok();
            }
        }
    });
    connection.await.ok().flatten().ok_or(ProbeFailure::Connect)
}

/// A node that does not take its leave in time is left without.
const FAREWELL: Duration = Duration::from_millis(500);
