//! Asks one node where it stands, on a connection of its own.
//!
//! Every question has a deadline, and a connection that missed one is never used again: its answer
//! would be that to the last question.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Observation, ProbeFailure};
use sqlx::ConnectOptions as _;
use tokio::sync::mpsc;

use super::alarm::Alarm;
use crate::backend::{Backend, Fault, Identity};
use crate::clock;
use crate::node::Node;
use crate::observe;
use crate::publish::Published;
use crate::view::View;

/// What a probe brought.
#[derive(Debug)]
pub(crate) struct Outcome<DB: Backend> {
    pub(crate) node: Arc<Node<DB>>,
    pub(crate) result: Result<Observation, ProbeFailure>,
}

/// The prober of one node.
pub(crate) struct Prober<DB: Backend> {
    node: Arc<Node<DB>>,
    published: Arc<Published<View<DB>>>,
    outcomes: mpsc::Sender<Outcome<DB>>,
    line: Option<Line<DB>>,
    lines: u64,
}

/// The connection, and what the node said once on it.
struct Line<DB: Backend> {
    connection: DB::Connection,
    known: Option<Identity>,
}

impl<DB: Backend> Prober<DB> {
    pub(crate) fn new(
        node: &Arc<Node<DB>>,
        published: &Arc<Published<View<DB>>>,
        outcomes: mpsc::Sender<Outcome<DB>>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            published: Arc::clone(published),
            outcomes,
            line: None,
            lines: 0,
        }
    }

    /// Asks whenever it is told to, and takes leave of the node when nobody will ask any longer.
    pub(crate) async fn run(mut self, mut asked: mpsc::Receiver<()>) {
        let mut deadline = Alarm::new();
        while asked.recv().await.is_some() {
            let result = self.probe(&mut deadline).await;
            let outcome = Outcome {
                node: Arc::clone(&self.node),
                result,
            };
            if self.outcomes.send(outcome).await.is_err() {
                return;
            }
        }
        if let Some(line) = self.line.take() {
            let closes = sqlx::Connection::close(line.connection);
            tokio::time::timeout(FAREWELL, closes).await.ok();
        }
    }

    async fn probe(&mut self, deadline: &mut Alarm) -> Result<Observation, ProbeFailure> {
        if self.node.tenure.take_doubt() {
            self.line = None;
        }
        let connected = self.line.is_some();
        let began = clock::now();
        let timeout = self.published.load().policy.probe_timeout;
        let answer = deadline.limit(timeout, self.ask(timeout)).await;
        let took = clock::now().since(began);
        let result = answer.unwrap_or(Err(ProbeFailure::Timeout));
        match result {
            // What it takes to connect says nothing of how fast the node answers.
            Ok(_) if connected => self.node.load.probed(clock::now(), took),
            Ok(_) => {}
            Err(_) => self.line = None,
        }
        observe::probed(self.node.name(), took, result.as_ref().err().copied());
        observe::in_use(&self.node);
        result
    }

    async fn ask(&mut self, timeout: Duration) -> Result<Observation, ProbeFailure> {
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                let options = self.node.monitor_options(timeout);
                let connection = options.connect().await.map_err(|error| {
                    tracing::debug!(node = %self.node.name(), %error, "the monitor cannot connect");
                    ProbeFailure::Connect
                })?;
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

/// A node that does not take its leave in time is left without.
const FAREWELL: Duration = Duration::from_millis(500);
