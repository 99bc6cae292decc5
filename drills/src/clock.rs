//! The one clock of a drill: every time in its figures is of one scale.
//!
//! Monotonic, and never of a server: services are timed from outside.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static ORIGIN: LazyLock<Instant> = LazyLock::new(read);

/// The time since the process first asked.
#[must_use]
pub fn now() -> Duration {
    // The origin is read first, so that the difference is never negative.
    let origin = *ORIGIN;
    read().saturating_duration_since(origin)
}

#[expect(clippy::disallowed_methods, reason = "the only reading of a clock")]
fn read() -> Instant {
    Instant::now()
}
