//! A session as it would be if its reads had gone where dry mode would have sent them.
//!
//! What a session may read next follows from what it has read where. A session all of whose reads are
//! on the primary would find every replica behind, and a dry run would tell of nothing else. So its
//! shadow takes part in all that the session writes and is told, and reads where it would have read.
//! Nothing is routed by it, and nothing leaves the process with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lagwise_core::{Floor, Snapshot};

use super::state::{SessionState, admits};
use crate::clock;
use crate::routing::Confirmed;

/// The shadow of a session.
#[derive(Debug, Default)]
pub(super) struct Shadow(Mutex<lagwise_core::Session>);

impl Shadow {
    pub(super) fn core(&self) -> MutexGuard<'_, lagwise_core::Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionState {
    /// What the session's next read would have to see.
    pub(crate) fn shadow_floor(&self, snapshot: &Snapshot) -> Floor {
        let Some(shadow) = self.shadow() else {
            return self.floor();
        };
        let mut core = shadow.core();
        // The session itself says what this brings.
        core.settle_position(snapshot);
        core.floor()
    }

    /// Opens a read that would have been on a replica, if what the session would have seen meanwhile
    /// still admits it.
    pub(crate) fn open_shadow_read(self: &Arc<Self>, confirmed: Confirmed) -> Option<ShadowRead> {
        let admitted = self
            .shadow()
            .is_none_or(|shadow| admits(&mut shadow.core(), confirmed));
        admitted.then(|| ShadowRead {
            state: Arc::clone(self),
            on_primary: false,
        })
    }

    /// Opens a read that would have been on the primary as well.
    pub(crate) fn open_shadow_primary_read(self: &Arc<Self>) -> ShadowRead {
        if let Some(shadow) = self.shadow() {
            shadow.core().open_primary_read();
        }
        ShadowRead {
            state: Arc::clone(self),
            on_primary: true,
        }
    }
}

/// A read in a session's shadow; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ShadowRead {
    state: Arc<SessionState>,
    on_primary: bool,
}

impl Drop for ShadowRead {
    fn drop(&mut self) {
        let now = clock::now();
        match self.state.shadow() {
            Some(shadow) if self.on_primary => shadow.core().close_primary_read(now),
            Some(shadow) => shadow.core().close_read(now),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
