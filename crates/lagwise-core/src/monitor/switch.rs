//! What is remembered of a promotion: how much of the old timeline the promoted node had.
//!
//! Only what it was proved to have replayed while it followed the old primary counts. The fork itself
//! lies somewhere beyond that, where an ordinary role cannot look.

use alloc::vec::Vec;

use super::Monitor;
use super::track::Kept;
use crate::history::History;
use crate::node::NodeId;
use crate::position::{REMEMBERED_FOR, Switch};
use crate::time::Instant;

impl Monitor {
    /// Remembers how far each replica is proved to follow the present history.
    pub(super) fn note_kept(&mut self) {
        let Some(timeline) = self.history.as_ref().map(History::timeline) else {
            return;
        };
        for index in 0..self.tracks.len() {
            let track = &self.tracks[index];
            if let (Some(reached), Some(replay)) = (self.reached(track), track.replay()) {
                self.tracks[index].kept = Some(Kept {
                    timeline,
                    replay,
                    as_of: reached.as_of,
                });
            }
        }
    }

    /// A history begins. If it goes on from the last one, that was a promotion.
    pub(super) fn record_switch(&mut self, now: Instant, node: NodeId, next: &History) {
        let Some(last) = &self.history else { return };
        if last.system() != next.system() || last.timeline() >= next.timeline() {
            return;
        }
        let ended = last.timeline();
        // Where a promotion in between went unseen, what was replayed may belong to that one.
        let follows_at_once = next.timeline().as_u32() - ended.as_u32() == 1;
        let kept = self.tracks[node.index()]
            .kept
            .filter(|kept| kept.timeline == ended && follows_at_once);
        let switch = Switch {
            ended,
            began: next.timeline(),
            kept: kept.map(|kept| kept.replay),
            kept_as_of: kept.map(|kept| kept.as_of),
            seen_at: now,
        };
        let recent = |switch: &&Switch| now.since(switch.seen_at) < REMEMBERED_FOR;
        let switches: Vec<Switch> = self
            .switches
            .iter()
            .filter(recent)
            .copied()
            .chain([switch])
            .collect();
        self.switches = switches.into();
    }
}

#[cfg(test)]
mod tests;
