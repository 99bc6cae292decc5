//! Looks faster while the cluster changes.
//!
//! From the moment that anything about the primary changes, everybody waits for what comes of it:
//! writes for the node that accepts them, reads for replicas that are proved to follow it. So every
//! node is asked at once and then at a fast pace, until all have taken their places again. The rule
//! kept here is that haste ends: a cluster that never settles is asked at the ordinary pace.

use core::time::Duration;

use super::Monitor;
use super::track::Track;
use crate::membership::Cause;
use crate::node::Role;
use crate::time::Instant;

impl Monitor {
    /// Nothing is known of the cluster yet.
    pub(super) fn looking_around(mut self, now: Instant) -> Self {
        self.note_change(now);
        self.set_pace(now);
        self
    }

    /// Something about the primary has changed.
    pub(super) fn note_change(&mut self, now: Instant) {
        self.changed_at = Some(now);
        self.schedule.set_hastened(Some(Duration::ZERO));
        self.hurry_reachable(now);
    }

    /// Settles how fast to go on, after any input.
    pub(super) fn set_pace(&mut self, now: Instant) {
        let recent = |at: &Instant| now.since(*at) < LONGEST_HASTE;
        self.changed_at = self
            .changed_at
            .filter(recent)
            .filter(|_| !self.has_taken_places());
        let elapsed = self.changed_at.map(|at| now.since(at));
        self.schedule.set_hastened(elapsed);
    }

    /// Whether there is a primary, and every replica is where it stays unless something else happens.
    fn has_taken_places(&self) -> bool {
        let in_place = |track: &Track| match track.rotation.membership().cause() {
            Some(Cause::Unproved | Cause::Unseen) => false,
            Some(Cause::Promoted) => track.role() == Some(Role::Primary),
            _ => true,
        };
        self.primary.is_some() && self.primary_lost.is_none() && self.tracks.iter().all(in_place)
    }
}

/// Longer than any promotion that goes well.
const LONGEST_HASTE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
