//! A session's state, where concurrent statements share it.
//!
//! Every read and write that begins also ends, however its future ends. The lock is held for a few
//! instructions and never across a wait.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lagwise_core::{Floor, Reached, Sight, Snapshot, Timeline};

use super::shadow::{Shadow, ShadowRead};
use crate::clock;
use crate::observe;
use crate::routing::{Confirmed, Shows};
use crate::sync::{AtomicU32, Mutex, MutexGuard, Notify, Ordering};

/// A session's state, shared by its handles.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    core: Mutex<lagwise_core::Session>,
    /// Only in dry mode.
    shadow: Option<Box<Shadow>>,
    changed: Notify,
    /// How many wait for a change: hardly ever anybody.
    watching: AtomicU32,
}

/// A session that was looked at, and that nobody else changes as long as this lives.
pub(crate) struct Settled<'a> {
    state: &'a Arc<SessionState>,
    core: MutexGuard<'a, lagwise_core::Session>,
}

impl SessionState {
    /// A session whose reads are all on the primary, and that knows where they would have been.
    pub(crate) fn with_shadow() -> Self {
        Self {
            shadow: Some(Box::default()),
            ..Self::default()
        }
    }

    pub(crate) fn floor(&self) -> Floor {
        self.core().floor()
    }

    /// The floor, after a look whether what the session brought with it can be.
    pub(crate) fn floor_under(self: &Arc<Self>, snapshot: &Snapshot) -> Floor {
        self.settled(snapshot).floor()
    }

    /// Looks whether what the session brought with it can be.
    pub(crate) fn settled(self: &Arc<Self>, snapshot: &Snapshot) -> Settled<'_> {
        let mut core = self.core();
        if let Some(voided) = core.settle_position(snapshot) {
            observe::position_voided(voided);
        }
        Settled { state: self, core }
    }

    /// Waits until a read or write of the session has ended that moves its floor away from `floor`.
    pub(crate) async fn changed_from(&self, floor: Floor) {
        let _watching = Watching::enter(&self.watching);
        let mut changed = pin!(self.changed.notified());
        // Registered before looking, so that no end is missed between the two.
        changed.as_mut().enable();
        if self.floor() == floor {
            changed.await;
        }
    }

    /// Opens a read on a replica, if what the session has seen meanwhile still admits it.
    pub(crate) fn open_read(self: &Arc<Self>, confirmed: Confirmed) -> Option<OpenRead> {
        let core = self.core();
        Settled { state: self, core }.open_read(confirmed)
    }

    /// What another replica must show to answer in place of the one that is being read from.
    pub(crate) fn rival_floor(&self) -> Option<Floor> {
        self.core().rival_floor()
    }

    /// The open read was answered by another replica; none if the answer must not be used.
    pub(crate) fn adopt_rival(&self, floor: Floor, sight: Sight, reached: Reached) -> Option<()> {
        self.core().adopt_rival(floor, sight, reached).ok()
    }

    /// Opens a read on the primary; in dry mode, together with what it would have been.
    pub(crate) fn open_primary_read(
        self: &Arc<Self>,
        wanted_replica: bool,
        shadow: Option<ShadowRead>,
    ) -> OpenRead {
        let mut core = self.core();
        core.open_primary_read();
        if wanted_replica {
            core.fall_back();
        }
        drop(core);
        OpenRead {
            state: Arc::clone(self),
            on_primary: true,
            _shadow: shadow,
        }
    }

    /// Opens a write on a node of that timeline, which is lost if it is not closed.
    pub(crate) fn open_write(
        self: &Arc<Self>,
        on: Option<Timeline>,
        sticky_window: Duration,
    ) -> OpenWrite {
        self.tell(|core| core.open_write(on));
        OpenWrite {
            state: Some(Arc::clone(self)),
            sticky_window,
        }
    }

    /// Keeps the session on the primary from now on.
    pub(crate) fn bind_to_primary(&self) {
        self.tell(lagwise_core::Session::bind_to_primary);
        self.tell_of_change();
    }

    /// Wakes who waits for a change that was just made.
    fn tell_of_change(&self) {
        // Relaxed: whoever has not seen the change looked before it was made, under the same lock, and
        // said before that look that it waits.
        if self.watching.load(Ordering::Relaxed) > 0 {
            self.changed.notify_waiters();
        }
    }

    /// Does the same to the session and to its shadow.
    pub(super) fn tell(&self, act: impl Fn(&mut lagwise_core::Session)) {
        act(&mut self.core());
        if let Some(shadow) = self.shadow() {
            act(&mut shadow.core());
        }
    }

    pub(super) fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_deref()
    }

    pub(super) fn core(&self) -> MutexGuard<'_, lagwise_core::Session> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settled<'_> {
    pub(crate) fn floor(&self) -> Floor {
        self.core.floor()
    }

    /// [`SessionState::open_read`].
    pub(crate) fn open_read(mut self, confirmed: Confirmed) -> Option<OpenRead> {
        admits(&mut self.core, confirmed).then(|| OpenRead {
            state: Arc::clone(self.state),
            on_primary: false,
            _shadow: None,
        })
    }
}

/// One who waits for a change, until this is dropped.
struct Watching<'a>(&'a AtomicU32);

impl<'a> Watching<'a> {
    fn enter(watching: &'a AtomicU32) -> Self {
        // Relaxed: see `tell_of_change`.
        watching.fetch_add(1, Ordering::Relaxed);
        Self(watching)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a read in a session, if the session admits it.
pub(super) fn admits(core: &mut lagwise_core::Session, confirmed: Confirmed) -> bool {
    let Confirmed { sight, shows } = confirmed;
    let opened = match shows {
        Shows::Observed(reached) => core.open_read(sight, reached),
        Shows::Fresh(reached) => core.open_fresh_read(sight, reached),
        Shows::Assumed(assumed) => core.open_assumed_read(assumed),
    };
    opened.is_ok()
}

/// A read that is open; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenRead {
    state: Arc<SessionState>,
    on_primary: bool,
    /// It ends with this one.
    _shadow: Option<ShadowRead>,
}

impl Drop for OpenRead {
    fn drop(&mut self) {
        let now = clock::now();
        if self.on_primary {
            self.state.core().close_primary_read(now);
        } else {
            self.state.core().close_read(now);
        }
        self.state.tell_of_change();
    }
}

/// A write whose end is not known yet. Dropped as it is, its outcome stays unknown, and the session
/// stays on the primary for the sticky window.
#[derive(Debug)]
#[must_use = "a write that is not closed keeps the session on the primary"]
pub(crate) struct OpenWrite {
    state: Option<Arc<SessionState>>,
    sticky_window: Duration,
}

impl OpenWrite {
    /// The handle is gone, and its connection is being asked when the write ended.
    pub(crate) fn settle(&self) {
        if let Some(state) = &self.state {
            state.tell(lagwise_core::Session::settle_write);
        }
    }

    /// The write has ended by now.
    pub(crate) fn close(mut self) {
        if let Some(state) = self.state.take() {
            let now = clock::now();
            state.tell(|core| core.close_write(now));
            state.tell_of_change();
        }
    }
}

impl Drop for OpenWrite {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            let (now, window) = (clock::now(), self.sticky_window);
            state.tell(|core| core.lose_write(now, window));
            state.tell_of_change();
        }
    }
}
