//! Which node accepts writes: found by asking, never by name.
//!
//! Of two nodes that accept writes the one on the higher timeline was promoted later. On equal
//! timelines nothing tells them apart, so the one that had the writes keeps them and the other is
//! reported. The rule kept here: a node that holds another cluster's data, or that merely stands
//! where the primary used to, is never taken for it.

use super::Monitor;
use super::track::Track;
use crate::event::Event;
use crate::node::{NodeId, Role, SystemId, Timeline};
use crate::observation::Standing;
use crate::time::Instant;

impl Monitor {
    /// Settles who the primary is, after any observation or failure.
    pub(super) fn elect(&mut self, now: Instant) {
        let current = self.primary;
        let standing = current.and_then(|id| self.claim(&self.tracks[id.index()]));
        let reign = self.history.as_ref().map(super::History::timeline);
        let best = self.best_claimant();
        match (best, standing) {
            // The current primary still claims it, and nobody was promoted after it.
            (_, Some(timeline)) if best.is_none_or(|(best, _)| best <= timeline) => {
                self.keep(now, timeline);
            }
            (Some((timeline, id)), _) if self.may_succeed(timeline, reign) => {
                self.system = self.tracks[id.index()]
                    .trusted()
                    .map(|observed| observed.system);
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
        // another cluster's data must not even see them.
        let another = self.tracks[node.index()].last().is_some_and(|observed| {
            observed.standing.role() == Role::Replica || Some(observed.system) != self.system
        });
        if another {
            self.primary = None;
        }
    }

    /// A successor is on a later timeline than the primary was, or there was none.
    ///
    /// At the start, the node configured as primary is heard first: before it is known whose data it
    /// holds, another cluster's primary could be taken for ours.
    fn may_succeed(&self, timeline: Timeline, reign: Option<Timeline>) -> bool {
        let heard = |track: &Track| track.last().is_some() || track.failure().is_some();
        match reign {
            Some(reign) => timeline > reign || (self.primary.is_none() && timeline == reign),
            None => self
                .tracks
                .iter()
                .filter(|track| track.spec.configured == Role::Primary)
                .all(heard),
        }
    }

    /// Whose data counts: at the start that of the configured primary, whatever its role is now.
    fn our_system(&self) -> Option<SystemId> {
        let configured = |track: &&Track| track.spec.configured == Role::Primary;
        self.system.or_else(|| {
            self.tracks
                .iter()
                .filter(configured)
                .filter_map(Track::trusted)
                .max_by_key(|observed| match observed.standing {
                    Standing::Primary { timeline, .. } => Some(timeline),
                    Standing::Replica { .. } => None,
                })
                .map(|observed| observed.system)
        })
    }

    /// The claimant on the highest timeline; the configured primary before others on the same.
    fn best_claimant(&self) -> Option<(Timeline, NodeId)> {
        self.tracks
            .iter()
            .filter_map(|track| Some((self.claim(track)?, track)))
            .max_by_key(|(timeline, track)| {
                let kept = self.primary == Some(track.id);
                let configured = track.spec.configured == Role::Primary;
                (*timeline, kept, configured, core::cmp::Reverse(track.id))
            })
            .map(|(timeline, track)| (timeline, track.id))
    }

    /// The timeline on which a node accepts writes, if it does and holds our data. A balanced node
    /// never does: the next connection to it leads elsewhere.
    fn claim(&self, track: &Track) -> Option<Timeline> {
        let observed = track.trusted().filter(|_| !track.spec.balanced)?;
        let ours = self
            .our_system()
            .is_none_or(|system| system == observed.system);
        match observed.standing {
            Standing::Primary {
                timeline,
                writable: true,
                ..
            } if ours => Some(timeline),
            Standing::Primary { .. } | Standing::Replica { .. } => None,
        }
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
