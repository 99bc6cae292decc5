//! The only place that reads a clock.
//!
//! Every decision takes the time as an argument; here is where it comes from. All routers of a
//! process share one origin, so that a session's instants mean the same everywhere in it.

use std::sync::OnceLock;
use std::time::Duration;

use lagwise_core::{Instant, WallTime};

/// The present, on the clock that snapshots and routes are stamped with.
///
/// ```
/// let earlier = lagwise::now();
/// assert!(lagwise::now() >= earlier);
/// ```
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one clock of the crate")]
pub fn now() -> Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    let elapsed = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
    // Read several times for each statement, so without wide numbers: they last for centuries.
    let nanos = elapsed.as_secs() * NANOS_OF_A_SECOND + u64::from(elapsed.subsec_nanos());
    Instant::from_nanos(HEADROOM + nanos)
}

/// This moment by the wall clock, for what leaves the process.
#[expect(
    clippy::disallowed_types,
    reason = "a token's age is all that it decides"
)]
pub(crate) fn wall() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    WallTime::from_millis(0).after(since.unwrap_or_default())
}

/// How long until `instant`; zero if it is past.
pub(crate) fn until(instant: Instant) -> Duration {
    instant.since(now())
}

/// The clock does not start at zero, so that "an hour before now" is an instant too.
const HEADROOM: u64 = 86_400 * NANOS_OF_A_SECOND;

const NANOS_OF_A_SECOND: u64 = 1_000_000_000;
