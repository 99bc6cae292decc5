//! Makes what broke a law as short as it can be.
//!
//! A run is a list of items. Delta debugging (Zeller and Hildebrandt, 2002) leaves out parts of it,
//! ever smaller ones, for as long as the same law breaks: what remains is what it takes, and none of
//! it can be left out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::{Broken, Tally, World};

/// So many steps are spent on it, which is half a minute at most.
const EFFORT: u64 = 4_000_000;

/// Runs a world, and says what broke.
pub(crate) fn attempt(mut world: World, steps: u64) -> Result<Tally, Box<Broken>> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        world.run(steps);
        world.tally.clone()
    }));
    outcome.map_err(|payload| match payload.downcast::<Broken>() {
        Ok(broken) => broken,
        // The panic has said what it had to say.
        Err(_) => Box::new(world.panicked()),
    })
}

/// The same break with as few items as it takes, and what happened then.
pub(crate) fn shrink(seed: u64, steps: u64, broken: Broken) -> Broken {
    let law = broken.law;
    let mut effort = EFFORT;
    let mut least = broken;
    let mut parts = 2;
    while parts <= least.ran.len().max(1) && effort > 0 && least.ran.len() > 1 {
        let size = least.ran.len().div_ceil(parts);
        let shorter = (0..parts).find_map(|part| {
            let left_out = part * size..(part + 1) * size;
            let mut items = least.ran.clone();
            items.drain(left_out.start.min(items.len())..left_out.end.min(items.len()));
            if items.len() == least.ran.len() || effort == 0 {
                return None;
            }
            let again = attempt(World::with_only(seed, &items), steps);
            let took = again
                .as_ref()
                .map_or_else(|broken| broken.step, |tally| tally.steps);
            effort = effort.saturating_sub(took);
            again.err().filter(|again| again.law == law)
        });
        match shorter {
            Some(shorter) => {
                least = *shorter;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(least.ran.len()),
        }
    }
    let told = attempt(World::with_only(seed, &least.ran).traced(), steps);
    told.err().map_or(least, |told| *told)
}
