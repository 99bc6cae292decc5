//! Where the primary stands, asked once for all who want to know at the same time.
//!
//! A token needs a position that lies after the session's last commit. One question may serve
//! everybody who asked before it was sent: so whoever comes while a question is under way shares the
//! next one, and under load a write costs a fraction of a query. It is asked on a connection of its
//! own, which waits for nobody's pool.

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use lagwise_core::{Instant, Position, Standing};
use sqlx::ConnectOptions as _;
use tokio::sync::{mpsc, oneshot};

use crate::backend::{Backend, Identity};
use crate::clock;
use crate::node::Node;
use crate::observe;
use crate::publish::Published;
use crate::view::View;

/// Where the primary stood, and when it was asked.
type Captured = (Position, Instant);

/// Everybody who wants to know.
type Asks = mpsc::UnboundedReceiver<oneshot::Sender<Option<Captured>>>;

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

/// Who answers them.
pub(crate) struct Capturer<DB: Backend> {
    asks: Asks,
    questioner: Questioner<DB>,
}

/// Asks the primary.
struct Questioner<DB: Backend> {
    published: Arc<Published<View<DB>>>,
    line: Option<Line<DB>>,
}

/// A connection to the node that was the primary when it was opened.
struct Line<DB: Backend> {
    node: Arc<Node<DB>>,
    connection: DB::Connection,
    known: Option<Identity>,
}

impl<DB: Backend> Capturer<DB> {
    /// The one who asks, and the way to it.
    pub(crate) fn new(published: Arc<Published<View<DB>>>) -> (Self, Captures) {
        let (asks, asked) = mpsc::unbounded_channel();
        let questioner = Questioner {
            published,
            line: None,
        };
        let capturer = Self {
            asks: asked,
            questioner,
        };
        (capturer, Captures { asks })
    }

    /// Asks as long as anybody wants to know.
    pub(crate) async fn run(self) {
        let Self {
            mut asks,
            mut questioner,
        } = self;
        serve(&mut asks, &mut questioner, |questioner| {
            Box::pin(questioner.ask_in_time())
        })
        .await;
    }
}

/// Answers everybody with a question that was sent after they had asked.
async fn serve<Q>(
    asks: &mut Asks,
    questioner: &mut Q,
    question: fn(&mut Q) -> BoxFuture<'_, Option<Captured>>,
) {
    let mut askers = Vec::new();
    while asks.recv_many(&mut askers, AT_ONCE).await > 0 {
        // Whoever gave up meanwhile is no reason to ask.
        askers.retain(|asker| !asker.is_closed());
        if askers.is_empty() {
            continue;
        }
        let began = clock::now();
        let captured = question(questioner).await;
        observe::capture_asked(clock::now().since(began), askers.len());
        for asker in askers.drain(..) {
            // Who has given up needs no answer.
            asker.send(captured).ok();
        }
    }
}

impl<DB: Backend> Questioner<DB> {
    async fn ask_in_time(&mut self) -> Option<Captured> {
        let timeout = self.published.load().policy.capture_timeout;
        let captured = tokio::time::timeout(timeout, self.ask(timeout)).await;
        let captured = captured.ok().flatten();
        if captured.is_none() {
            // Its answer would be that to the next question.
            self.line = None;
        }
        captured
    }

    async fn ask(&mut self, timeout: Duration) -> Option<Captured> {
        let view = self.published.load();
        let primary = view.primary_node()?;
        if let Some(line) = &self.line
            && !Arc::ptr_eq(&line.node, primary)
        {
            self.line = None;
        }
        let line = match &mut self.line {
            Some(line) => line,
            none => {
                let options = primary.monitor_options(timeout);
                let connection = options.connect().await.ok()?;
                none.insert(Line {
                    node: Arc::clone(primary),
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

#[cfg(test)]
mod tests {
    use lagwise_core::{Lsn, SystemId, Timeline};
    use tokio::sync::Notify;

    use super::*;

    fn position(lsn: u64) -> Position {
        Position {
            system: SystemId::new(1),
            timeline: Timeline::new(1),
            lsn: Lsn::new(lsn),
        }
    }

    /// Questions that are answered when they are let go, one after the other.
    #[derive(Default)]
    struct Held {
        asked: u64,
        sent: Arc<Notify>,
        let_go: Arc<Notify>,
    }

    impl Held {
        async fn ask(&mut self) -> Option<Captured> {
            self.asked += 1;
            let captured = (position(self.asked), clock::now());
            self.sent.notify_one();
            self.let_go.notified().await;
            Some(captured)
        }
    }

    #[tokio::test]
    async fn who_asks_while_a_question_is_under_way_shares_the_next_one() {
        let (asks, mut asked) = mpsc::unbounded_channel();
        let captures = Captures { asks };
        let mut held = Held::default();
        let (sent, let_go) = (Arc::clone(&held.sent), Arc::clone(&held.let_go));
        let serving = serve(&mut asked, &mut held, |held| Box::pin(held.ask()));
        let ask = || captures.ask(Duration::from_secs(5));
        // The first question is on its way: it says nothing of what was written since.
        let late = async {
            sent.notified().await;
            tokio::join!(ask(), ask(), async { let_go.notify_one() })
        };
        let release = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let_go.notify_one();
        };
        let answers = tokio::select! {
            () = serving => unreachable!("somebody may still ask"),
            (first, (second, third, ()), ()) = async { tokio::join!(ask(), late, release) } => {
                [first, second, third]
            }
        };
        let numbers = answers.map(|captured| captured.map(|(at, _)| at.lsn.as_u64()));
        assert_eq!(numbers, [Some(1), Some(2), Some(2)]);
    }
}
