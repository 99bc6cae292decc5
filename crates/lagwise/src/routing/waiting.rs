//! Places for the reads that wait, so that a flood of them is refused before it fills the process.
//!
//! At no instant do more reads hold a place than are allowed to. One is refused while that many hold a
//! place or are being refused themselves: of those that come at once, as many get in as there are
//! places. What they wait for is not this module's business.

use crate::sync::{AtomicU32, Ordering};

/// A place among the reads that wait; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    /// None where `most` wait already: each waiting read holds what its request holds.
    pub(crate) fn enter(taken: &'a AtomicU32, most: u32) -> Option<Self> {
        // Relaxed: a count, ordered against nothing.
        let before = taken.fetch_add(1, Ordering::Relaxed);
        let place = Self(taken);
        (before < most).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
