//! What is asked sooner because a read waits.
//!
//! A waiting read needs the primary's position after its floor, and a replica that has passed it.
//! So both are asked at once, and again until one is there, at pauses that grow: a read that waits
//! for an instant that has not come yet must not turn the monitor into a load.

use super::Monitor;
use super::track::Track;
use crate::node::NodeId;
use crate::time::Instant;

impl Monitor {
    /// Whether a replica in rotation is proved to have what a waiting read needs, whatever that is.
    pub(super) fn is_met(&self, needed: Instant) -> bool {
        self.in_rotation()
            .filter(|track| !track.spec.balanced)
            .filter_map(|track| self.reached(track))
            .any(|reached| reached.passed >= needed)
    }

    /// While a read waits, a node that has just answered is asked again soon if that can help.
    pub(super) fn schedule_next(&mut self, now: Instant, node: NodeId) {
        let Some(needed) = self.schedule.demanded(now) else {
            return;
        };
        if self.is_met(needed) {
            self.schedule.satisfy();
        } else if self.helps(needed, &self.tracks[node.index()]) {
            self.schedule.repeat_for_demand(now, node);
        }
    }

    pub(super) fn hurry_reachable(&mut self, now: Instant) {
        for track in self.tracks.iter().filter(|track| track.failure().is_none()) {
            self.schedule.hurry(now, track.id);
        }
    }

    pub(super) fn hurry_for_demand(&mut self, now: Instant, index: usize) {
        let Some(needed) = self.schedule.demanded(now) else {
            return;
        };
        let track = &self.tracks[index];
        if self.helps(needed, track) {
            self.schedule.hurry(now, track.id);
        }
    }

    /// A waiting read needs a position that the primary had after the read's floor, and a replica
    /// that has passed it.
    fn helps(&self, needed: Instant, track: &Track) -> bool {
        if self.primary == Some(track.id) {
            self.head().is_none_or(|head| head.last_sent < needed)
        } else {
            track.rotation.membership().is_in_rotation() && !track.spec.balanced
        }
    }
}
