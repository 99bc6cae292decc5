//! Who holds the ticket of a number, found without looking at everybody.
//!
//! A node holds as many tickets as its weight. The tickets of all are numbered one node after the other,
//! and the numbers are cut into about as many stretches of one length as there are nodes: where a
//! stretch begins is looked up, and few nodes end within one (Chen and Asau, "On Generating Random
//! Variates from an Empirical Distribution", 1974). Whether who is drawn may serve is judged elsewhere.

use alloc::vec::Vec;
use core::ops::Range;

use super::NodeView;
use crate::node::Weight;
use crate::random::Random;

/// The tickets of some nodes: first those of which something is proved, then the balanced ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lots {
    places: Vec<Place>,
    /// How many tickets the first of both hold together.
    proved: u32,
    /// How many stretches a number is long, in parts of 2³².
    scale: u64,
}

/// A node among those that hold tickets, and, of no concern to that node, a stretch.
#[derive(Clone, Copy, Debug)]
struct Place {
    node: u16,
    /// Who holds the first ticket of the stretch of this number.
    first: u16,
    /// The first number that is not its own any more: all weights of all nodes stay below `u32::MAX`.
    end: u32,
}

/// One that was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub(crate) node: usize,
    /// Its own numbers.
    start: u32,
    end: u32,
}

impl Lots {
    /// Tickets for those of the nodes that `admits` lets in.
    pub(super) fn new(views: &[NodeView], admits: impl Fn(&NodeView) -> bool) -> Self {
        let mut lots = Self::default();
        for balanced in [false, true] {
            let holds = |view: &NodeView| {
                view.balanced == balanced && view.weight != Weight::ZERO && admits(view)
            };
            for (node, view) in (0..).zip(views).filter(|(_, view)| holds(view)) {
                let end = lots.total() + u32::from(view.weight.as_u16());
                let first = 0;
                lots.places.push(Place { node, first, end });
            }
            if !balanced {
                lots.proved = lots.total();
            }
        }
        lots.cut();
        lots
    }

    /// Cuts the numbers into as many stretches as there are nodes, or a little fewer. In the same order,
    /// so that nobody before the first who reaches into a stretch has a number of it.
    fn cut(&mut self) {
        let many = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        let Some(scale) = (many << u32::BITS).checked_div(u64::from(self.total())) else {
            return;
        };
        self.scale = scale;
        let mut stretch = 0;
        for holder in 0..self.places.len() {
            let reaches = self.stretch(self.places[holder].end - 1);
            while stretch <= reaches {
                self.places[stretch].first = u16::try_from(holder).unwrap_or(u16::MAX);
                stretch += 1;
            }
        }
    }

    /// The stretch of a number: all are of one length, but for rounding.
    #[inline]
    fn stretch(&self, number: u32) -> usize {
        usize::try_from((u64::from(number) * self.scale) >> u32::BITS).unwrap_or(usize::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The tickets of everybody.
    pub(crate) fn all(&self) -> Range<u32> {
        0..self.total()
    }

    /// The tickets of those of which something is proved.
    pub(crate) fn proved(&self) -> Range<u32> {
        0..self.proved
    }

    /// The tickets of those of which nothing is.
    pub(crate) fn assumed(&self) -> Range<u32> {
        self.proved..self.total()
    }

    #[inline]
    fn total(&self) -> u32 {
        self.places.last().map_or(0, |place| place.end)
    }

    /// Draws one of the tickets in `among`.
    #[inline]
    pub(crate) fn draw(&self, among: &Range<u32>, random: &mut impl Random) -> Option<Drawn> {
        let number = below(random, among.end - among.start);
        self.holder(among.start + number)
    }

    /// Draws one of the tickets in `among` that `but`, who is among them, does not hold; none if there
    /// is no other.
    #[inline]
    pub(crate) fn draw_other(
        &self,
        among: &Range<u32>,
        but: Drawn,
        random: &mut impl Random,
    ) -> Option<Drawn> {
        let held = but.end - but.start;
        let rest = (among.end - among.start)
            .checked_sub(held)
            .filter(|rest| *rest > 0)?;
        let number = among.start + below(random, rest);
        // Those after it move up into its place.
        self.holder(if number < but.start {
            number
        } else {
            number + held
        })
    }

    #[inline]
    fn holder(&self, number: u32) -> Option<Drawn> {
        let stretch = self.places.get(self.stretch(number))?;
        let mut at = usize::from(stretch.first);
        while self.places.get(at)?.end <= number {
            at += 1;
        }
        let place = self.places.get(at)?;
        let before = at.checked_sub(1).and_then(|before| self.places.get(before));
        Some(Drawn {
            node: usize::from(place.node),
            start: before.map_or(0, |before| before.end),
            end: place.end,
        })
    }
}

fn below(random: &mut impl Random, bound: u32) -> u32 {
    u32::try_from(random.below(u64::from(bound))).unwrap_or(0)
}
