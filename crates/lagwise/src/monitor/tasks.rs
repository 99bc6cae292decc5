//! The set of a router's tasks: everything that is spawned is awaited at the end.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// The tasks of one router.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    runtime: Handle,
}

impl Tasks {
    /// An empty set on a runtime. The guard ends every task when it is dropped.
    pub(crate) fn new(runtime: Handle) -> (Self, DropGuard) {
        let token = CancellationToken::new();
        let guard = token.clone().drop_guard();
        (
            Self {
                tracker: TaskTracker::new(),
                token,
                runtime,
            },
            guard,
        )
    }

    /// Runs a future until it ends or the router does. May be called from any thread.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let cancelled = self.token.clone().cancelled_owned();
        let task = async move {
            tokio::select! {
                () = cancelled => {}
                () = future => {}
            }
        };
        drop(self.tracker.spawn_on(task, &self.runtime));
    }

    /// Ends every task and waits for them.
    pub(crate) async fn close(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}
