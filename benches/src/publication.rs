//! The one published pointer, as everybody reads it.

use std::sync::Arc;

use lagwise_core::Snapshot;

use crate::publish::Published;

/// Where a snapshot is published.
#[derive(Debug)]
pub struct Publication(Published<Snapshot>);

impl Publication {
    /// Publishes a first one.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self(Published::new(first))
    }

    /// What is published at present.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load()
    }

    /// Publishes the next one.
    pub fn publish(&self, next: Snapshot) {
        self.0.publish(next, false);
    }
}
