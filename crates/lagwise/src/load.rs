//! How busy and how slow a node is, as this process sees it.
//!
//! In-flight reads times peak latency is what two candidates are compared by. Latency is that of the
//! probes and of getting a connection: how long the caller holds a handle says nothing of the node.
//! Reads that replay had to cancel count on top, for some seconds: who cancels one will cancel more.

use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Instant, PeakEwma};

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The load of one node.
///
/// Each part is one word, so that who compares nodes waits for nobody. All accesses are relaxed: no
/// other memory goes with a word, and no two of them are compared with each other.
#[derive(Debug)]
pub(crate) struct Load {
    in_flight: AtomicU32,
    imagined: AtomicU32,
    /// The peak latency in microseconds, and when it was that.
    latency: Stamped,
    /// How many reads replay had canceled of late, and when it was that many.
    conflicts: Stamped,
    /// When a lease was last granted, in nanoseconds.
    granted: AtomicU64,
    /// What the last probe took, in nanoseconds and one more; 0 before the first.
    last: AtomicU64,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            imagined: AtomicU32::new(0),
            latency: Stamped::new(now, micros(UNKNOWN)),
            conflicts: Stamped::new(now, 0),
            granted: AtomicU64::new(now.as_nanos()),
            last: AtomicU64::new(0),
        }
    }

    /// In-flight leases times peak latency, times one more than the conflicts of late.
    pub(crate) fn cost(&self, now: Instant) -> u64 {
        let imagined = u64::from(self.imagined.load(Ordering::Relaxed));
        let in_flight = u64::from(self.in_flight.load(Ordering::Relaxed)) + imagined;
        self.latency(now)
            .saturating_mul(in_flight + 1)
            .saturating_mul(self.conflicts(now) + 1)
    }

    /// The peak latency in nanoseconds, but never less than what is alike.
    fn latency(&self, now: Instant) -> u64 {
        // It only comes down with time, so what is alike already is so now.
        match self.latency.get(now) {
            Some((peak, since)) if u64::from(peak) > ALIKE / NANOS_OF_A_MICRO => {
                average(now, peak, since).at(now).max(ALIKE)
            }
            _ => ALIKE,
        }
    }

    /// How many reads replay has canceled of late.
    fn conflicts(&self, now: Instant) -> u64 {
        let lately = self.conflicts.get(now);
        lately.map_or(0, |(conflicts, since)| u64::from(left(conflicts, since)))
    }

    /// A lease is out, or waited for.
    pub(crate) fn enter(&self) {
        // Relaxed: a count to compare by, which nothing else is ordered against.
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// One less is.
    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many leases are out.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A lease was granted.
    pub(crate) fn grant(&self, now: Instant) {
        self.granted.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Whether a lease was granted of late: who waits for one then waits for its turn, not for the node.
    pub(crate) fn grants(&self, now: Instant, of_late: Duration) -> bool {
        let granted = Instant::from_nanos(self.granted.load(Ordering::Relaxed));
        now.since(granted) < of_late
    }

    /// Accounts for a round trip.
    pub(crate) fn observe(&self, now: Instant, latency: Duration) {
        self.latency.change(now, |peak, since| {
            let mut average = average(now, peak, since);
            average.observe(now, latency);
            micros(Duration::from_nanos(average.at(now)))
        });
    }

    /// Accounts for a round trip of the monitor.
    pub(crate) fn probed(&self, now: Instant, took: Duration) {
        self.observe(now, took);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.last.store(nanos.saturating_add(1), Ordering::Relaxed);
    }

    /// What the monitor's last round trip took: for people.
    #[cfg_attr(
        not(any(test, feature = "status")),
        expect(dead_code, reason = "nobody looks")
    )]
    pub(crate) fn last_round_trip(&self) -> Option<Duration> {
        let nanos = self.last.load(Ordering::Relaxed).checked_sub(1);
        nanos.map(Duration::from_nanos)
    }

    /// Accounts for a round trip that was given up after so long: it takes at least that.
    pub(crate) fn outlasted(&self, now: Instant, waited: Duration) {
        self.latency.change(now, |peak, since| {
            let known = Duration::from_nanos(average(now, peak, since).at(now));
            micros(waited.max(known))
        });
    }

    /// Accounts for a read that replay had to cancel.
    pub(crate) fn conflicted(&self, now: Instant) {
        self.conflicts.change(now, |conflicts, since| {
            left(conflicts, since).saturating_add(1).min(MOST_CONFLICTS)
        });
    }
}

/// The average that was so many microseconds so long ago.
fn average(now: Instant, peak: u32, since: Duration) -> PeakEwma {
    let peak = Duration::from_micros(u64::from(peak));
    PeakEwma::new(now.before(since), peak, DECAY)
}

/// How many conflicts are left of so many after so long: half of them are forgotten in each half-life.
fn left(conflicts: u32, since: Duration) -> u32 {
    let halvings = since.as_millis() / HALF_LIFE.as_millis();
    let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
    conflicts.checked_shr(halvings).unwrap_or(0)
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// A number, and since when it is that, in one word.
///
/// Time is counted in whole milliseconds, which add up to what has passed however often the number
/// changes within one of them. They come round after seven weeks: a number that nothing has changed
/// for half of that counts as new.
#[derive(Debug)]
struct Stamped(AtomicU64);

impl Stamped {
    fn new(now: Instant, number: u32) -> Self {
        Self(AtomicU64::new(word(number, millis(now))))
    }

    /// The number, and how long it has been that; none of zero.
    #[inline]
    fn get(&self, now: Instant) -> Option<(u32, Duration)> {
        let held = self.0.load(Ordering::Relaxed);
        (held >> u32::BITS != 0).then(|| apart(held, now))
    }

    /// Changes the number by what it is and how long it has been that.
    fn change(&self, now: Instant, change: impl Fn(u32, Duration) -> u32) {
        let mut held = self.0.load(Ordering::Relaxed);
        loop {
            let (number, since) = apart(held, now);
            let since_millis = u32::try_from(since.as_millis()).unwrap_or(0);
            // Whoever read the clock earlier and comes later does not turn it back.
            let stamp = stamp_of(held).wrapping_add(since_millis);
            let next = word(change(number, since), stamp);
            let order = Ordering::Relaxed;
            match self.0.compare_exchange(held, next, order, order) {
                Ok(_) => return,
                Err(other) => held = other,
            }
        }
    }
}

fn word(number: u32, stamp: u32) -> u64 {
    u64::from(number) << 32 | u64::from(stamp)
}

fn apart(word: u64, now: Instant) -> (u32, Duration) {
    let number = u32::try_from(word >> 32).unwrap_or(u32::MAX);
    let since = millis(now).wrapping_sub(stamp_of(word));
    let since = if since > u32::MAX / 2 { 0 } else { since };
    (number, Duration::from_millis(u64::from(since)))
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half of a word")]
const fn stamp_of(word: u64) -> u32 {
    word as u32
}

#[expect(clippy::cast_possible_truncation, reason = "they come round")]
const fn millis(now: Instant) -> u32 {
    (now.as_nanos() / NANOS_OF_A_MILLI) as u32
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

const NANOS_OF_A_MICRO: u64 = 1_000;
const NANOS_OF_A_MILLI: u64 = 1_000_000;

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
        load.enter();
        let one = load.cost(now);
        load.leave();
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
    fn what_is_forgotten_does_not_depend_on_how_often_it_is_measured() {
        let [seldom, often] = [1, 100].map(|each| {
            let mut now = Instant::from_nanos(1 << 40);
            let load = Load::new(now);
            load.observe(now, Duration::from_millis(200));
            for _ in 0..1000 / 10 * each {
                now = now.after(Duration::from_micros(10_000 / each));
                load.observe(now, Duration::from_micros(500));
            }
            load.cost(now)
        });
        // After a second it has come down by a factor of e, to 74, as near as the average knows that.
        for cost in [seldom, often] {
            assert!((66..=80).contains(&(cost / ALIKE)), "{seldom} and {often}");
        }
    }

    #[test]
    fn a_measurement_that_comes_late_does_not_turn_time_back() {
        let now = Instant::from_nanos(1 << 40);
        let load = Load::new(now);
        let later = now.after(Duration::from_secs(1));
        load.observe(later, Duration::from_millis(90));
        load.observe(now, Duration::from_millis(5));
        assert_eq!(load.cost(later), 90 * ALIKE);
        load.conflicted(later);
        load.conflicted(now);
        assert_eq!(load.cost(later), 3 * 90 * ALIKE);
    }

    #[test]
    fn time_goes_on_where_its_count_comes_round() {
        let round = Duration::from_millis(u64::from(u32::MAX) + 1);
        let before = Instant::from_nanos(0)
            .after(round)
            .before(Duration::from_secs(1));
        let load = Load::new(before);
        load.conflicted(before);
        load.observe(before, Duration::from_millis(200));
        let after = before.after(HALF_LIFE);
        assert!(load.cost(after) < 200 * ALIKE, "{}", load.cost(after));
        load.observe(after, Duration::from_millis(300));
        assert_eq!(load.cost(after), 300 * ALIKE);
    }

    #[test]
    fn the_last_round_trip_is_known_after_the_first() {
        let now = Instant::from_nanos(1 << 40);
        let load = Load::new(now);
        assert_eq!(load.last_round_trip(), None);
        load.probed(now, Duration::ZERO);
        assert_eq!(load.last_round_trip(), Some(Duration::ZERO));
        load.probed(now, Duration::from_micros(7));
        assert_eq!(load.last_round_trip(), Some(Duration::from_micros(7)));
        load.grant(now);
        assert!(load.grants(now.after(Duration::from_secs(1)), Duration::from_secs(2)));
        assert!(!load.grants(now.after(Duration::from_secs(2)), Duration::from_secs(2)));
    }

    #[test]
    fn every_lease_that_is_out_makes_a_node_dearer_until_it_returns() {
        let now = Instant::from_nanos(1 << 40);
        let load = Load::new(now);
        let idle = load.cost(now);
        load.enter();
        load.enter();
        assert_eq!(load.cost(now), 3 * idle);
        load.leave();
        load.leave();
        assert_eq!(load.cost(now), idle);
        assert_eq!(load.in_flight(), 0);
    }
}
