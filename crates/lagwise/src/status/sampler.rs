//! Looks at the cluster every second, and whenever something happens to it.
//!
//! There is one such task for each service, whoever listens. It ends with the router, or soon after
//! the service is dropped: it keeps neither. Bounds grow until a node is asked again; what is kept of a
//! second is how great each was at most.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lagwise_core::{Instant, Snapshot};
use tokio::sync::broadcast::Sender;

use super::board::Board;
use super::events::{Change, Frame, Standing};
use super::history::Peaks;
use crate::backend::Backend;
use crate::clock;
use crate::events::{Events, Happened};
use crate::publish::Published;
use crate::view::View;

/// The task of one service.
pub(super) struct Sampler<DB: Backend> {
    board: Weak<Board<DB>>,
    published: Arc<Published<View<DB>>>,
    frames: Sender<Frame>,
    /// What is published, until the next is.
    seen: Arc<Snapshot>,
    peaks: Peaks,
    last: Instant,
    due: Instant,
}

impl<DB: Backend> Sampler<DB> {
    pub(super) fn new(board: &Arc<Board<DB>>, frames: Sender<Frame>) -> Self {
        let published = board.published();
        let now = clock::now();
        Self {
            board: Arc::downgrade(board),
            seen: Arc::clone(&published.load().snapshot),
            published,
            frames,
            peaks: Peaks::default(),
            last: now,
            due: now,
        }
    }

    /// Samples until nobody is left to sample for.
    pub(super) async fn run(mut self, mut happenings: Events) {
        let mut watcher = self.published.watch();
        // Set anew only when it is due at another time: far more often than that, something is published.
        let mut sleep = pin!(tokio::time::sleep(clock::until(self.due)));
        loop {
            let board = tokio::select! {
                happened = happenings.next() => match happened {
                    Some(happened) => self.note(&happened),
                    None => None,
                },
                () = watcher.changed() => {
                    self.look(clock::now());
                    continue;
                }
                () = &mut sleep => self.sample(),
            };
            if board.is_none() {
                return;
            }
            sleep.set(tokio::time::sleep(clock::until(self.due)));
        }
    }

    /// Something else is published: until now, what was before it held.
    fn look(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.seen, Arc::clone(&self.published.load().snapshot));
        for node in before.replicas() {
            if let Some(bound) = node.staleness(now) {
                self.peaks.raise(&node.spec.name, bound.as_secs_f64());
            }
        }
    }

    fn note(&mut self, happened: &Happened) -> Option<()> {
        let board = self.board.upgrade()?;
        let change = Change::new(happened, board.seconds(happened.at));
        // Nobody may be listening.
        self.frames.send(change.frame()).ok();
        board.history().note(change);
        // What it has led to is seen at once, and a storm of events is not.
        self.due = self.due.min(self.last.after(PAUSE));
        Some(())
    }

    fn sample(&mut self) -> Option<()> {
        let board = self.board.upgrade()?;
        let now = clock::now();
        self.look(now);
        let cluster = board.cluster();
        let peaks = std::mem::take(&mut self.peaks).and(&cluster);
        board.history().record(board.seconds(now), &cluster, &peaks);
        if self.frames.receiver_count() > 0 {
            let standing = Standing::new(&board, now, &cluster, &peaks);
            // The last of them may just have gone.
            self.frames.send(standing.frame()).ok();
        }
        self.last = now;
        self.due = now.after(INTERVAL);
        Some(())
    }
}

/// Between two samples while nothing happens.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two samples at least.
const PAUSE: Duration = Duration::from_millis(100);
