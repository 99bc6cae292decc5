//! Callers that write and read all the time, and write down what they were told.
//!
//! A caller goes on with its next request when one has ended, however it ended: nobody tries again
//! for it. What it meant is the business of the drills.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::contender::{Asked, Contender, Failed, Outcome, Row, Seen};
use crate::{Result, clock};

/// How long a request may still take when the drill has ended.
const GRACE: Duration = Duration::from_millis(300);

/// The rest of a caller between two requests, unless a drill has another.
pub const PAUSE: Duration = Duration::from_millis(8);

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many write.
    pub writers: i32,
    /// How many read.
    pub readers: usize,
    /// What they read.
    pub asked: Asked,
    /// The rest of a reader between two reads.
    pub pause: Duration,
}

/// A write that ended.
#[derive(Clone, Debug)]
pub struct Wrote {
    /// The row.
    pub row: Row,
    /// When it began.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// The node that acknowledged it, or what the caller was told.
    pub outcome: Outcome<String>,
}

/// A read that ended.
#[derive(Clone, Debug)]
pub struct Read {
    /// When it began.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// What it saw, or what the caller was told.
    pub outcome: Outcome<Seen>,
}

impl Read {
    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended.saturating_sub(self.began)
    }
}

/// What callers wrote down.
#[derive(Debug, Default)]
pub struct Journal {
    writes: Mutex<Vec<Wrote>>,
    reads: Mutex<Vec<Read>>,
}

impl Journal {
    /// The writes that ended so far.
    #[must_use]
    pub fn writes(&self) -> Vec<Wrote> {
        self.writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The reads that ended so far.
    #[must_use]
    pub fn reads(&self) -> Vec<Read> {
        self.reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn wrote(&self, write: Wrote) {
        self.writes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(write);
    }

    fn read(&self, read: Read) {
        self.reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(read);
    }
}

/// Callers at work.
#[derive(Debug)]
pub struct Load {
    /// What they wrote down so far.
    pub journal: Arc<Journal>,
    stop: watch::Sender<bool>,
    callers: JoinSet<()>,
}

impl Load {
    /// Has callers begin.
    #[must_use]
    pub fn begin(contender: &Arc<dyn Contender>, plan: Plan) -> Self {
        let journal = Arc::new(Journal::default());
        let (stop, stopped) = watch::channel(false);
        let mut callers = JoinSet::new();
        for writer in 0..plan.writers {
            let (contender, journal) = (Arc::clone(contender), Arc::clone(&journal));
            callers.spawn(write(contender, writer, journal, stopped.clone()));
        }
        for reader in 0..plan.readers {
            let (contender, journal) = (Arc::clone(contender), Arc::clone(&journal));
            let begins = begins(plan, reader);
            let stopped = stopped.clone();
            callers.spawn(async move {
                tokio::time::sleep(begins).await;
                read(contender, plan, journal, stopped).await;
            });
        }
        Self {
            journal,
            stop,
            callers,
        }
    }

    /// Has callers end, and waits for them: a request that takes longer than a moment is given up.
    pub async fn end(mut self) -> Result<Arc<Journal>> {
        self.stop.send(true).ok();
        while let Some(ended) = self.callers.join_next().await {
            ended?;
        }
        Ok(self.journal)
    }
}

async fn write(
    contender: Arc<dyn Contender>,
    writer: i32,
    journal: Arc<Journal>,
    mut stop: watch::Receiver<bool>,
) {
    let mut n = 0;
    while !*stop.borrow() {
        n += 1;
        let row = Row { writer, n };
        let began = clock::now();
        let outcome = until_stopped(&mut stop, contender.write(row)).await;
        journal.wrote(Wrote {
            row,
            began,
            ended: clock::now(),
            outcome,
        });
        tokio::time::sleep(PAUSE).await;
    }
}

/// When a reader begins: spread over a rest, since nobody's users come all at once.
fn begins(plan: Plan, reader: usize) -> Duration {
    let (reader, readers) = (u32::try_from(reader), u32::try_from(plan.readers));
    match (reader, readers) {
        (Ok(reader), Ok(readers)) if readers > 0 => plan.pause * reader / readers,
        _ => Duration::ZERO,
    }
}

async fn read(
    contender: Arc<dyn Contender>,
    plan: Plan,
    journal: Arc<Journal>,
    mut stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        let began = clock::now();
        let outcome = until_stopped(&mut stop, contender.read(plan.asked)).await;
        journal.read(Read {
            began,
            ended: clock::now(),
            outcome,
        });
        tokio::time::sleep(plan.pause).await;
    }
}

async fn until_stopped<T>(
    stop: &mut watch::Receiver<bool>,
    work: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let given_up = async {
        // A load that is dropped has ended as well.
        stop.wait_for(|stopped| *stopped).await.ok();
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        outcome = work => outcome,
        () = given_up => Err(Failed::unanswered()),
    }
}
