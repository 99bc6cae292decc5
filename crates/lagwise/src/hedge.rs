//! Second attempts at reads whose answer is late.
//!
//! When one is worth it, and how many there may be, is the core's to say; here is what a user sets, and
//! where all reads of a router meet. How an attempt is made is the business of `routing`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lagwise_core::{HedgeLimits, Hedging};

/// Reads that are hedged: once most would have their answer, another replica is asked as well, and the
/// first answer counts.
///
/// That cuts the waits for a replica that is late for once, and costs the others some load. It is done
/// for statements on handles whose whole result is handed over at its end, and for
/// [`run_read`](crate::Session::run_read), whose closure then runs twice at the same time; never on the
/// primary, and never where a session has other things under way.
///
/// ```
/// use std::time::Duration;
/// use lagwise::Hedge;
///
/// let hedge = Hedge::new().percentile(99).share(2).at_least(Duration::from_millis(5));
/// # drop(hedge);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hedge {
    limits: HedgeLimits,
}

impl Hedge {
    /// After what 95 of a hundred reads take, but no less than a millisecond, and for no more than 5
    /// of a hundred reads.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            limits: HedgeLimits {
                percentile: 95,
                at_least: Duration::from_millis(1),
                share: 5,
            },
        }
    }

    /// A second attempt begins once this many percent of the reads of late would have been answered: 50
    /// to 99. 95 unless set.
    #[must_use]
    pub const fn percentile(mut self, percent: u32) -> Self {
        self.limits.percentile = percent;
        self
    }

    /// A second attempt never begins earlier than this. 1 ms unless set.
    #[must_use]
    pub const fn at_least(mut self, pause: Duration) -> Self {
        self.limits.at_least = pause;
        self
    }

    /// How many percent of the reads may have a second attempt: 1 to 100. 5 unless set.
    #[must_use]
    pub const fn share(mut self, percent: u32) -> Self {
        self.limits.share = percent;
        self
    }

    /// What cannot be honored.
    pub(crate) fn faults(&self) -> impl Iterator<Item = String> {
        let HedgeLimits {
            percentile, share, ..
        } = self.limits;
        let percentile = (!(50..=99).contains(&percentile))
            .then(|| format!("hedge's percentile is {percentile}, but must be from 50 to 99"));
        let share = (!(1..=100).contains(&share))
            .then(|| format!("hedge's share is {share}, but must be from 1 to 100"));
        percentile.into_iter().chain(share)
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a read may be hedged, where its router hedges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it may or it may not")]
pub enum Hedged {
    /// It may.
    Allowed,
    /// It may not: it is too dear to be run twice.
    Never,
}

/// What is known of a router's reads.
#[derive(Debug)]
pub(crate) struct Hedges(Mutex<Hedging>);

impl Hedges {
    pub(crate) fn new(hedge: Hedge) -> Self {
        Self(Mutex::new(Hedging::new(hedge.limits)))
    }

    /// The lock is held for a few instructions, and never across a wait.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Hedging> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
