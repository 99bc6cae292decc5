//! One node as the router holds it: its pool, its load, its name.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lagwise_core::{Instant, NodeId, NodeSpec};
use sqlx::Pool;

use crate::backend::Backend;
use crate::backend::sealed::ConnectOptions;
use crate::clock;
use crate::lease::Lease;
use crate::load::Load;
use crate::tally::Tally;
use crate::tenure::Tenure;

/// A node and the way to it.
#[derive(Debug)]
pub(crate) struct Node<DB: Backend> {
    pub(crate) id: NodeId,
    pub(crate) spec: NodeSpec,
    pub(crate) load: Arc<Load>,
    pub(crate) pool: Pool<DB>,
    /// Whether the pool is ours to close.
    pub(crate) owned: bool,
    /// The text that the application gave as its address, where it gave one.
    pub(crate) address: Address,
    /// Which server is known to answer here.
    pub(crate) tenure: Arc<Tenure>,
    /// Whether a connection is being opened that nobody waits for.
    pub(crate) opening: Arc<AtomicBool>,
    /// How often it was chosen.
    pub(crate) tally: Tally,
}

/// The text of a URL, to tell it from another. It may hold a password, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(Option<String>);

impl Address {
    pub(crate) const fn new(url: Option<String>) -> Self {
        Self(url)
    }

    /// Whether both are known and the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.is_some() && self == other
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

impl<DB: Backend> Node<DB> {
    /// Whether a read may have a connection here soon: one is idle or can be opened, or those there are
    /// have come round of late.
    pub(crate) fn has_room(&self, now: Instant, of_late: Duration) -> bool {
        let most = self.pool.options().get_max_connections();
        self.pool.num_idle() > 0 || self.pool.size() < most || self.load.grants(now, of_late)
    }

    /// Borrows a connection.
    pub(crate) async fn lease(&self) -> Result<Lease<DB>, sqlx::Error> {
        Lease::acquire(self).await
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// How many of its connections somebody holds. Of a pool that is not ours, those borrowed here.
    pub(crate) fn on_loan(&self) -> u32 {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        let out = if self.owned && !self.pool.is_closed() {
            self.pool.size().saturating_sub(idle)
        } else {
            0
        };
        out.max(self.load.in_flight())
    }

    /// Closes the pool, if it is ours. Connections on loan are waited for until `deadline`; whatever
    /// is given back later is closed then.
    pub(crate) async fn close(&self, deadline: Instant) {
        if !self.owned {
            return;
        }
        // The pool itself closes idle connections only once none is on loan.
        let sweeps = async {
            while let Some(idle) = self.pool.try_acquire() {
                idle.close().await.ok();
            }
        };
        tokio::time::timeout(clock::until(deadline), sweeps)
            .await
            .ok();
        // Even where no time is left, this lets nobody borrow any longer.
        let closes = self.pool.close();
        tokio::time::timeout(clock::until(deadline), closes)
            .await
            .ok();
    }

    /// How the monitor connects.
    pub(crate) fn monitor_options(&self, timeout: Duration) -> ConnectOptions<DB> {
        DB::monitor_options(&self.pool.connect_options(), timeout)
    }
}
