//! One node as the router holds it: its pool, its load, its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lagwise_core::{NodeId, NodeSpec};
use sqlx::Pool;

use crate::backend::Backend;
use crate::backend::sealed::ConnectOptions;
use crate::lease::Lease;
use crate::load::Load;
use crate::monitor::Tasks;

/// A node and the way to it.
#[derive(Debug)]
pub(crate) struct Node<DB: Backend> {
    pub(crate) id: NodeId,
    pub(crate) spec: NodeSpec,
    pub(crate) load: Arc<Load>,
    pub(crate) pool: Pool<DB>,
    /// Whether the pool is ours to close.
    pub(crate) owned: bool,
    /// Whether a connection is being opened that nobody waits for.
    pub(crate) opening: Arc<AtomicBool>,
}

impl<DB: Backend> Node<DB> {
    /// Borrows a connection.
    pub(crate) async fn lease(&self) -> Result<Lease<DB>, sqlx::Error> {
        Lease::acquire(self).await
    }

    /// Goes on opening a connection for whoever comes next: where that takes longer than reads wait, none
    /// of them would ever see the end of it.
    pub(crate) fn open_ahead(&self, tasks: &Tasks) {
        // Relaxed: one task more or less makes no difference.
        if self.opening.swap(true, Ordering::Relaxed) {
            return;
        }
        let (pool, opening) = (self.pool.clone(), Arc::clone(&self.opening));
        tasks.spawn(async move {
            if let Err(error) = pool.acquire().await {
                tracing::trace!(%error, "no connection could be opened ahead");
            }
            opening.store(false, Ordering::Relaxed);
        });
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// How the monitor connects.
    pub(crate) fn monitor_options(&self, timeout: Duration) -> ConnectOptions<DB> {
        DB::monitor_options(&self.pool.connect_options(), timeout)
    }
}
