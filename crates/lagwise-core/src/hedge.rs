//! When a second attempt at a read is worth it, and how many there may be.
//!
//! Now and then a replica answers late: a page has to be fetched, a lock is held, a packet is lost. A
//! second attempt elsewhere, begun when most reads would have their answer, cuts such waits short
//! (Dean and Barroso, "The Tail at Scale", 2013). Where everything is late it would double the load
//! instead, so attempts are drawn from a budget that grows with the reads. What time a read has taken
//! is told from outside; who makes the attempts, and where, is not decided here.

use core::time::Duration;

/// Reads that took how long, lately, and what may be spent on second attempts.
#[derive(Clone, Debug)]
pub struct Hedging {
    limits: HedgeLimits,
    counts: [u32; BUCKETS],
    total: u32,
    /// Hundredths of a second attempt.
    budget: u32,
}

/// When a second attempt begins, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the limits are these and nothing else"
)]
pub struct HedgeLimits {
    /// It begins once this many percent of the reads of late would have been answered.
    pub percentile: u32,
    /// But never earlier than this.
    pub at_least: Duration,
    /// To so many percent of the reads.
    pub share: u32,
}

impl Hedging {
    /// Nothing is known yet, and nothing is spent before something is.
    #[must_use]
    pub const fn new(limits: HedgeLimits) -> Self {
        Self {
            limits,
            counts: [0; BUCKETS],
            total: 0,
            budget: 0,
        }
    }

    /// A read begins: after how long a second attempt is worth it. None as long as too little is known.
    pub fn begin(&mut self) -> Option<Duration> {
        self.budget = (self.budget + self.limits.share).min(MOST_BUDGET);
        (self.total >= ENOUGH).then(|| self.percentile().max(self.limits.at_least))
    }

    /// Takes what a second attempt costs, if it is there.
    pub fn spend(&mut self) -> bool {
        match self.budget.checked_sub(ATTEMPT) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => false,
        }
    }

    /// A first attempt has taken so long, or was given up after that.
    pub fn end(&mut self, took: Duration) {
        if self.total >= MEMORY {
            self.counts = self.counts.map(|count| count / 2);
            self.total = self.counts.iter().sum();
        }
        self.counts[bucket(took)] += 1;
        self.total += 1;
    }

    /// What so many percent of the reads did not take longer than, to within a quarter.
    fn percentile(&self) -> Duration {
        let wanted = u64::from(self.total) * u64::from(self.limits.percentile) / 100;
        let mut below = 0;
        let reached = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= wanted
        });
        upper_end(reached.unwrap_or(BUCKETS - 1))
    }
}

/// The bucket of a duration: its power of two in microseconds, and the quarter of the way to the next.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(4);
    let power = micros.ilog2();
    let quarter = (micros >> (power - 2)) & 3;
    let index = u64::from(power - 2) * 4 + quarter;
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The least duration that is beyond a bucket.
fn upper_end(bucket: usize) -> Duration {
    let next = u64::try_from(bucket + 1).unwrap_or(u64::MAX);
    let (power, quarter) = (next / 4, next % 4);
    Duration::from_micros((4 + quarter) << power.min(60))
}

/// Up to 2^26 microseconds, which is more than a minute: nobody waits for the tail of such reads.
const BUCKETS: usize = 96;

/// Below this a percentile of the tail is the luck of a few.
const ENOUGH: u32 = 100;

/// Half of what is known is forgotten after as many reads as make up half of this.
const MEMORY: u32 = 2000;

const ATTEMPT: u32 = 100;

/// After a calm hour no more than ten at once.
const MOST_BUDGET: u32 = 10 * ATTEMPT;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HedgeLimits = HedgeLimits {
        percentile: 95,
        at_least: Duration::from_millis(1),
        share: 5,
    };

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Of a hundred reads each, so many take 10 ms, and the others 500 ms.
    fn after_reads(hundreds: u32, fast: u32) -> Hedging {
        let mut hedging = Hedging::new(LIMITS);
        for _ in 0..hundreds {
            (0..fast).for_each(|_| hedging.end(millis(10)));
            (fast..100).for_each(|_| hedging.end(millis(500)));
        }
        hedging
    }

    #[test]
    fn a_second_attempt_begins_when_most_reads_would_have_their_answer() {
        let after = after_reads(10, 97).begin().unwrap();
        assert!((millis(10)..millis(14)).contains(&after), "{after:?}");
        let after = after_reads(10, 90).begin().unwrap();
        assert!(
            after >= millis(500),
            "where many are late, few are too late: {after:?}"
        );
    }

    #[test]
    fn nothing_begins_before_enough_is_known_nor_earlier_than_it_may() {
        let mut hedging = Hedging::new(LIMITS);
        for _ in 0..99 {
            assert_eq!(hedging.begin(), None);
            hedging.end(Duration::from_micros(50));
        }
        hedging.end(Duration::from_micros(50));
        assert_eq!(
            hedging.begin(),
            Some(millis(1)),
            "what takes 50 us needs no help"
        );
    }

    #[test]
    fn what_was_slow_is_forgotten_after_some_thousand_reads() {
        let mut hedging = after_reads(20, 0);
        for _ in 0..12_000 {
            hedging.end(millis(2));
        }
        assert!(hedging.begin().unwrap() < millis(4));
    }

    #[test]
    fn no_more_second_attempts_begin_than_their_share() {
        let mut hedging = after_reads(10, 97);
        let mut begun = 0;
        for _ in 0..10_000 {
            assert!(hedging.begin().is_some());
            begun += u32::from(hedging.spend());
        }
        assert!((495..=500).contains(&begun), "{begun} of 10,000");
        let mut calm = after_reads(10, 97);
        for _ in 0..10_000 {
            calm.begin();
        }
        let burst = (0..100).filter(|_| calm.spend()).count();
        assert_eq!(burst, 10, "what was saved up is no flood");
    }

    #[test]
    fn every_duration_is_within_its_bucket() {
        for micros in (0..200_000).chain([1 << 25, 1 << 40, u64::MAX]) {
            let took = Duration::from_micros(micros);
            let bucket = bucket(took);
            assert!(
                bucket == BUCKETS - 1 || upper_end(bucket) > took,
                "{took:?}"
            );
            let below = bucket.checked_sub(1).map(upper_end);
            assert!(below.is_none_or(|below| below <= took), "{took:?}");
        }
    }
}
