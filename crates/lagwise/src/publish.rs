//! One pointer to the present snapshot, and a way to wait for the next.
//!
//! The monitor publishes; everybody else reads. There is exactly one pointer, so no two parts of
//! what a reader sees can disagree. A waiter registers before it looks, so it cannot miss the
//! snapshot that it waits for.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lagwise_core::Snapshot;
use tokio::sync::watch;

/// The published snapshot.
#[derive(Debug)]
pub(crate) struct Published {
    snapshot: ArcSwap<Snapshot>,
    version: watch::Sender<u64>,
}

/// Sees every snapshot that is published after it was made.
#[derive(Debug)]
pub(crate) struct Watcher(watch::Receiver<u64>);

impl Published {
    pub(crate) fn new(first: Snapshot) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(first),
            version: watch::Sender::new(0),
        }
    }

    /// Replaces the snapshot and wakes whoever waits. Only the monitor calls this.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        // After the store: who is woken by the version finds the snapshot that goes with it.
        self.version
            .send_modify(|version| *version = version.wrapping_add(1));
    }

    /// The present snapshot.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// A watcher of what is published from now on.
    pub(crate) fn watch(&self) -> Watcher {
        Watcher(self.version.subscribe())
    }
}

impl Watcher {
    /// Waits for a snapshot published since the watcher was made, or since the last call.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The monitor is gone: nothing will ever be published. The caller has a deadline.
            std::future::pending::<()>().await;
        }
    }
}
