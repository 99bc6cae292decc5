//! When the primary stood where: the lag ring.
//!
//! A replica's position says nothing about time. The history of the primary's position does: if the
//! primary, asked at `sent`, stood at `lsn`, then every commit acknowledged before `sent` lies below
//! `lsn`, and a replica that has replayed `lsn` shows them all. The rule kept here is that nothing
//! but a recorded sample proves anything: before the oldest sample all is unknown, and thinning the
//! ring only ever makes a replica look older.
//!
//! One history belongs to one system and one timeline. Whoever owns it begins a new one when either
//! changes or [`History::record`] says that the primary went backwards.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::lsn::Lsn;
use crate::node::{SystemId, Timeline};
use crate::time::Instant;

/// A position of the primary, and the span in which it was asked for and stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The insert position, without page headers.
    pub lsn: Lsn,
    /// When the first question was sent that this position answered.
    pub first_sent: Instant,
    /// When the last one was: an idle week is one sample.
    pub last_sent: Instant,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::exhaustive_enums,
    reason = "a position moves on, stays, or goes back"
)]
pub enum Recorded {
    /// The primary moved on.
    Appended,
    /// The primary stands where it stood.
    Extended,
    /// The primary stands before where it stood: it lost what it had not flushed, or it is another
    /// server. Nothing was recorded, and this history proves nothing any longer.
    Backwards,
}

/// The recent positions of one primary on one timeline.
#[derive(Clone, Debug)]
pub struct History {
    system: SystemId,
    timeline: Timeline,
    samples: VecDeque<Sample>,
    thinned: Instant,
}

impl History {
    /// A history without samples: it proves nothing yet.
    #[must_use]
    pub fn new(system: SystemId, timeline: Timeline) -> Self {
        Self {
            system,
            timeline,
            samples: VecDeque::new(),
            thinned: Instant::from_nanos(0),
        }
    }

    /// Records that the primary, asked at `sent`, stood at `lsn`.
    ///
    /// A sample sent before the newest one is passed over: it would prove nothing more.
    pub fn record(&mut self, sent: Instant, lsn: Lsn) -> Recorded {
        let Some(newest) = self.samples.back_mut() else {
            self.push(sent, lsn);
            return Recorded::Appended;
        };
        // A late answer stands before the newest one by nature: that is no step back.
        if sent <= newest.last_sent {
            return Recorded::Extended;
        }
        if lsn < newest.lsn {
            return Recorded::Backwards;
        }
        if lsn == newest.lsn {
            newest.last_sent = sent;
            return Recorded::Extended;
        }
        self.push(sent, lsn);
        if sent.since(self.thinned) >= Duration::from_secs(1) {
            self.thin(sent);
        }
        Recorded::Appended
    }

    /// Records that no transaction has completed between the newest sample and `sent`: what the
    /// primary has written since then belongs to transactions that nobody sees. The newest sample
    /// covers every commit acknowledged before `sent` as well.
    pub(crate) fn extend(&mut self, sent: Instant) {
        if let Some(newest) = self.samples.back_mut() {
            newest.last_sent = newest.last_sent.max(sent);
        }
    }

    /// The instant such that a replica that has replayed `replay` shows every commit acknowledged
    /// before it; `None` where no sample proves any.
    #[must_use]
    pub fn as_of(&self, replay: Lsn) -> Option<Instant> {
        as_of(self.samples.iter(), replay)
    }

    /// How far behind a replica was that stood at `replay` when it was asked at `sent`, on the
    /// assumption that the primary wrote evenly between two samples. For people: it can be too low
    /// by one interval between samples, so no decision uses it.
    #[must_use]
    pub fn estimate(&self, sent: Instant, replay: Lsn) -> Option<Duration> {
        let after = self.samples.partition_point(|sample| sample.lsn <= replay);
        let before = self.samples.get(after.checked_sub(1)?)?;
        let Some(next) = self.samples.get(after) else {
            return Some(Duration::ZERO);
        };
        let part = u128::from(replay.bytes_since(before.lsn));
        let whole = u128::from(next.lsn.bytes_since(before.lsn)).max(1);
        let span = next.first_sent.since(before.last_sent).as_nanos();
        let into = u64::try_from(span * part / whole).unwrap_or(u64::MAX);
        let stood_there = before.last_sent.after(Duration::from_nanos(into));
        Some(sent.since(stood_there))
    }

    /// When the primary was first known to have written more than `replay`; `None` while it is not
    /// known to. Thinning can only make it later.
    #[must_use]
    pub fn beyond_since(&self, replay: Lsn) -> Option<Instant> {
        let beyond = self.samples.partition_point(|sample| sample.lsn <= replay);
        self.samples.get(beyond).map(|sample| sample.first_sent)
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<Sample> {
        self.samples.back().copied()
    }

    /// The system whose history this is.
    #[must_use]
    pub const fn system(&self) -> SystemId {
        self.system
    }

    /// The timeline whose history this is.
    #[must_use]
    pub const fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// How many samples are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether nothing was recorded yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The newest samples, oldest first, to judge a position that is only now being read: a few of
    /// them closely, then wider apart, so that they reach back also when the primary is asked often.
    pub(crate) fn recent(&self) -> Arc<[Sample]> {
        let mut kept: Vec<Sample> = Vec::with_capacity(RECENT);
        for sample in self.samples.iter().rev() {
            let apart = kept
                .last()
                .is_none_or(|last| last.last_sent.since(sample.last_sent) >= RECENT_SPACING);
            if kept.len() < RECENT / 4 || apart {
                kept.push(*sample);
            }
            if kept.len() == RECENT {
                break;
            }
        }
        kept.into_iter().rev().collect()
    }

    fn push(&mut self, sent: Instant, lsn: Lsn) {
        self.samples.push_back(Sample {
            lsn,
            first_sent: sent,
            last_sent: sent,
        });
    }

    /// Drops samples that are closer together than their age allows. The newest stays.
    fn thin(&mut self, now: Instant) {
        self.thinned = now;
        let newest = self.newest().map(|sample| sample.lsn);
        let mut kept: Option<Instant> = None;
        self.samples.retain(|sample| {
            let age = now.since(sample.last_sent);
            if age > KEPT_FOR && Some(sample.lsn) != newest {
                return false;
            }
            let apart = kept.is_none_or(|kept| sample.last_sent.since(kept) >= spacing(age));
            let keep = apart || Some(sample.lsn) == newest;
            if keep {
                kept = Some(sample.last_sent);
            }
            keep
        });
    }
}

/// [`History::as_of`] over any samples in their order.
pub(crate) fn as_of<'a>(
    samples: impl DoubleEndedIterator<Item = &'a Sample>,
    replay: Lsn,
) -> Option<Instant> {
    samples
        .rev()
        .find(|sample| sample.lsn <= replay)
        .map(|sample| sample.last_sent)
}

/// How far apart samples of an age are kept: within a second all of them, so that a waiting session
/// is told to the millisecond.
fn spacing(age: Duration) -> Duration {
    match age.as_secs() {
        0 => Duration::ZERO,
        1..60 => Duration::from_millis(100),
        60..600 => Duration::from_secs(1),
        _ => Duration::from_secs(10),
    }
}

/// Beyond this a lag is "longer than an hour".
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// A connection that was opened since the last probe stands near the newest samples or is late.
const RECENT: usize = 64;

/// How far apart the older ones of them are: a poll or so.
const RECENT_SPACING: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history() -> History {
        History::new(SystemId::new(1), Timeline::new(1))
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn what_a_replica_lacks_is_lacking_since_the_primary_had_it() {
        let mut history = history();
        assert_eq!(history.beyond_since(Lsn::new(5)), None, "nothing is known");
        for (time, lsn) in [(10, 100), (20, 100), (30, 200), (40, 300)] {
            assert_ne!(history.record(at(time), Lsn::new(lsn)), Recorded::Backwards);
        }
        for (replay, since) in [
            (0, Some(at(10))),
            (99, Some(at(10))),
            (100, Some(at(30))),
            (250, Some(at(40))),
            (300, None),
            (400, None),
        ] {
            assert_eq!(history.beyond_since(Lsn::new(replay)), since, "{replay}");
        }
    }

    #[test]
    fn nothing_is_known_before_the_first_sample() {
        let mut history = history();
        assert_eq!(history.as_of(Lsn::new(u64::MAX)), None);
        assert_eq!(history.record(at(10), Lsn::new(100)), Recorded::Appended);
        assert_eq!(
            history.as_of(Lsn::new(99)),
            None,
            "behind the oldest sample is unknown, not zero"
        );
        assert_eq!(history.as_of(Lsn::new(100)), Some(at(10)));
        assert_eq!(history.estimate(at(11), Lsn::new(99)), None);
    }

    #[test]
    fn an_idle_primary_shows_no_lag_however_long() {
        let mut history = history();
        for second in 0..100_000 {
            let recorded = history.record(at(second * 1000), Lsn::new(500));
            assert_eq!(recorded == Recorded::Appended, second == 0);
        }
        assert_eq!(history.len(), 1);
        assert_eq!(history.as_of(Lsn::new(500)), Some(at(99_999_000)));
        assert_eq!(
            history.estimate(at(99_999_500), Lsn::new(500)),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn the_estimate_lies_between_two_samples() {
        let mut history = history();
        for (millis, lsn) in [(1000, 1000), (1100, 2000), (1200, 3000)] {
            assert_eq!(
                history.record(at(millis), Lsn::new(lsn)),
                Recorded::Appended
            );
        }
        assert_eq!(
            history.estimate(at(1200), Lsn::new(1500)),
            Some(Duration::from_millis(150))
        );
        assert_eq!(
            history.as_of(Lsn::new(1500)),
            Some(at(1000)),
            "the proof does not interpolate"
        );
        assert_eq!(
            history.estimate(at(1250), Lsn::new(3000)),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn a_primary_that_goes_backwards_ends_the_history() {
        let mut history = history();
        assert_eq!(history.record(at(1), Lsn::new(100)), Recorded::Appended);
        assert_eq!(history.record(at(2), Lsn::new(99)), Recorded::Backwards);
        assert_eq!(
            history.newest().unwrap().lsn,
            Lsn::new(100),
            "nothing was recorded"
        );
    }

    #[test]
    fn a_late_answer_proves_nothing_more() {
        let mut history = history();
        assert_eq!(history.record(at(5), Lsn::new(100)), Recorded::Appended);
        assert_eq!(history.record(at(3), Lsn::new(200)), Recorded::Extended);
        assert_eq!(history.as_of(Lsn::new(100)), Some(at(5)));
        assert_eq!(
            history.record(at(4), Lsn::new(90)),
            Recorded::Extended,
            "it stands back because it is late, not because the primary lost anything"
        );
    }

    #[test]
    fn an_hour_of_writing_fits_in_a_bounded_ring() {
        let mut history = history();
        for tick in 0..(2 * 3600 * 100_u64) {
            assert_eq!(
                history.record(at(tick * 10), Lsn::new(tick * 100 + 8)),
                Recorded::Appended
            );
        }
        assert!(history.len() < 1700, "{} samples", history.len());
        let newest = history.newest().unwrap();
        assert_eq!(newest.last_sent, at((2 * 3600 * 100 - 1) * 10));
        let hour_ago = Lsn::new(newest.lsn.as_u64() - 3590 * 100 * 100);
        let known = history.as_of(hour_ago).expect("an hour is kept");
        assert!(newest.last_sent.since(known) < Duration::from_secs(3602));
    }

    proptest! {
        /// The proof of the whole library, over random histories: whatever was recorded and thinned,
        /// the as-of instant of a replica never lies after the truth.
        #[test]
        fn as_of_is_never_later_than_the_truth(
            steps in prop::collection::vec((1_u64..5_000, 0_u64..10_000), 1..200),
            replay in 0_u64..2_000_000,
        ) {
            let mut history = history();
            let mut now = at(1_000);
            let mut lsn = 10;
            // The first instant at which the primary stood beyond the replica.
            let mut left_behind = None;
            let mut ring_begins = None;
            for (millis, bytes) in steps {
                now = now.after(Duration::from_millis(millis));
                lsn += bytes;
                if lsn > replay && left_behind.is_none() {
                    left_behind = Some(now);
                }
                ring_begins.get_or_insert(now);
                prop_assert_ne!(history.record(now, Lsn::new(lsn)), Recorded::Backwards);
            }
            if let Some(as_of) = history.as_of(Lsn::new(replay)) {
                // Samples from `left_behind` on have positions beyond the replica.
                prop_assert!(left_behind.is_none_or(|left| as_of < left));
                prop_assert!(Some(as_of) >= ring_begins);
            }
            if lsn <= replay {
                prop_assert_eq!(history.as_of(Lsn::new(replay)), Some(now));
            }
        }
    }
}
