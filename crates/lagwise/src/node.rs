//! One node as the router holds it: its pool, its load, its name.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{NodeId, NodeSpec};
use sqlx::Pool;

use crate::backend::Backend;
use crate::backend::sealed::ConnectOptions;
use crate::lease::Lease;
use crate::load::Load;

/// A node and the way to it.
#[derive(Debug)]
pub(crate) struct Node<DB: Backend> {
    pub(crate) id: NodeId,
    pub(crate) spec: NodeSpec,
    pub(crate) load: Arc<Load>,
    pub(crate) pool: Pool<DB>,
    /// Whether the pool is ours to close.
    pub(crate) owned: bool,
}

impl<DB: Backend> Node<DB> {
    /// Borrows a connection.
    pub(crate) async fn lease(&self) -> Result<Lease<DB>, sqlx::Error> {
        Lease::acquire(self).await
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// How the monitor connects.
    pub(crate) fn monitor_options(&self, timeout: Duration) -> ConnectOptions<DB> {
        DB::monitor_options(&self.pool.connect_options(), timeout)
    }
}
