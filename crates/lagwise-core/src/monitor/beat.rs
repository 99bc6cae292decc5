//! The instants at which the nodes of a router are asked, all at the same ones.
//!
//! Who asks each node at an instant of its own wakes up for each. A beat wakes once, and its jitter is
//! the router's: the processes of a fleet do not ask in step, and after a change of pace, which all of
//! them may see at once, each begins anywhere within the new one. The rule kept here is that no two
//! beats are further apart than the interval.

use core::time::Duration;

use crate::random::Random;
use crate::time::Instant;

/// The beat of a router.
#[derive(Debug)]
pub(super) struct Beat {
    last: Instant,
    next: Instant,
    /// What the next pause was derived from.
    interval: Duration,
    /// A number drawn for the next pause.
    drawn: u64,
}

impl Beat {
    /// A beat that begins at `now`.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            last: now,
            next: now,
            interval: Duration::ZERO,
            drawn: 0,
        }
    }

    /// Draws for the pause after the next.
    pub(super) fn draw(&mut self, random: &mut impl Random) {
        self.drawn = random.next_u64();
    }

    /// Goes on to what comes after `now`. A pause is up to an eighth early; the first at another
    /// interval is up to all of it.
    pub(super) fn advance(&mut self, now: Instant, interval: Duration) {
        self.next = self.next.min(self.last.after(interval));
        if self.next > now {
            return;
        }
        // Who wakes up late goes on from there.
        self.last = if self.next.after(interval) > now.after(interval / 2) {
            self.next
        } else {
            now
        };
        let same = core::mem::replace(&mut self.interval, interval) == interval;
        let span = if same { interval / 8 } else { interval };
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let early = Duration::from_nanos((|| self.drawn).below(nanos));
        self.next = self
            .last
            .after(interval.saturating_sub(early))
            .max(now.after(SOON));
    }

    /// When a node is due again that was due at `then` and is asked so long after the beat: at the first
    /// one that does not follow closely, and within an interval. In the past, if it was missed.
    pub(super) fn following(&self, then: Instant, offset: Duration) -> Instant {
        let soonest = then.after(self.interval / 4);
        let last = self.last.after(offset);
        let next = if last >= soonest {
            last
        } else {
            self.next.after(offset)
        };
        next.max(soonest).min(then.after(self.interval))
    }

    /// The last one.
    pub(super) const fn last(&self) -> Instant {
        self.last
    }

    /// The next one.
    pub(super) const fn next(&self) -> Instant {
        self.next
    }
}

/// After what is past there is something yet to come.
const SOON: Duration = Duration::from_nanos(1);

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// The beats until some instant, with looks at each of them and the draws in turn.
    fn beats(interval: Duration, until: Instant, mut random: impl FnMut() -> u64) -> Vec<Instant> {
        let mut beat = Beat::new(at(0));
        let mut beats = Vec::new();
        let mut now = at(0);
        while now < until {
            beat.advance(now, interval);
            beat.draw(&mut random);
            now = beat.next();
            beats.push(now);
        }
        beats
    }

    #[test]
    fn without_a_draw_it_keeps_the_interval() {
        let beats = beats(MS * 100, at(400), || 0);
        assert_eq!(beats, [at(100), at(200), at(300), at(400)]);
    }

    #[test]
    fn a_new_interval_begins_anywhere_within_it() {
        for (drawn, first) in [(0, 100), (u64::MAX / 4, 75), (u64::MAX / 2, 50)] {
            let mut beat = Beat::new(at(0));
            beat.advance(at(0), MS * 20);
            beat.draw(&mut || drawn);
            beat.advance(at(20), MS * 100);
            let next = beat.next().since(at(20));
            assert_eq!(next.as_micros().div_ceil(1000), first, "drawn: {drawn}");
        }
    }

    #[test]
    fn who_is_late_goes_on_from_there() {
        let mut beat = Beat::new(at(0));
        beat.advance(at(0), MS * 100);
        beat.advance(at(950), MS * 100);
        assert_eq!(beat.next(), at(1050), "what was missed is not made up for");
        beat.advance(at(1060), MS * 100);
        assert_eq!(beat.next(), at(1150), "and a little is");
    }

    #[test]
    fn a_shorter_interval_holds_at_once() {
        let mut beat = Beat::new(at(0));
        beat.advance(at(0), MS * 250);
        beat.advance(at(10), MS * 20);
        assert_eq!(beat.next(), at(20));
    }

    #[test]
    fn a_node_is_due_at_the_beat_after_its_last_and_within_an_interval() {
        let eighth = MS * 12;
        let mut beat = Beat::new(at(0));
        beat.advance(at(0), MS * 100);
        assert_eq!(beat.following(at(0), Duration::ZERO), at(100));
        assert_eq!(beat.following(at(12), eighth), at(112));
        assert_eq!(beat.following(at(60), eighth), at(112), "it was hurried");
        assert_eq!(beat.following(at(90), eighth), at(115), "not so soon again");
        assert_eq!(
            beat.following(at(0), eighth),
            at(100),
            "its place has changed"
        );
        beat.advance(at(100), MS * 100);
        let missed = beat.following(at(0), Duration::ZERO);
        assert_eq!(missed, at(100), "while it was asked");
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_the_interval(
            millis in 1_u64..500,
            draws in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let interval = MS * u32::try_from(millis).unwrap();
            let mut draws = draws.into_iter().cycle();
            let beats = beats(interval, at(millis * 40), || draws.next().unwrap());
            let mut last = at(0);
            for beat in beats {
                let pause = beat.since(last);
                prop_assert!(pause <= interval, "{pause:?}");
                prop_assert!(last == at(0) || pause >= interval / 8 * 7, "{pause:?}");
                last = beat;
            }
        }
    }
}
