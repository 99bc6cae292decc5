//! How busy and how slow a node is, as this process sees it.
//!
//! In-flight reads times peak latency is what two candidates are compared by. Latency is that of the
//! probes and of getting a connection: how long the caller holds a handle says nothing of the node.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lagwise_core::{Instant, PeakEwma};

use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// The load of one node.
#[derive(Debug)]
pub(crate) struct Load {
    in_flight: AtomicU32,
    latency: Mutex<PeakEwma>,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            latency: Mutex::new(PeakEwma::new(now, UNKNOWN, DECAY)),
        }
    }

    /// In-flight leases times peak latency.
    pub(crate) fn cost(&self, now: Instant) -> u64 {
        let in_flight = u64::from(self.in_flight.load(Ordering::Relaxed));
        let latency = self.latency().at(now).max(ALIKE);
        latency.saturating_mul(in_flight + 1)
    }

    /// How many leases are out.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Accounts for a round trip.
    pub(crate) fn observe(&self, now: Instant, latency: Duration) {
        self.latency().observe(now, latency);
    }

    fn latency(&self) -> MutexGuard<'_, PeakEwma> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lease that is out; gives its place back when dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Load>);

impl InFlight {
    pub(crate) fn enter(load: &Arc<Load>) -> Self {
        // Relaxed: a count to compare by, which nothing else is ordered against.
        load.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a node of which no round trip is known counts as.
const UNKNOWN: Duration = Duration::from_millis(1);

/// Latencies below this are alike, in nanoseconds: between neighbors the fastest of many is chance,
/// and must not get all the reads for it.
const ALIKE: u64 = 1_000_000;

/// How fast a bad latency is forgotten.
const DECAY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_differences_in_latency_count_for_nothing() {
        let now = Instant::from_nanos(1 << 40);
        let [fast, slow, far] = [20, 900, 3000].map(|micros| {
            let load = Load::new(now);
            for later in 1..1000 {
                let now = now.after(Duration::from_millis(later * 100));
                load.observe(now, Duration::from_micros(micros));
            }
            load.cost(now.after(Duration::from_secs(100)))
        });
        assert_eq!(fast, slow);
        assert!(far > 2 * slow, "{far} and {slow}");
    }

    #[test]
    fn every_lease_that_is_out_makes_a_node_dearer_until_it_returns() {
        let now = Instant::from_nanos(1 << 40);
        let load = Arc::new(Load::new(now));
        let idle = load.cost(now);
        let leases = [InFlight::enter(&load), InFlight::enter(&load)];
        assert_eq!(load.cost(now), 3 * idle);
        drop(leases);
        assert_eq!(load.cost(now), idle);
        assert_eq!(load.in_flight(), 0);
    }
}
