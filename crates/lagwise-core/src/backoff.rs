//! How long to leave a node alone that does not answer.
//!
//! A dead node must be tried again, but many processes that try it at once and often are an attack
//! on a server that is starting up. So the pause doubles up to a limit, and part of it is random.

use core::time::Duration;

use crate::random::Random;

/// Pauses that double from `min` to `max`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses between `min` and `max`; where `max` is the smaller, it is `min` throughout.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max: max.max(min),
            failures: 0,
        }
    }

    /// The pause after one more failure: its upper half is random.
    pub fn fail(&mut self, random: &mut impl Random) -> Duration {
        let doubled = self
            .min
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = (self.failures + 1).min(31);
        jittered(doubled.min(self.max), random)
    }

    /// Begins again at `min`.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `pause` less a random part of up to its half.
fn jittered(pause: Duration, random: &mut impl Random) -> Duration {
    let half = u64::try_from(pause.as_nanos() / 2).unwrap_or(u64::MAX);
    pause.saturating_sub(Duration::from_nanos(random.below(half.saturating_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_limit_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut no_jitter = || 0;
        let pauses = [100, 200, 400, 800, 1000, 1000];
        for millis in pauses {
            assert_eq!(backoff.fail(&mut no_jitter), Duration::from_millis(millis));
        }
        for _ in 0..100 {
            assert_eq!(backoff.fail(&mut no_jitter), Duration::from_secs(1));
        }
        backoff.reset();
        assert_eq!(
            backoff.fail(&mut || u64::MAX),
            Duration::from_millis(50),
            "half at the least"
        );
    }
}
