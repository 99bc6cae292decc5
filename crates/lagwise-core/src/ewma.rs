//! A decaying peak: the worst recent value, forgotten gradually.
//!
//! Balancing by mean latency lets a replica that has just become slow keep its traffic until the
//! mean catches up. A peak-sensitive average jumps up with the first slow answer and comes down
//! with time. (Peak EWMA, as Finagle and linkerd balance by; decay `e^(-dt/tau)`.) Reading it does
//! not change it, so that any reader may ask for its value at its own instant.

use core::time::Duration;

use crate::time::Instant;

/// A peak-sensitive, exponentially decaying average of durations.
#[derive(Clone, Copy, Debug)]
pub struct PeakEwma {
    nanos: u64,
    stamped: Instant,
    decay: Duration,
}

impl PeakEwma {
    /// An average that starts at `initial` and halves about every 0.7 × `decay`.
    #[must_use]
    pub fn new(now: Instant, initial: Duration, decay: Duration) -> Self {
        Self {
            nanos: nanos(initial),
            stamped: now,
            decay,
        }
    }

    /// Accounts for one measured duration.
    pub fn observe(&mut self, now: Instant, measured: Duration) {
        let measured = nanos(measured);
        let decayed = self.at(now);
        // A worse value counts at once, a better one only as fast as the old one is forgotten.
        self.nanos = if measured >= decayed {
            measured
        } else {
            let kept = decayed - measured;
            measured + scale(kept, decay_factor(now.since(self.stamped), self.decay))
        };
        self.stamped = self.stamped.max(now);
    }

    /// The value at `now`, in nanoseconds; never zero.
    ///
    /// Without traffic the peak is forgotten ten times more slowly: silence is no sign of speed.
    #[must_use]
    pub fn at(&self, now: Instant) -> u64 {
        scale(
            self.nanos,
            decay_factor(now.since(self.stamped) / 10, self.decay),
        )
        .max(1)
    }
}

/// `e^(-elapsed/tau)` in 1/65536, without floating point: `(1 - x/16)^16` for `x = elapsed/tau`,
/// within 0.03 of the exponential, and zero from `x = 16` on.
fn decay_factor(elapsed: Duration, tau: Duration) -> u64 {
    let (elapsed, whole) = (nanos(elapsed), nanos(tau).max(1).saturating_mul(16));
    // To divide wide numbers takes as long as all of the rest; days are narrow.
    let sixteenth = match elapsed.checked_mul(ONE) {
        Some(narrow) => narrow / whole,
        None => u64::try_from(u128::from(elapsed) * u128::from(ONE) / u128::from(whole))
            .unwrap_or(u64::MAX),
    };
    let Some(base) = ONE.checked_sub(sixteenth) else {
        return 0;
    };
    let mut factor = base;
    for _ in 0..4 {
        factor = factor * factor / ONE;
    }
    factor
}

fn scale(value: u64, factor: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(factor) / u128::from(ONE);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

const ONE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TAU: Duration = Duration::from_secs(10);
    const START: Instant = Instant::from_nanos(1 << 40);

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_peak_counts_at_once() {
        let mut average = PeakEwma::new(START, millis(1), TAU);
        average.observe(START.after(millis(1)), millis(50));
        assert_eq!(average.at(START.after(millis(1))), 50_000_000);
    }

    #[test]
    fn good_answers_bring_it_down_with_time() {
        let mut average = PeakEwma::new(START, millis(100), TAU);
        let mut now = START;
        for _ in 0..100 {
            now = now.after(millis(100));
            average.observe(now, millis(1));
        }
        let after_one_tau = average.at(now);
        assert!(
            (30_000_000..45_000_000).contains(&after_one_tau),
            "{after_one_tau}"
        );
        for _ in 0..400 {
            now = now.after(millis(100));
            average.observe(now, millis(1));
        }
        assert!(average.at(now) < 3_000_000, "{}", average.at(now));
    }

    #[test]
    fn reading_does_not_change_it() {
        let average = PeakEwma::new(START, millis(100), TAU);
        let later = START.after(Duration::from_secs(60));
        assert_eq!(average.at(later), average.at(later));
        assert!(average.at(later) < average.at(START));
        assert!(average.at(Instant::NEVER) >= 1);
    }
}
