//! How much of the read load may fall on the primary.
//!
//! When every replica lags, an unbounded fallback moves all reads onto the node that is already in
//! trouble. So each fallback read spends a [`Permit`] while it holds its connection; who finds none
//! waits in turn, for a short while, and is then refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lagwise_core::{Instant, RateLimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// The primary's budget for reads that wanted a replica.
///
/// ```
/// use std::time::Duration;
/// use lagwise::Budget;
///
/// let budget = Budget::new().concurrent(8).per_second(500).queue_for(Duration::from_millis(200));
/// # drop(budget);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub(crate) concurrent: Option<u32>,
    pub(crate) per_second: Option<u32>,
    pub(crate) queue_for: Duration,
}

impl Budget {
    /// Half of the primary's pool at once, no limit on the rate, and a second in the queue.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            concurrent: None,
            per_second: None,
            queue_for: Duration::from_secs(1),
        }
    }

    /// At most this many such reads at once. Half of the primary's pool unless set.
    #[must_use]
    pub const fn concurrent(mut self, reads: u32) -> Self {
        self.concurrent = Some(reads);
        self
    }

    /// At most this many such reads begun in a second. Unlimited unless set.
    #[must_use]
    pub const fn per_second(mut self, reads: u32) -> Self {
        self.per_second = Some(reads);
        self
    }

    /// How long a read waits for its turn before it is refused. 1 s unless set.
    #[must_use]
    pub const fn queue_for(mut self, wait: Duration) -> Self {
        self.queue_for = wait;
        self
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// The budget at work.
#[derive(Debug)]
pub(crate) struct Purse {
    places: Arc<Semaphore>,
    rate: Option<Mutex<RateLimit>>,
    queue_for: Duration,
}

/// Permission for one fallback read; its place is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _place: OwnedSemaphorePermit,
}

/// The budget allows no read now.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl Purse {
    pub(crate) fn new(now: Instant, budget: Budget, primary_connections: u32) -> Self {
        let places = budget
            .concurrent
            .unwrap_or_else(|| (primary_connections / 2).max(1));
        Self {
            places: Arc::new(Semaphore::new(
                usize::try_from(places).unwrap_or(usize::MAX),
            )),
            rate: budget
                .per_second
                .map(|rate| Mutex::new(RateLimit::new(now, rate))),
            queue_for: budget.queue_for,
        }
    }

    /// Waits for a place, first come, first served, and not beyond `until`.
    pub(crate) async fn spend(&self, until: Instant) -> Result<Permit, Exhausted> {
        let deadline = clock::now().after(self.queue_for).min(until);
        let place = Arc::clone(&self.places).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(clock::until(deadline), place).await else {
            return Err(Exhausted);
        };
        self.wait_for_rate(deadline).await?;
        Ok(Permit { _place: place })
    }

    async fn wait_for_rate(&self, deadline: Instant) -> Result<(), Exhausted> {
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        loop {
            let now = clock::now();
            let taken = rate
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(now);
            match taken {
                Ok(()) => return Ok(()),
                Err(pause) if now.after(pause) > deadline => return Err(Exhausted),
                Err(pause) => tokio::time::sleep(pause).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_reads_at_once_than_the_budget_has_places() {
        let purse = Purse::new(
            clock::now(),
            Budget::new().queue_for(Duration::from_millis(5)),
            4,
        );
        let held = [
            purse.spend(Instant::NEVER).await.unwrap(),
            purse.spend(Instant::NEVER).await.unwrap(),
        ];
        assert!(
            purse.spend(Instant::NEVER).await.is_err(),
            "half of four places are two"
        );
        drop(held);
        assert!(purse.spend(Instant::NEVER).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_refuses_at_once() {
        let purse = Purse::new(clock::now(), Budget::new().per_second(0), 4);
        assert!(purse.spend(Instant::NEVER).await.is_err());
    }
}
