//! Where the primary stands, asked once for all who want to know at the same time.
//!
//! A token needs a position that lies after the session's last commit. One question may serve
//! everybody who asked before it was sent: so whoever comes while a question is under way shares the
//! next one, and under load a write costs a fraction of a query. It is asked on a connection of its
//! own, which waits for nobody's pool.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, NodeId, Position, Standing};
use sqlx::ConnectOptions as _;
use tokio::sync::{mpsc, oneshot};

use crate::backend::{Backend, Identity};
use crate::clock;
use crate::node::Node;
use crate::observe;
use crate::publish::Published;

/// Where the primary stood, and when it was asked.
type Captured = (Position, Instant);

/// The way to ask.
#[derive(Debug)]
pub(crate) struct Captures {
    asks: mpsc::UnboundedSender<oneshot::Sender<Option<Captured>>>,
}

impl Captures {
    /// The position of the primary, asked after this call; none if it cannot be had in time.
    pub(crate) async fn ask(&self, timeout: Duration) -> Option<Captured> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(answer).ok()?;
        let captured = tokio::time::timeout(timeout, answered).await;
        let captured = captured.ok().and_then(Result::ok).flatten();
        observe::captured(captured.is_some());
        captured
    }
}

/// Asks the primary.
pub(crate) struct Capturer<DB: Backend> {
    nodes: Vec<Arc<Node<DB>>>,
    published: Arc<Published>,
    timeout: Duration,
    asks: mpsc::UnboundedReceiver<oneshot::Sender<Option<Captured>>>,
    line: Option<Line<DB>>,
}

/// A connection to the node that was the primary when it was opened.
struct Line<DB: Backend> {
    node: NodeId,
    connection: DB::Connection,
    known: Option<Identity>,
}

impl<DB: Backend> Capturer<DB> {
    /// The one who asks, and the way to it.
    pub(crate) fn new(
        nodes: Vec<Arc<Node<DB>>>,
        published: Arc<Published>,
        timeout: Duration,
    ) -> (Self, Captures) {
        let (asks, asked) = mpsc::unbounded_channel();
        let capturer = Self {
            nodes,
            published,
            timeout,
            asks: asked,
            line: None,
        };
        (capturer, Captures { asks })
    }

    /// Asks as long as anybody wants to know.
    pub(crate) async fn run(mut self) {
        let mut askers = Vec::new();
        while self.asks.recv_many(&mut askers, AT_ONCE).await > 0 {
            // Whoever gave up meanwhile is no reason to ask.
            askers.retain(|asker| !asker.is_closed());
            if askers.is_empty() {
                continue;
            }
            let began = clock::now();
            let captured = tokio::time::timeout(self.timeout, self.capture()).await;
            if !matches!(captured, Ok(Some(_))) {
                self.line = None;
            }
            let captured = captured.ok().flatten();
            observe::capture_asked(clock::now().since(began), askers.len());
            for asker in askers.drain(..) {
                // Who has given up needs no answer.
                asker.send(captured).ok();
            }
        }
    }

    async fn capture(&mut self) -> Option<Captured> {
        let primary = self.published.load().primary?;
        if self.line.as_ref().is_some_and(|line| line.node != primary) {
            self.line = None;
        }
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                let options = self
                    .nodes
                    .get(primary.index())?
                    .monitor_options(self.timeout);
                let connection = options.connect().await.ok()?;
                none.insert(Line {
                    node: primary,
                    connection,
                    known: None,
                })
            }
        };
        // Read before the question is sent: who asked by then is served by the answer.
        let sent = clock::now();
        let reading = DB::probe(&mut line.connection, &mut line.known)
            .await
            .ok()?;
        match reading.standing {
            Standing::Primary {
                insert, timeline, ..
            } => {
                let position = Position {
                    system: reading.system,
                    timeline,
                    lsn: insert,
                };
                Some((position, sent))
            }
            Standing::Replica { .. } => None,
        }
    }
}

/// More than this share the next question.
const AT_ONCE: usize = 4096;
