//! Looks at the cluster every second, and whenever something happens to it.
//!
//! There is one such task for each service, whoever listens. It ends with the router, or soon after
//! the service is dropped: it keeps neither.

use std::sync::Weak;
use std::time::Duration;

use lagwise_core::Instant;
use tokio::sync::broadcast::Sender;

use super::board::Board;
use super::events::{self, Change, Frame};
use crate::backend::Backend;
use crate::clock;
use crate::events::Events;

/// Samples until nobody is left to sample for.
pub(super) async fn run<DB: Backend>(
    board: Weak<Board<DB>>,
    mut happenings: Events,
    frames: Sender<Frame>,
) {
    let mut last = clock::now();
    let mut due = last;
    loop {
        tokio::select! {
            happened = happenings.next() => {
                let (Some(happened), Some(board)) = (happened, board.upgrade()) else { return };
                let change = Change::new(&happened, board.seconds(happened.at));
                // Nobody may be listening.
                frames.send(change.frame()).ok();
                board.history().note(change);
                // What it has led to is seen at once, and a storm of events is not.
                due = due.min(last.after(PAUSE));
            }
            () = tokio::time::sleep(clock::until(due)) => {
                let Some(board) = board.upgrade() else { return };
                last = clock::now();
                sample(&board, &frames, last);
                due = last.after(INTERVAL);
            }
        }
    }
}

fn sample<DB: Backend>(board: &Board<DB>, frames: &Sender<Frame>, now: Instant) {
    let cluster = board.cluster();
    board.history().record(board.seconds(now), &cluster);
    if frames.receiver_count() > 0 {
        // The last of them may just have gone.
        frames.send(events::sample(board, &cluster, now)).ok();
    }
}

/// Between two samples while nothing happens.
const INTERVAL: Duration = Duration::from_secs(1);

/// Between two samples at least.
const PAUSE: Duration = Duration::from_millis(100);
