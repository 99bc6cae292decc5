//! What a node has shown since somebody watches it: its lag over time, its pace, and its own account.
//!
//! Time is cut into equal slots, so that a chart is a chart of time whatever happened in between. In
//! a slot the worst counts, and the worst is what is not known: it is never drawn as no lag.

use std::collections::VecDeque;
use std::time::Duration;

use lagwise_core::Instant;

use super::look::{Look, NodeLook};
use super::pace::Pace;
use crate::vitals::Vitals;

/// One slot of a chart, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sample {
    /// Nobody watched, or it took the writes.
    Nothing,
    /// A read could be behind by this much.
    Lag(Duration),
    /// A read could be behind by any amount.
    Unknown,
}

/// One node over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// The newest last.
    samples: VecDeque<Sample>,
    /// The slot of the newest.
    newest: u128,
    pub(crate) pace: Pace,
    /// What it said last, or why it said nothing; nothing before it was asked.
    pub(crate) told: Option<Result<Vitals, String>>,
}

impl Track {
    /// Takes in one look.
    pub(crate) fn note(&mut self, node: &NodeLook, look: &Look) {
        self.pace.note(node.observed_at(look).zip(node.position));
        let sample = match node.bound {
            _ if node.is_primary => Sample::Nothing,
            Some(bound) => Sample::Lag(bound),
            None => Sample::Unknown,
        };
        let slot = slot(look.at);
        let missed = slot.saturating_sub(self.newest);
        match self.samples.back_mut() {
            Some(last) if missed == 0 => *last = sample.max(*last),
            Some(_) => {
                let missed = usize::try_from(missed - 1).unwrap_or(MOST).min(MOST);
                self.samples.extend(vec![Sample::Unknown; missed]);
                self.samples.push_back(sample);
            }
            None => self.samples.push_back(sample),
        }
        self.newest = slot;
        let surplus = self.samples.len().saturating_sub(MOST);
        self.samples.drain(..surplus);
    }

    /// The last `span` in `width` equal pieces, the newest last.
    pub(crate) fn chart(&self, span: Duration, width: usize) -> Vec<Sample> {
        let slots = usize::try_from(span.as_nanos() / SLOT.as_nanos()).unwrap_or(MOST);
        let absent = slots.saturating_sub(self.samples.len());
        let skipped = self.samples.len().saturating_sub(slots);
        let at = |slot: usize| match slot.checked_sub(absent) {
            Some(known) => self.samples.get(skipped + known).copied(),
            None => None,
        };
        let piece = |column: usize| {
            let (from, to) = (column * slots / width, (column + 1) * slots / width);
            let worst = (from..to.max(from + 1)).filter_map(at).max();
            worst.unwrap_or(Sample::Nothing)
        };
        (0..width).map(piece).collect()
    }

    /// Whether a chart of the longest time has a lag in it.
    pub(crate) fn has_lagged(&self) -> bool {
        let lag = |sample: &Sample| matches!(sample, Sample::Lag(_));
        self.samples.iter().any(lag)
    }

    /// Its own account, unless it last gave none.
    pub(crate) fn vitals(&self) -> Option<&Vitals> {
        self.told.as_ref().and_then(|told| told.as_ref().ok())
    }

    /// Why it gave none, if so.
    pub(crate) fn unwell(&self) -> Option<&str> {
        let told = self.told.as_ref()?;
        told.as_ref().err().map(String::as_str)
    }
}

fn slot(at: Instant) -> u128 {
    u128::from(at.as_nanos()) / SLOT.as_nanos()
}

/// One slot of a chart.
const SLOT: Duration = Duration::from_millis(500);

/// The longest time that is charted.
pub(crate) const LONG: Duration = Duration::from_secs(300);
/// The time beside a node's name.
pub(crate) const SHORT: Duration = Duration::from_secs(60);

/// So many slots are kept: those of the longest time.
const MOST: usize = 600;

#[cfg(test)]
mod tests {
    use super::super::scenes;
    use super::*;

    fn lag(millis: u64) -> Sample {
        Sample::Lag(Duration::from_millis(millis))
    }

    /// A track that was given a bound at each of these times, in milliseconds.
    fn track(seen: &[(u64, Option<u64>)]) -> Track {
        let mut track = Track::default();
        for (at, bound) in seen {
            let mut look = scenes::look();
            look.at = Instant::from_nanos(at * 1_000_000);
            look.nodes[1].bound = bound.map(Duration::from_millis);
            track.note(&look.nodes[1], &look);
        }
        track
    }

    #[test]
    fn a_chart_is_of_time_and_what_was_missed_is_unknown() {
        let track = track(&[(0, Some(10)), (500, Some(20)), (2000, Some(30))]);
        let [nothing, unknown] = [Sample::Nothing, Sample::Unknown];
        let expected = [nothing, lag(10), lag(20), unknown, unknown, lag(30)];
        assert_eq!(track.chart(Duration::from_secs(3), 6), expected);
        assert_eq!(
            track.chart(Duration::from_secs(3), 3),
            [lag(10), unknown, unknown]
        );
        let wide = track.chart(Duration::from_secs(1), 4);
        assert_eq!(wide, [unknown, unknown, lag(30), lag(30)]);
    }

    #[test]
    fn in_a_slot_the_worst_counts_and_unknown_is_worse_than_any_lag() {
        let second = Duration::from_secs(1);
        let worst = |seen: &[(u64, Option<u64>)]| track(seen).chart(second / 2, 1)[0];
        assert_eq!(
            worst(&[(0, Some(10)), (100, Some(90)), (200, Some(20))]),
            lag(90)
        );
        assert_eq!(
            worst(&[(0, Some(10)), (100, None), (200, Some(20))]),
            Sample::Unknown
        );
    }

    #[test]
    fn no_more_is_kept_than_is_charted() {
        let seen: Vec<_> = (0..2000).map(|slot| (slot * 500, Some(slot))).collect();
        let track = track(&seen);
        assert_eq!(track.samples.len(), MOST);
        assert_eq!(track.chart(LONG, MOST)[MOST - 1], lag(1999));
        assert_eq!(track.chart(LONG, MOST)[0], lag(1400));
    }
}
