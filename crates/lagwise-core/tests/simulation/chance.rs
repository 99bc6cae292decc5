//! Every random number of a run, from its seed.
//!
//! Each thing that happens draws from a stream of its own, which follows from the seed, the step and
//! who draws. So what is left out of a run leaves the rest of it as it was.

use lagwise_core::Random;

/// `SplitMix64` (Steele, Lea, Flood, 2014): short, fast, and good enough to look for trouble.
#[derive(Debug)]
pub(crate) struct Chance(u64);

/// Who draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Setup,
    Time,
    Cluster,
    Era,
    Fault,
    Process(usize),
    Client(usize),
    Action(u64),
}

impl Chance {
    pub(crate) fn of(seed: u64, step: u64, stream: Stream) -> Self {
        let stream = match stream {
            Stream::Setup => 1,
            Stream::Time => 2,
            Stream::Cluster => 3,
            Stream::Era => 4,
            Stream::Fault => 5,
            Stream::Action(slot) => 16 + slot,
            Stream::Process(index) => 32 + index as u64,
            Stream::Client(index) => 64 + index as u64,
        };
        let mut chance = Self(seed.rotate_left(40) ^ step.rotate_left(12) ^ stream);
        // Seeds and steps that differ little must not give streams that do.
        chance.0 = chance.next_u64();
        chance
    }

    /// From `least` to `most`, both of them included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// An index of a list of that length; zero for an empty one.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }
}

impl Random for Chance {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
