//! A point in time that nobody can ask for.
//!
//! Decisions must replay exactly, so the core takes the time as an argument and has no way to read
//! a clock. Differences saturate instead of failing: two instants that arrive out of order are an
//! everyday event in a monitor, not a bug worth a panic.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// A monotonic instant, in nanoseconds since an origin that the caller chose.
///
/// Only instants of the same origin may be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(
    /// One more than the nanoseconds: where there may be an instant or none, as in every session, none
    /// then takes no room of its own, and the two are compared as one number.
    NonZeroU64,
);

impl Instant {
    /// Later than any instant a clock returns: a floor at `NEVER` is met by no observation.
    pub const NEVER: Self = Self(NonZeroU64::MAX);

    /// The instant `nanos` nanoseconds after the origin; [`Instant::NEVER`] from `u64::MAX - 1` on, which
    /// is after five centuries.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// The instant `duration` later, or [`Instant::NEVER`] where that would overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The instant `duration` earlier, or the origin where that would underflow.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self::from_nanos(self.as_nanos().saturating_sub(nanos(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NEVER => f.write_str("never"),
            instant => write!(f, "@{:?}", Duration::from_nanos(instant.as_nanos())),
        }
    }
}

/// A moment by the wall clock, in milliseconds since 1970. It never decides what a read sees: it
/// only says when to stop trusting something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(
    /// One more than the milliseconds, as in an [`Instant`].
    NonZeroU64,
);

impl WallTime {
    /// A moment by its milliseconds since 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    /// Its milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// A moment later by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time since an earlier moment; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallTime").field(&self.as_millis()).finish()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_saturate() {
        let early = Instant::from_nanos(10);
        let late = Instant::from_nanos(25);
        assert_eq!(late.since(early), Duration::from_nanos(15));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.before(Duration::from_secs(1)), Instant::from_nanos(0));
        assert_eq!(late.after(Duration::MAX), Instant::NEVER);
    }

    #[test]
    fn only_the_last_nanosecond_is_never() {
        for nanos in [0, 1, 1 << 60, u64::MAX - 2] {
            let instant = Instant::from_nanos(nanos);
            assert_eq!(instant.as_nanos(), nanos);
            assert!(instant < Instant::NEVER);
            assert_eq!(WallTime::from_millis(nanos).as_millis(), nanos);
        }
        assert_eq!(Instant::from_nanos(u64::MAX - 1), Instant::NEVER);
        assert_eq!(Instant::from_nanos(u64::MAX), Instant::NEVER);
    }

    #[test]
    fn no_instant_takes_no_room() {
        assert_eq!(size_of::<Option<Instant>>(), size_of::<u64>());
        assert_eq!(size_of::<Option<WallTime>>(), size_of::<u64>());
    }
}
