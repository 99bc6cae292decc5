//! How busy and how slow a node is, as this process sees it.
//!
//! In-flight reads times peak latency is what two candidates are compared by. Latency is that of the
//! probes and of getting a connection: how long the caller holds a handle says nothing of the node.
//! Reads that replay had to cancel count on top, for some seconds: who cancels one will cancel more.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lagwise_core::{Instant, PeakEwma};

use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering};

/// The load of one node.
#[derive(Debug)]
pub(crate) struct Load {
    in_flight: AtomicU32,
    /// When a lease was last granted.
    granted: Mutex<Instant>,
    imagined: AtomicU32,
    latency: Mutex<PeakEwma>,
    /// What the last probe took.
    last: Mutex<Option<Duration>>,
    conflicts: Mutex<Conflicts>,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            granted: Mutex::new(now),
            imagined: AtomicU32::new(0),
            latency: Mutex::new(PeakEwma::new(now, UNKNOWN, DECAY)),
            last: Mutex::new(None),
            conflicts: Mutex::new(Conflicts {
                lately: 0,
                stamped: now,
            }),
        }
    }

    /// In-flight leases times peak latency, times one more than the conflicts of late.
    pub(crate) fn cost(&self, now: Instant) -> u64 {
        let imagined = u64::from(self.imagined.load(Ordering::Relaxed));
        let in_flight = u64::from(self.in_flight.load(Ordering::Relaxed)) + imagined;
        let latency = self.latency().at(now).max(ALIKE);
        let conflicts = u64::from(self.conflicts().at(now));
        latency
            .saturating_mul(in_flight + 1)
            .saturating_mul(conflicts + 1)
    }

    /// How many leases are out.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A lease was granted.
    pub(crate) fn grant(&self, now: Instant) {
        *self.granted() = now;
    }

    /// Whether a lease was granted of late: who waits for one then waits for its turn, not for the node.
    pub(crate) fn grants(&self, now: Instant, of_late: Duration) -> bool {
        now.since(*self.granted()) < of_late
    }

    fn granted(&self) -> MutexGuard<'_, Instant> {
        self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts for a round trip.
    pub(crate) fn observe(&self, now: Instant, latency: Duration) {
        self.latency().observe(now, latency);
    }

    /// Accounts for a round trip of the monitor.
    pub(crate) fn probed(&self, now: Instant, took: Duration) {
        self.observe(now, took);
        *self.last() = Some(took);
    }

    /// What the monitor's last round trip took: for people.
    #[cfg_attr(not(feature = "status"), expect(dead_code, reason = "nobody looks"))]
    pub(crate) fn last_round_trip(&self) -> Option<Duration> {
        *self.last()
    }

    fn last(&self) -> MutexGuard<'_, Option<Duration>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accounts for a round trip that was given up after so long: it takes at least that.
    pub(crate) fn outlasted(&self, now: Instant, waited: Duration) {
        let mut latency = self.latency();
        if waited.as_nanos() > u128::from(latency.at(now)) {
            latency.observe(now, waited);
        }
    }

    /// Accounts for a read that replay had to cancel.
    pub(crate) fn conflicted(&self, now: Instant) {
        let mut conflicts = self.conflicts();
        *conflicts = Conflicts {
            lately: conflicts.at(now).saturating_add(1).min(MOST_CONFLICTS),
            stamped: now,
        };
    }

    fn conflicts(&self) -> MutexGuard<'_, Conflicts> {
        self.conflicts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn latency(&self) -> MutexGuard<'_, PeakEwma> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads that replay canceled, half of them forgotten in each half-life.
#[derive(Clone, Copy, Debug)]
struct Conflicts {
    lately: u32,
    stamped: Instant,
}

impl Conflicts {
    fn at(&self, now: Instant) -> u32 {
        let halvings = now.since(self.stamped).as_nanos() / HALF_LIFE.as_nanos();
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        self.lately.checked_shr(halvings).unwrap_or(0)
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

/// A read that would be in flight here, if its router were not in dry mode.
#[derive(Debug)]
pub(crate) struct Imagined(Arc<Load>);

impl Imagined {
    pub(crate) fn enter(load: &Arc<Load>) -> Self {
        // Relaxed, as what is in flight in fact.
        load.imagined.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Imagined {
    fn drop(&mut self) {
        self.0.imagined.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a node of which no round trip is known counts as.
const UNKNOWN: Duration = Duration::from_millis(1);

/// Latencies below this are alike, in nanoseconds: between neighbors the fastest of many is chance,
/// and must not get all the reads for it.
const ALIKE: u64 = 1_000_000;

/// How fast a bad latency is forgotten. The probes go on whatever it is, so that one slow answer is
/// corrected within seconds, also where reads come one at a time and none would be sent to find out.
const DECAY: Duration = Duration::from_secs(1);

/// Long queries come again within seconds; vacuum, which cancels them, within a minute.
const HALF_LIFE: Duration = Duration::from_secs(2);

/// However many conflicts there were, they are forgotten after four half-lives.
const MOST_CONFLICTS: u32 = 8;

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

    /// The cost `seconds` after a round trip of 200 ms, with a probe of half a millisecond ten times a
    /// second.
    fn cost_after_a_slow_answer(seconds: u64) -> u64 {
        let mut now = Instant::from_nanos(1 << 40);
        let load = Load::new(now);
        load.observe(now, Duration::from_millis(200));
        for _ in 0..seconds * 10 {
            now = now.after(Duration::from_millis(100));
            load.observe(now, Duration::from_micros(500));
        }
        load.cost(now)
    }

    #[test]
    fn one_slow_answer_is_forgotten_by_the_probes_alone_within_seconds() {
        assert!(cost_after_a_slow_answer(0) >= 200 * ALIKE);
        assert!(cost_after_a_slow_answer(1) > 20 * ALIKE, "not at once");
        assert_eq!(cost_after_a_slow_answer(8), ALIKE);
    }

    #[test]
    fn what_was_given_up_makes_a_node_dearer_and_never_cheaper() {
        let now = Instant::from_nanos(1 << 40);
        let load = Load::new(now);
        load.outlasted(now, Duration::from_millis(250));
        assert_eq!(load.cost(now), 250 * ALIKE);
        load.outlasted(now, Duration::from_millis(2));
        assert_eq!(load.cost(now), 250 * ALIKE);
    }

    #[test]
    fn what_would_be_in_flight_costs_as_what_is_and_is_not_counted_as_such() {
        let now = Instant::from_nanos(1 << 40);
        let load = Arc::new(Load::new(now));
        let real = InFlight::enter(&load);
        let one = load.cost(now);
        drop(real);
        let imagined = Imagined::enter(&load);
        assert_eq!((load.cost(now), load.in_flight()), (one, 0));
        drop(imagined);
        assert_eq!(load.cost(now), ALIKE);
    }

    #[test]
    fn a_conflict_makes_a_node_dearer_for_some_seconds() {
        let now = Instant::from_nanos(1 << 40);
        let load = Load::new(now);
        for conflicts in 1..=3 {
            load.conflicted(now);
            assert_eq!(load.cost(now), (conflicts + 1) * ALIKE);
        }
        assert_eq!(load.cost(now.after(HALF_LIFE)), 2 * ALIKE);
        assert_eq!(load.cost(now.after(2 * HALF_LIFE)), ALIKE);
        for _ in 0..1000 {
            load.conflicted(now);
        }
        assert_eq!(
            load.cost(now.after(4 * HALF_LIFE)),
            ALIKE,
            "for some seconds"
        );
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
