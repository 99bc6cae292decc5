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
use crate::lease::Leased;
use crate::monitor::Tasks;
use crate::node::Node;
use crate::publish::Published;
use crate::view::{Roster, View};

/// Opens connections to a node, as many at once; only one call at a time does anything.
pub(crate) fn open<DB: Backend>(
    published: &Arc<Published<View<DB>>>,
    tasks: &Tasks,
    node: &Arc<Node<DB>>,
    count: u32,
) {
    // Relaxed: one task more or less makes no difference.
    if count == 0 || node.opening.swap(true, Ordering::Relaxed) {
        return;
    }
    let (published, node) = (Arc::clone(published), Arc::clone(node));
    tasks.spawn(async move {
        let mut opened = Vec::new();
        let one = |_| open_one(Arc::clone(&published), Arc::clone(&node));
        let mut opening: JoinSet<_> = (0..count).map(one).collect();
        while let Some(ended) = opening.join_next().await {
            opened.extend(ended.ok().flatten());
        }
        // Not before: what is given back would be taken for the next.
        drop(opened);
        node.opening.store(false, Ordering::Relaxed);
    });
}

/// Gets replicas ready that have begun to prove themselves: each gets as many connections as the busiest
/// node has in use, if any was used of late.
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
            open(published, tasks, node, needed(roster, now));
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

async fn open_one<DB: Backend>(
    published: Arc<Published<View<DB>>>,
    node: Arc<Node<DB>>,
) -> Option<Leased<DB>> {
    let lease = node.lease().await;
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

/// Who has used no connection for longer needs none to be ready.
const OF_LATE: Duration = Duration::from_secs(10);
