//! A load of reads, and what became of each.
//!
//! Every reader asks the server that answers for its name, one read after the other, so that a test
//! sees who served, who failed and how long it took, from one look to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lagwise::{PgRouter, ReadOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::observe::until;

/// What became of the reads since the last look.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many each node has answered.
    pub served: BTreeMap<String, usize>,
    /// Each read that failed, and how.
    pub failures: Vec<String>,
    /// How long the slowest took, failed or not.
    pub slowest: Duration,
}

impl Tally {
    /// How many were answered.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.served.values().sum()
    }

    /// How many a node has answered.
    #[must_use]
    pub fn by(&self, node: &str) -> usize {
        self.served.get(node).copied().unwrap_or_default()
    }
}

/// Readers at work; they end with this.
#[derive(Debug)]
pub struct Readers {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    readers: JoinSet<()>,
}

impl Readers {
    /// Starts so many readers of a router over nodes that know [`PLACES`](crate::statements::PLACES).
    #[must_use]
    pub fn start(router: &PgRouter, readers: usize, options: ReadOptions) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let (stop, stopped) = watch::channel(false);
        let tasks = (0..readers).map(|_| {
            let reader = Reader {
                router: router.clone(),
                options,
                tally: Arc::clone(&tally),
            };
            reader.run(stopped.clone())
        });
        Self {
            readers: JoinSet::from_iter(tasks),
            tally,
            stop,
        }
    }

    /// What became of the reads that have ended since the last time this was asked.
    #[must_use]
    pub fn take(&self) -> Tally {
        std::mem::take(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What became of them, without forgetting it.
    #[must_use]
    pub fn look(&self) -> Tally {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.clone()
    }

    /// Waits until the reads since the last look fulfill a condition.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Tally) -> bool) -> Outcome {
        until(what, crate::cluster::PATIENCE, async || {
            Ok(condition(&self.look()))
        })
        .await
    }

    /// Ends the readers after their present reads, and says what became of all since the last look.
    pub async fn stop(mut self) -> Tally {
        self.stop.send(true).ok();
        while self.readers.join_next().await.is_some() {}
        self.take()
    }
}

struct Reader {
    router: PgRouter,
    options: ReadOptions,
    tally: Arc<Mutex<Tally>>,
}

impl Reader {
    async fn run(self, stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            self.read().await;
        }
    }

    async fn read(&self) {
        let began = lagwise::now();
        let answer = self.router.run_read_with(self.options, |node| {
            Box::pin(sqlx::query_scalar::<_, String>("select here()").fetch_one(node))
        });
        let answer = answer.await;
        let took = lagwise::now().since(began);
        // A reader that is refused at once would else do nothing but ask again.
        if answer.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.slowest = tally.slowest.max(took);
        match answer {
            Ok(node) => *tally.served.entry(node).or_default() += 1,
            Err(error) => tally.failures.push(format!("{error} ({error:?})")),
        }
    }
}
