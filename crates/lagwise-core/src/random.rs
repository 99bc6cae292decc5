//! Randomness as an argument.
//!
//! Selection and jitter draw random numbers, and a test must be able to say which. The trait has
//! one method so that a generator of any crate, or a list of numbers, is one line to adapt.

/// A source of random numbers, passed in by whoever has one.
pub trait Random {
    /// The next number, uniform over all of `u64`.
    fn next_u64(&mut self) -> u64;

    /// A number below `bound`, near enough to uniform for balancing; zero where `bound` is zero.
    ///
    /// Multiply-and-shift (Lemire, "Fast Random Integer Generation in an Interval", 2019) without
    /// the rejection step: its bias is below `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

impl<F: FnMut() -> u64> Random for F {
    fn next_u64(&mut self) -> u64 {
        self()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_their_bound() {
        let mut highest = || u64::MAX;
        assert_eq!(highest.below(10), 9);
        assert_eq!(highest.below(1), 0);
        assert_eq!(highest.below(0), 0);
        let mut lowest = || 0;
        assert_eq!(lowest.below(10), 0);
    }
}
