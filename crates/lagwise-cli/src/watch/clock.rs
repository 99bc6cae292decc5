//! The time of day, so that what is seen here can be found in the logs of servers.
//!
//! The wall clock is read once; from then on it is the router's clock that runs. Times are UTC, as
//! those of several machines are compared. Nothing is decided by it.

use std::time::Duration;

use lagwise_core::Instant;

/// What the wall clock said at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    instant: Instant,
    since_1970: Duration,
}

impl WallClock {
    /// Reads it.
    #[expect(
        clippy::disallowed_types,
        reason = "a time that people compare with their logs"
    )]
    pub(crate) fn read() -> Self {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self::at(lagwise::now(), since_1970.unwrap_or_default())
    }

    pub(crate) const fn at(instant: Instant, since_1970: Duration) -> Self {
        Self {
            instant,
            since_1970,
        }
    }

    /// `18:57:03Z`.
    pub(crate) fn time_of_day(&self, at: Instant) -> String {
        let seconds = self.since_1970_at(at).as_secs() % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{hour:02}:{minute:02}:{second:02}Z")
    }

    /// `2026-11-21T18:57:03.125Z`.
    pub(crate) fn timestamp(&self, at: Instant) -> String {
        let moment = std::time::UNIX_EPOCH + self.since_1970_at(at);
        humantime::format_rfc3339_millis(moment).to_string()
    }

    fn since_1970_at(&self, at: Instant) -> Duration {
        let (later, earlier) = (at.since(self.instant), self.instant.since(at));
        (self.since_1970 + later).saturating_sub(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_and_after_the_reading_have_their_time_of_day() {
        let noon = Instant::from_nanos(0).after(Duration::from_secs(50));
        let clock = WallClock::at(noon, Duration::from_secs(86_400 * 365 + 43_200));
        let second = Duration::from_secs(1);
        assert_eq!(clock.time_of_day(noon), "12:00:00Z");
        assert_eq!(clock.time_of_day(noon.after(second * 61)), "12:01:01Z");
        assert_eq!(clock.time_of_day(noon.before(second)), "11:59:59Z");
        assert_eq!(clock.timestamp(noon), "1971-01-01T12:00:00.000Z");
    }
}
