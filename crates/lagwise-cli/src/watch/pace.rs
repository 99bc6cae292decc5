//! How fast a position advances, and when a replica will have caught up.
//!
//! A rate is taken over a few seconds of positions that a server was asked for, dated by when it was
//! asked. A position that went back, or is not known any longer, begins anew. A rate is a fact about
//! the past, so what it promises is said for people, and decides nothing.

use std::collections::VecDeque;
use std::time::Duration;

use lagwise_core::{Instant, Lsn};

/// The positions of one node, of the last seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    points: VecDeque<(Instant, Lsn)>,
}

impl Pace {
    /// Takes in where the node stood, if that is known.
    pub(crate) fn note(&mut self, seen: Option<(Instant, Lsn)>) {
        let Some((at, position)) = seen else {
            self.points.clear();
            return;
        };
        if let Some((last_at, last)) = self.points.back() {
            if position < *last {
                self.points.clear();
            } else if at <= *last_at {
                return;
            }
        }
        self.points.push_back((at, position));
        let from = at.before(WINDOW);
        while self.points.get(1).is_some_and(|(then, _)| *then <= from) {
            self.points.pop_front();
        }
    }

    /// Bytes a second, once there is enough to tell.
    pub(crate) fn rate(&self) -> Option<u64> {
        let ((first_at, first), (last_at, last)) = (self.points.front()?, self.points.back()?);
        let took = last_at.since(*first_at);
        if took < SHORTEST {
            return None;
        }
        let bytes = u128::from(last.bytes_since(*first));
        u64::try_from(bytes * 1_000_000 / took.as_micros()).ok()
    }
}

/// When a replica will have what the primary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CatchUp {
    /// It has.
    CaughtUp,
    /// At its present pace, after this time.
    In(Duration),
    /// At its present pace, it will not.
    Never,
    Unknown,
}

/// Its distance against how much faster than the primary writes it replays.
pub(crate) fn catch_up(behind: Option<u64>, replay: Option<u64>, write: Option<u64>) -> CatchUp {
    let (Some(behind), Some(replay), Some(write)) = (behind, replay, write) else {
        return match behind {
            Some(0) => CatchUp::CaughtUp,
            _ => CatchUp::Unknown,
        };
    };
    match replay.saturating_sub(write) {
        _ if behind == 0 => CatchUp::CaughtUp,
        0 => CatchUp::Never,
        gain => {
            let millis = u128::from(behind) * 1000 / u128::from(gain);
            CatchUp::In(Duration::from_millis(
                u64::try_from(millis).unwrap_or(u64::MAX),
            ))
        }
    }
}

/// Long enough that single bursts do not make a rate, short enough to see a change.
const WINDOW: Duration = Duration::from_secs(5);
/// A shorter time says too little.
const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(), None);
        for second in 0..20 {
            pace.note(Some((at(second * 1000), Lsn::new(second * 1000))));
        }
        assert_eq!(pace.rate(), Some(1000));
        for second in 20..26 {
            pace.note(Some((at(second * 1000), Lsn::new(19_000))));
        }
        assert_eq!(pace.rate(), Some(0), "it stands still");
    }

    #[test]
    fn a_single_look_makes_no_rate_and_a_repeated_one_no_second() {
        let mut pace = Pace::default();
        pace.note(Some((at(0), Lsn::new(5))));
        pace.note(Some((at(0), Lsn::new(5))));
        pace.note(Some((at(900), Lsn::new(500))));
        assert_eq!(pace.rate(), None);
    }

    #[test]
    fn what_went_back_or_out_of_sight_begins_anew() {
        for interruption in [None, Some((at(3000), Lsn::new(1)))] {
            let mut pace = Pace::default();
            pace.note(Some((at(0), Lsn::new(100))));
            pace.note(Some((at(2000), Lsn::new(300))));
            assert_eq!(pace.rate(), Some(100));
            pace.note(interruption);
            assert_eq!(pace.rate(), None, "{interruption:?}");
        }
    }

    #[test]
    fn the_end_of_a_lag_is_known_only_from_both_rates() {
        assert_eq!(catch_up(Some(0), None, None), CatchUp::CaughtUp);
        assert_eq!(catch_up(Some(5), None, Some(1)), CatchUp::Unknown);
        assert_eq!(catch_up(None, Some(2), Some(1)), CatchUp::Unknown);
        assert_eq!(catch_up(Some(5), Some(1), Some(1)), CatchUp::Never);
        assert_eq!(catch_up(Some(5), Some(0), Some(9)), CatchUp::Never);
        let soon = CatchUp::In(Duration::from_millis(2500));
        assert_eq!(catch_up(Some(500), Some(300), Some(100)), soon);
    }
}
