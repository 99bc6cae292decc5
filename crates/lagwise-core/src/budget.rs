//! How often something may happen: the rate half of the primary's budget for fallback reads.
//!
//! When every replica lags, an unbounded fallback moves the whole read load onto the node that is
//! already in trouble. The concurrency half of the budget is a semaphore and lives with the
//! waiters; this half is a token bucket, filled by the time that has passed.

use core::time::Duration;

use crate::time::Instant;

/// A token bucket that holds one second's worth.
#[derive(Clone, Debug)]
pub struct RateLimit {
    per_second: u32,
    /// Parts of a token: a nanosecond adds `per_second` of them, a token is a billion.
    parts: u64,
    filled: Instant,
}

impl RateLimit {
    /// Allows `per_second` on average, and as many at once after a pause.
    #[must_use]
    pub fn new(now: Instant, per_second: u32) -> Self {
        Self {
            per_second,
            parts: u64::from(per_second) * TOKEN,
            filled: now,
        }
    }

    /// Takes one, if there is one.
    ///
    /// # Errors
    /// The pause after which there will be one, if nobody else takes it.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        match self.parts.checked_sub(TOKEN) {
            Some(left) => {
                self.parts = left;
                Ok(())
            }
            None if self.per_second == 0 => Err(Duration::MAX),
            None => {
                let missing = TOKEN - self.parts;
                Err(Duration::from_nanos(
                    missing.div_ceil(u64::from(self.per_second)),
                ))
            }
        }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.since(self.filled).min(Duration::from_secs(1));
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(TOKEN);
        let full = u64::from(self.per_second) * TOKEN;
        self.parts = self
            .parts
            .saturating_add(nanos * u64::from(self.per_second))
            .min(full);
        self.filled = self.filled.max(now);
    }
}

const TOKEN: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate_passes_in_any_second_but_the_first() {
        let mut now = Instant::from_nanos(5);
        let mut limit = RateLimit::new(now, 100);
        let mut passed = 0;
        for _ in 0..10_000 {
            now = now.after(Duration::from_millis(1));
            passed += u32::from(limit.take(now).is_ok());
        }
        assert!(
            (1_095..=1_101).contains(&passed),
            "{passed} in ten seconds at 100 a second"
        );
    }

    #[test]
    fn the_pause_it_names_is_enough() {
        let mut now = Instant::from_nanos(0);
        let mut limit = RateLimit::new(now, 3);
        while limit.take(now).is_ok() {}
        let pause = limit.take(now).unwrap_err();
        now = now.after(pause);
        assert_eq!(limit.take(now), Ok(()));
        assert!(limit.take(now).is_err());
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_pass() {
        let mut limit = RateLimit::new(Instant::from_nanos(0), 0);
        assert_eq!(limit.take(Instant::NEVER), Err(Duration::MAX));
    }
}
