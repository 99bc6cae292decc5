//! What people change while the monitor runs: which nodes there are, what is asked of them, and who
//! takes no reads for now.
//!
//! Nothing proved is kept over a change that could void it. A node that comes is unproved, also in the
//! place of one that has gone; a node that has gone is asked and counted no more, and its place goes to
//! nobody while something may still be under way on it. What a hand took out, only a hand puts back.

use alloc::sync::Arc;

use thiserror::Error;

use super::Monitor;
use super::track::{Presence, Track};
use crate::event::Event;
use crate::membership::Cause;
use crate::node::{NodeId, NodeSpec, Role, Weight};
use crate::policy::ValidPolicy;
use crate::time::Instant;

/// Why a node cannot be added or removed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeFault {
    /// Another node has that name.
    #[error("another node has that name")]
    NameTaken,
    /// It accepts writes, or it is the one that should while none is known to.
    #[error("it is the primary")]
    Primary,
    /// There are as many nodes as can be told apart.
    #[error("there are too many nodes")]
    TooMany,
    /// There is no such node.
    #[error("there is no such node")]
    Unknown,
}

impl Monitor {
    /// Takes in a node of which nothing is known, and says by which id. Poll everything after it.
    ///
    /// The id may have been that of a node that was removed and [released](Self::release); its
    /// incarnation is a later one then. A node of a name that was drained begins as drained.
    ///
    /// # Errors
    /// If its name is taken, or there are too many nodes.
    pub fn add(&mut self, now: Instant, spec: NodeSpec) -> Result<NodeId, NodeFault> {
        let present = |track: &&Track| track.is_present();
        if self
            .tracks
            .iter()
            .filter(present)
            .any(|track| track.spec.name == spec.name)
        {
            return Err(NodeFault::NameTaken);
        }
        let free = self.tracks.iter().find(|track| track.is_free());
        let (index, incarnation) = match free {
            Some(track) => (track.id.index(), Some(track.incarnation.next())),
            None => (self.tracks.len(), None),
        };
        let place = u16::try_from(index).map_err(|_| NodeFault::TooMany)?;
        let id = NodeId::new(place);
        let drained = self.kept_out.iter().position(|name| *name == spec.name);
        let mut track = Track::new(now, id, spec, self.policy.zone.as_deref());
        track.incarnation = incarnation.unwrap_or(track.incarnation);
        if let Some(place) = drained {
            self.kept_out.swap_remove(place);
            track.drained = true;
        }
        if index < self.tracks.len() {
            self.tracks[index] = track;
        } else {
            self.tracks.push(track);
        }
        self.schedule.admit(now, id);
        self.events.push_back(Event::NodeAdded { node: id });
        self.recheck(now);
        Ok(id)
    }

    /// Takes a node out for good. Poll everything after it.
    ///
    /// Its id goes to no other node before [`Monitor::release`].
    ///
    /// # Errors
    /// If there is no such node, or it is the primary, or the one configured as it while none is known.
    pub fn remove(&mut self, now: Instant, node: NodeId) -> Result<(), NodeFault> {
        let track = self.present(node).ok_or(NodeFault::Unknown)?;
        let awaited = self.history.is_none() && track.spec.configured == Role::Primary;
        if self.primary == Some(node) || awaited {
            return Err(NodeFault::Primary);
        }
        let drained = track.drained.then(|| Arc::clone(&track.spec.name));
        let remains = track.remains(now);
        self.kept_out.extend(drained);
        self.tracks[node.index()] = remains;
        if self.sampled == Some(node) {
            // Whoever is given this id later goes on with nobody's history.
            self.sampled = None;
            self.completed = None;
        }
        self.eject(now, node, Cause::Removed);
        self.schedule.retire(node);
        self.events.push_back(Event::NodeRemoved { node });
        self.recheck(now);
        Ok(())
    }

    /// Nothing is under way any longer on a node that was removed: its id may go to another one.
    pub fn release(&mut self, node: NodeId) {
        if let Some(track) = self.tracks.get_mut(node.index())
            && track.presence == Presence::Leaving
        {
            track.presence = Presence::Gone;
        }
    }

    /// Changes a node's share of the reads.
    pub fn set_weight(&mut self, node: NodeId, weight: Weight) {
        if let Some(track) = self.present_mut(node) {
            Arc::make_mut(&mut track.spec).weight = weight;
        }
    }

    /// Changes every limit and interval, and judges all nodes by them at once. Poll everything after
    /// it.
    ///
    /// A replica that is further behind than the new limit leaves now, for that was asked for by hand;
    /// one that is out returns as ever.
    pub fn set_policy(&mut self, now: Instant, policy: ValidPolicy) {
        self.schedule.set_policy(now, &policy);
        for track in &mut self.tracks {
            track.near = Track::is_near(&track.spec, policy.zone.as_deref());
        }
        self.policy = Arc::new(policy);
        self.events.push_back(Event::PolicyChanged);
        for index in 0..self.tracks.len() {
            self.leave_if_late(now, index);
        }
        self.recheck(now);
        self.hurry_reachable(now);
    }

    /// Takes a node out of rotation by hand. Nothing but [`Monitor::handle_undrain`] puts it back; a
    /// primary keeps its writes, and a replica that is promoted takes them, since nobody else can.
    pub fn handle_drain(&mut self, now: Instant, node: NodeId) {
        let Some(track) = self.present_mut(node) else {
            return;
        };
        if !core::mem::replace(&mut track.drained, true) {
            self.events.push_back(Event::Drained { node });
        }
        self.recheck(now);
    }

    /// Lets a drained node prove itself again.
    pub fn handle_undrain(&mut self, now: Instant, node: NodeId) {
        let Some(track) = self.present_mut(node) else {
            return;
        };
        if core::mem::take(&mut track.drained) {
            self.events.push_back(Event::Undrained { node });
        }
        self.schedule.hurry(now, node);
    }

    fn present(&self, node: NodeId) -> Option<&Track> {
        let track = self.tracks.get(node.index());
        track.filter(|track| track.is_present())
    }

    pub(super) fn present_mut(&mut self, node: NodeId) -> Option<&mut Track> {
        let track = self.tracks.get_mut(node.index());
        track.filter(|track| track.is_present())
    }
}

#[cfg(test)]
mod tests;
