//! Whether this instance believes what Redis says.
//!
//! Redis cannot say what it was never told. After a failure this instance doubts it for as long as
//! what is missing would have been kept; and what could not be kept is everybody's concern, so the
//! next operation that succeeds has all instances doubt.

use lagwise_core::Instant;

/// What this instance could not find out, or could not keep.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    until: Option<Instant>,
    /// How often something was not kept, and how many of these times all have been told of.
    unkept: u64,
    told: u64,
}

impl Doubt {
    /// Something failed: what is missing may be missing until then.
    pub(super) fn until(&mut self, until: Instant) {
        self.until = self.until.max(Some(until));
    }

    /// Something may not have been kept that would have been until then.
    pub(super) fn unkept_until(&mut self, until: Instant) {
        self.unkept += 1;
        self.until(until);
    }

    pub(super) fn is_in_doubt(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until) || self.told < self.unkept
    }

    /// What all instances have to be told of, if anything.
    pub(super) const fn unkept(&self) -> Option<u64> {
        if self.told < self.unkept {
            Some(self.unkept)
        } else {
            None
        }
    }

    /// All instances know of that.
    pub(super) fn told(&mut self, unkept: Option<u64>) {
        self.told = self.told.max(unkept.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Instant {
        Instant::from_nanos(second * 1_000_000_000)
    }

    #[test]
    fn a_failure_is_doubted_for_a_while_and_a_later_one_for_longer() {
        let mut doubt = Doubt::default();
        assert!(!doubt.is_in_doubt(at(0)));
        doubt.until(at(10));
        doubt.until(at(7));
        assert!(doubt.is_in_doubt(at(9)));
        assert!(!doubt.is_in_doubt(at(10)));
        assert_eq!(
            doubt.unkept(),
            None,
            "a read that failed is nobody's concern"
        );
    }

    #[test]
    fn what_was_not_kept_is_doubted_until_all_know_of_it() {
        let mut doubt = Doubt::default();
        doubt.unkept_until(at(10));
        let first = doubt.unkept();
        assert!(first.is_some());
        // Another one fails while all are being told of the first.
        doubt.unkept_until(at(11));
        doubt.told(first);
        assert!(doubt.unkept().is_some(), "nobody was told of the second");
        assert!(doubt.is_in_doubt(at(100)));
        doubt.told(doubt.unkept());
        assert_eq!(doubt.unkept(), None);
        assert!(!doubt.is_in_doubt(at(100)));
    }
}
