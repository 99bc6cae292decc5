//! The only place that reads the time.
//!
//! Servers live in real time whatever the clock of a test's runtime says, so deadlines are taken
//! from the system's monotonic clock and never from the runtime's. What a deadline is for is its
//! user's business.

use std::time::{Duration, Instant};

/// A moment after which waiting is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(patience: Duration) -> Self {
        // A patience beyond the clock's range is a wait of as long as anyone will live to see.
        const FOREVER: Duration = Duration::from_hours(24 * 365);
        let now = now();
        Self(now.checked_add(patience).unwrap_or_else(|| now + FOREVER))
    }

    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    pub(crate) fn passed(self) -> bool {
        self.remaining().is_zero()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place the ban points to"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
