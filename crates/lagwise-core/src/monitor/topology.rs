//! Which node accepts writes: found by asking, never by name.
//!
//! Of two nodes that accept writes the one on the higher timeline was promoted later. On equal
//! timelines nothing tells them apart, so the one that had the writes keeps them and the other is
//! reported. The rules kept here: a node that holds another cluster's data, or that merely stands
//! where the primary used to, is never taken for it; and once a later timeline was heard of, nobody
//! on an earlier one is the primary, whatever becomes of the node that said so.

use super::Monitor;
use super::track::Track;
use crate::event::Event;
use crate::node::{NodeId, Role, SystemId, Timeline};
use crate::observation::{Observation, Standing};
use crate::time::Instant;

impl Monitor {
    /// Notes what holds from now on: neither a suspicion nor a loss of a node takes back that it was
    /// promoted. A balanced node says nothing here: of which server it speaks, nobody knows.
    pub(super) fn hear(&mut self, node: NodeId, observed: &Observation) {
        if !self.tracks[node.index()].spec.balanced {
            let newest = self.heard.entry(observed.system).or_default();
            *newest = written(observed).max(*newest);
        }
    }

    /// Settles who the primary is, after any observation or failure.
    pub(super) fn elect(&mut self, now: Instant) {
        self.settle_system();
        let best = self.best_claimant();
        let current = self.primary;
        let standing = current.and_then(|id| self.claim(&self.tracks[id.index()]));
        // Nobody was promoted after it, nor does another server answer at its address now that was deposed
        // long ago.
        let standing = standing.filter(|timeline| !self.is_deposed(*timeline));
        match (best, standing) {
            (_, Some(timeline)) => self.keep(now, timeline),
            (Some((timeline, id)), _) if self.may_succeed(timeline) => {
                self.primary = Some(id);
                self.primary_lost = None;
                self.note_change(now);
                self.events
                    .push_back(Event::PrimaryFound { node: id, timeline });
            }
            _ => self.lose(now),
        }
        self.report_rivals();
    }

    fn keep(&mut self, now: Instant, timeline: Timeline) {
        if let (Some(node), Some(_)) = (self.primary, self.primary_lost.take()) {
            self.note_change(now);
            self.events
                .push_back(Event::PrimaryFound { node, timeline });
        }
    }

    fn lose(&mut self, now: Instant) {
        let Some(node) = self.primary else { return };
        if self.primary_lost.is_none() {
            self.primary_lost = Some(now);
            self.note_change(now);
            self.events.push_back(Event::PrimaryLost { node });
        }
        // A node that is a replica now gets no writes, not even to be refused them; one that holds
        // another cluster's data, or was succeeded by another, must not even see them.
        let another = self.tracks[node.index()].last().is_some_and(|observed| {
            let role = match observed.standing {
                Standing::Primary { timeline, .. } => self.is_deposed(timeline),
                Standing::Replica { .. } => true,
            };
            role || Some(observed.system) != self.system
        });
        if another {
            self.primary = None;
        }
    }

    /// The timeline that the primary writes, as far as is known.
    fn reign(&self) -> Option<Timeline> {
        self.history.as_ref().map(super::History::timeline)
    }

    /// Whether a later timeline than this was seen.
    pub(super) fn is_deposed(&self, timeline: Timeline) -> bool {
        let heard = self.system.and_then(|system| self.heard.get(&system));
        heard.copied().flatten().max(self.reign()) > Some(timeline)
    }

    /// A successor is on a later timeline than the primary was, or there is none.
    fn may_succeed(&self, timeline: Timeline) -> bool {
        let succeeds = self.primary.is_none() || self.reign() != Some(timeline);
        !self.is_deposed(timeline) && succeeds
    }

    /// Settles whose data counts, for good: that of the configured primary, whatever its role is now.
    ///
    /// It is heard before anybody is elected, and its first word holds: what is found at its address
    /// later may be another cluster's.
    fn settle_system(&mut self) {
        let awaits = |track: &Track| !track.is_heard() && is_configured(track);
        if self.system.is_some() || self.tracks.iter().any(awaits) {
            return;
        }
        let configured = self.tracks.iter().filter(|track| is_configured(track));
        let newest = configured
            .filter_map(Track::last)
            .max_by_key(|last| written(last));
        let system = newest.map(|last| last.system);
        self.system = system.or_else(|| self.agreed_system());
    }

    /// Whose data it is while the configured primary has never answered: that of a node that accepts
    /// writes, once everybody was asked, if nobody has ever named another cluster.
    fn agreed_system(&self) -> Option<SystemId> {
        let present = |track: &&Track| track.is_present();
        let all_heard = self.tracks.iter().filter(present).all(Track::is_heard);
        let (system, written) = self.heard.first_key_value()?;
        let agreed = self.heard.len() == 1 && written.is_some() && all_heard;
        agreed.then_some(*system)
    }

    /// The claimant on the highest timeline; the configured primary before others on the same.
    fn best_claimant(&self) -> Option<(Timeline, NodeId)> {
        self.tracks
            .iter()
            .filter_map(|track| Some((self.claim(track)?, track)))
            .max_by_key(|(timeline, track)| {
                let kept = self.primary == Some(track.id);
                let configured = is_configured(track);
                (*timeline, kept, configured, core::cmp::Reverse(track.id))
            })
            .map(|(timeline, track)| (timeline, track.id))
    }

    /// The timeline on which a node accepts writes, if it does and holds our data. A balanced node
    /// never does: the next connection to it leads elsewhere.
    fn claim(&self, track: &Track) -> Option<Timeline> {
        let observed = track.trusted().filter(|_| !track.spec.balanced)?;
        let ours = self.system == Some(observed.system);
        written(observed).filter(|_| ours)
    }

    fn report_rivals(&mut self) {
        for index in 0..self.tracks.len() {
            let track = &self.tracks[index];
            let rival = self.primary.is_some_and(|primary| primary != track.id)
                && self.claim(track).is_some();
            let is_news = rival && !track.rival;
            if is_news {
                self.events.push_back(Event::Rival { node: track.id });
                self.doubt_branches();
            }
            self.tracks[index].rival = rival;
        }
    }
}

fn is_configured(track: &Track) -> bool {
    track.spec.configured == Role::Primary
}

/// The timeline on which a node accepts writes.
fn written(observed: &Observation) -> Option<Timeline> {
    match observed.standing {
        Standing::Primary {
            timeline,
            writable: true,
            ..
        } => Some(timeline),
        Standing::Primary { .. } | Standing::Replica { .. } => None,
    }
}

#[cfg(test)]
mod tests;
