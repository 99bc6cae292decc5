//! Connections that are opened before anybody waits for them.
//!
//! To open one takes several round trips, a process on the server, and two questions about where it
//! leads: more than most reads. So while a replica is on its way back into the rotation, as many are opened as are
//! in use elsewhere, and where opening takes longer than reads wait, one is opened in spite of that. Only a
//! connection that says where it leads, and leads to the server that is known, is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lagwise_core::{Instant, Membership, Snapshot};
use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::lease::{Lease, Leased};
use crate::monitor::Tasks;
use crate::node::Node;
use crate::publish::Published;
use crate::turn::Turn;
use crate::view::{Roster, View};

/// Opens a connection in each of these turns at a node; only one call at a time does anything.
pub(crate) fn open<DB: Backend>(
    published: &Arc<Published<View<DB>>>,
    tasks: &Tasks,
    node: &Arc<Node<DB>>,
    turns: Vec<Turn<DB>>,
) {
    // Relaxed: one task more or less makes no difference.
    if turns.is_empty() || node.opening.swap(true, Ordering::Relaxed) {
        return;
    }
    let (published, node) = (Arc::clone(published), Arc::clone(node));
    tasks.spawn(async move {
        let one = |turn| open_in_turn(Arc::clone(&published), turn);
        hold(turns.into_iter().map(one).collect()).await;
        node.opening.store(false, Ordering::Relaxed);
    });
}

/// Holds what was opened until all of it is there: what is given back before is taken for the next, and
/// not another opened. But not for long, for it is of no use to anybody until then.
async fn hold<T: Send + 'static>(mut opening: JoinSet<Option<T>>) {
    let mut opened = Vec::new();
    let all = async {
        while let Some(ended) = opening.join_next().await {
            opened.extend(ended.ok().flatten());
        }
    };
    tokio::time::timeout(HELD, all).await.ok();
    drop(opened);
    while opening.join_next().await.is_some() {}
}

/// Gets replicas ready that have begun to prove themselves: each gets as many connections as the busiest
/// node has in use or is asked for, if any was used of late, and as nobody else takes.
pub(crate) fn get_ready<DB: Backend>(
    published: &Arc<Published<View<DB>>>,
    tasks: &Tasks,
    roster: &Roster<DB>,
    (snapshot, now): (&Snapshot, Instant),
) {
    for seen in snapshot.replicas() {
        let Some(node) = roster.get(seen.id) else {
            continue;
        };
        let is_coming = !matches!(seen.membership, Membership::Ejected { .. });
        // Relaxed: only the monitor asks.
        let was_ready = node.is_ready.swap(is_coming, Ordering::Relaxed);
        if is_coming && !was_ready {
            // Whoever waits for a connection here comes first, and opens it himself.
            let turns = (0..needed(roster, now)).map_while(|_| Turn::at_once(node, now));
            open(published, tasks, node, turns.collect());
        }
    }
}

fn needed<DB: Backend>(roster: &Roster<DB>, now: Instant) -> u32 {
    let is_used = |node: &&Arc<Node<DB>>| node.tally.is_any() && node.load.grants(now, OF_LATE);
    let in_use = roster.iter().filter(is_used);
    in_use
        .map(|node| node.load.in_flight().max(1))
        .max()
        .unwrap_or(0)
}

async fn open_in_turn<DB: Backend>(
    published: Arc<Published<View<DB>>>,
    turn: Turn<DB>,
) -> Option<Leased<DB>> {
    let node = Arc::clone(turn.node());
    let lease = Lease::in_turn(turn).await;
    let lease =
        lease.inspect_err(|error| tracing::trace!(%error, "no connection could be opened ahead"));
    let mut leased = Leased {
        lease: lease.ok()?,
        node,
    };
    vouch(&published, &mut leased).await.then_some(leased)
}

/// Whether a connection leads where its node is known to be.
async fn vouch<DB: Backend>(published: &Published<View<DB>>, leased: &mut Leased<DB>) -> bool {
    let timeout = published.load().policy.probe_timeout;
    let asked = tokio::time::timeout(timeout, DB::ask_once(&mut leased.lease)).await;
    let snapshot = published.load();
    let view = snapshot.node(leased.node.id);
    let (Ok(Ok(reading)), Some(view)) = (asked, view) else {
        return false;
    };
    let is_same = snapshot.system == Some(reading.system) && view.started == Some(reading.started);
    let is_known = is_same || view.spec.balanced;
    if is_known {
        leased.lease.vouch();
    }
    is_known
}

/// For how long those who are opened together wait for each other.
const HELD: Duration = Duration::from_millis(250);

/// Who has used no connection for longer needs none to be ready.
const OF_LATE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use tokio::time::{advance, sleep};

    use super::*;

    /// Holds what is there after so many milliseconds each, and says what is still held each millisecond
    /// until all is over.
    async fn held(after: &[u64]) -> Vec<usize> {
        let there = Arc::new(());
        let one = |millis: &u64| {
            let (wait, there) = (Duration::from_millis(*millis), Arc::clone(&there));
            async move {
                sleep(wait).await;
                Some(there)
            }
        };
        let mut holds = pin!(hold(after.iter().map(one).collect()));
        let mut held = Vec::new();
        while poll_fn(|context| Poll::Ready(holds.as_mut().poll(context).is_pending())).await {
            held.push(Arc::strong_count(&there) - 1);
            advance(Duration::from_millis(1)).await;
        }
        held
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_opened_together_is_given_back_together() {
        let held = held(&[1, 5, 20]).await;
        assert_eq!(held[1..20], [3; 19]);
        assert!(held.len() <= 23, "{held:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_does_not_wait_long_for_what_is_not() {
        let held = held(&[1, 5, 20, 5000]).await;
        let back = held[1..].iter().position(|held| *held == 1);
        assert!(back.is_some_and(|after| after < 260), "{back:?}");
        assert!(held.len() >= 5000, "the last one is opened all the same");
    }
}
