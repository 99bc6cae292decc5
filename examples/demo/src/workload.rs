//! Many sessions that write, read back what they wrote, and browse.
//!
//! Each worker plays one user after another and is the only one that writes its row, so what a read
//! of that row must show is known exactly: at least what its session wrote last. That is checked by
//! value, with no trust in what a router says. How statements reach a node is a `Client`'s business.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::stage::node_of;
use crate::tally::Tally;

/// Reads one note, and has the server that answers say which one it is.
pub(crate) const READ: &str =
    "select value, current_setting('cluster_name') from notes where id = $1";

/// Writes one note.
pub(crate) const WRITE: &str = "update notes set value = $2 where id = $1";

/// What a user does between two statements takes this many milliseconds: enough for two cores to
/// carry the default number of sessions and three servers without being saturated.
const THINKING_MS: std::ops::RangeInclusive<u64> = 8..=24;

/// How often a user reads after having written and read back: with that, nine reads to a write.
const BROWSES: std::ops::RangeInclusive<u32> = 6..=10;

/// A read or write still under way this long after the end hangs.
const LAST_STATEMENT_WITHIN: Duration = Duration::from_secs(10);

/// One user's way to the database.
pub(crate) trait Client: Send + 'static {
    /// The next user comes: nothing of what was written before is expected to be known.
    fn begin_session(&mut self);

    /// Reads a row with [`READ`].
    fn read(&mut self, row: i64) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Writes a row with [`WRITE`].
    fn write(
        &mut self,
        how: Writing,
        row: i64,
        value: i64,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How a write is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writing {
    /// One statement that commits by itself.
    Alone,
    /// In a transaction.
    InTransaction,
}

/// The answer to [`READ`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) value: i64,
    /// The index of the node that gave it.
    pub(crate) node: usize,
}

impl Answer {
    pub(crate) fn from_row((value, cluster_name): (i64, String)) -> Result<Self, Failure> {
        match node_of(&cluster_name) {
            Some(node) => Ok(Self { value, node }),
            None => Err(Failure::new(format!(
                "a node nobody knows answers: {cluster_name:?}"
            ))),
        }
    }
}

/// The running workers.
#[derive(Debug)]
pub(crate) struct Workload {
    workers: JoinSet<()>,
    over: Arc<AtomicBool>,
}

impl Workload {
    /// Has every client work on a row of its own.
    pub(crate) fn start<C: Client>(clients: Vec<C>, seed: u64, tally: &Arc<Tally>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        let rows = i64::try_from(clients.len()).unwrap_or(i64::MAX);
        for (row, client) in (1..).zip(clients) {
            let worker = Worker {
                client,
                row,
                rows,
                random: Rng::with_seed(seed.wrapping_add(row.unsigned_abs())),
                tally: Arc::clone(tally),
                known: None,
            };
            workers.spawn(worker.work(Arc::clone(&over)));
        }
        Self { workers, over }
    }

    /// Has every worker finish the statement it is at.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        // Relaxed: whether a worker sees it now or one statement later makes no difference.
        self.over.store(true, Ordering::Relaxed);
        let ended = async {
            while let Some(worker) = self.workers.join_next().await {
                worker?;
            }
            Ok(())
        };
        tokio::time::timeout(LAST_STATEMENT_WITHIN, ended)
            .await
            .unwrap_or_else(|_| Err(Failure::new("a statement hangs")))
    }
}

/// One user after another.
struct Worker<C> {
    client: C,
    row: i64,
    rows: i64,
    random: Rng,
    tally: Arc<Tally>,
    /// What the present session wrote last; none before its first write.
    known: Option<i64>,
}

impl<C: Client> Worker<C> {
    async fn work(mut self, over: Arc<AtomicBool>) {
        let over = || over.load(Ordering::Relaxed);
        let mut browses = 0;
        let mut value = 0;
        loop {
            self.think().await;
            if over() {
                return;
            }
            if browses > 0 {
                browses -= 1;
                let row = self.any_row();
                self.read(row).await;
                continue;
            }
            self.change_user_perhaps();
            value += 1;
            self.write(value).await;
            self.read(self.row).await;
            browses = self.random.u32(BROWSES);
        }
    }

    /// One time in four, the next user comes.
    fn change_user_perhaps(&mut self) {
        if self.random.u8(..4) == 0 {
            self.client.begin_session();
            self.known = None;
        }
    }

    async fn write(&mut self, value: i64) {
        let how = match self.random.u8(..4) {
            0 => Writing::InTransaction,
            _ => Writing::Alone,
        };
        match self.client.write(how, self.row, value).await {
            Ok(()) => {
                self.known = Some(value);
                self.tally.note_write();
            }
            Err(failure) => self.tally.note_error(format!("a write failed: {failure}")),
        }
    }

    async fn read(&mut self, row: i64) {
        match self.client.read(row).await {
            Ok(answer) => {
                self.tally.note_read(answer.node);
                // A write that failed may have been committed: the row may hold more, never less.
                let missed =
                    row == self.row && self.known.is_some_and(|known| answer.value < known);
                if missed {
                    self.tally.note_stale_read();
                }
            }
            Err(failure) => self.tally.note_error(format!("a read failed: {failure}")),
        }
    }

    /// The session's own row, or anybody's, each half of the time.
    fn any_row(&mut self) -> i64 {
        if self.random.bool() {
            self.row
        } else {
            self.random.i64(1..=self.rows)
        }
    }

    async fn think(&mut self) {
        let pause = self.random.u64(THINKING_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
