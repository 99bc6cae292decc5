//! Owns the truth about a cluster: observations in; probes, events and snapshots out.
//!
//! The monitor is a machine without a clock and without sockets. Whoever drives it hands in what
//! probes brought ([`Monitor::handle_observation`], [`Monitor::handle_failure`]) and the passing of
//! time, and then takes out what is to be done ([`Monitor::poll_probe`]), what has changed
//! ([`Monitor::poll_event`]) and what everybody else may see ([`Monitor::snapshot`]). It keeps one
//! rule above all: unknown is stale. A node that was not seen, not lately, or not proved to follow
//! the primary's history is out, and only new proof brings it in.

mod beat;
mod branch;
mod change;
mod demand;
mod operate;
mod schedule;
mod service;
mod switch;
mod topology;
mod track;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::operate::NodeFault;
use self::schedule::{Place, Schedule};
use self::track::Track;
use crate::event::Event;
use crate::history::{History, Recorded, Sample};
use crate::lsn::Lsn;
use crate::membership::Cause;
use crate::node::{NodeId, NodeSpec, SystemId, Timeline};
use crate::observation::{Completed, Observation, ProbeFailure, Standing};
use crate::policy::ValidPolicy;
use crate::position::Switch;
use crate::random::Random;
use crate::snapshot::{NodeView, Nodes, Recent, Snapshot};
use crate::time::Instant;

/// Everything that is known of a cluster, as a machine without a clock and without sockets.
///
/// Hand in what probes brought and the passing of time, then take out what is to be done: poll
/// [`Monitor::poll_probe`] and [`Monitor::poll_event`] until they return none, publish
/// [`Monitor::snapshot`], and come back by [`Monitor::next_timeout`].
#[derive(Debug)]
pub struct Monitor {
    policy: Arc<ValidPolicy>,
    tracks: Vec<Track>,
    schedule: Schedule,
    /// Whose data counts.
    system: Option<SystemId>,
    /// Every cluster that a node has named, and the newest timeline on which one accepted its writes.
    heard: BTreeMap<SystemId, Option<Timeline>>,
    primary: Option<NodeId>,
    primary_lost: Option<Instant>,
    /// Where the primary stood: what a replica must have passed to be known to follow it.
    history: Option<History>,
    /// Where it stood when a transaction last completed: what a replica must have passed to show all
    /// there is to see. Has the samples of `history`, or fewer that reach further.
    visible: Option<History>,
    /// Which transactions had completed at the newest sample.
    completed: Option<Completed>,
    /// Whose positions the history holds.
    sampled: Option<NodeId>,
    recent: Recent,
    switches: Arc<[Switch]>,
    /// When anything about the primary last changed, until everybody has taken their place again.
    changed_at: Option<Instant>,
    events: VecDeque<Event>,
    /// The names of drained nodes that were removed: who comes back by one is still drained.
    kept_out: Vec<Arc<str>>,
}

impl Monitor {
    /// A monitor of nodes of which nothing is known. Their [`NodeId`]s are their places in `nodes`.
    pub fn new(
        now: Instant,
        policy: ValidPolicy,
        nodes: impl IntoIterator<Item = NodeSpec>,
    ) -> Self {
        let tracks: Vec<Track> = (0..)
            .zip(nodes)
            .map(|(index, spec)| Track::new(now, NodeId::new(index), spec, policy.zone.as_deref()))
            .collect();
        Self {
            schedule: Schedule::new(now, tracks.len(), &policy),
            policy: Arc::new(policy),
            tracks,
            system: None,
            heard: BTreeMap::new(),
            primary: None,
            primary_lost: None,
            history: None,
            visible: None,
            completed: None,
            sampled: None,
            recent: Recent::default(),
            switches: Arc::default(),
            changed_at: None,
            events: VecDeque::new(),
            kept_out: Vec::new(),
        }
        .looking_around(now)
    }

    /// Takes in what a probe of `node` saw. Poll everything after it.
    ///
    /// An answer to a question that was sent before the newest known of the node, good or bad, is
    /// passed over.
    pub fn handle_observation(
        &mut self,
        now: Instant,
        node: NodeId,
        observed: Observation,
        random: &mut impl Random,
    ) {
        let Some(track) = self.present_mut(node) else {
            return;
        };
        if track.is_past(&observed) {
            return;
        }
        let role_before = track.role();
        let broken = track.accept(observed);
        if broken && self.sampled == Some(node) {
            // Another run may count its transactions anew.
            self.completed = None;
        }
        let role = observed.standing.role();
        if role_before != Some(role) {
            if role_before.is_some() {
                self.note_change(now);
            }
            self.events.push_back(Event::RoleChanged {
                node,
                from: role_before,
                to: role,
            });
        }
        self.hear(node, &observed);
        self.elect(now);
        let place = self.place(node);
        self.schedule.answered(now, node, place, random);
        self.record_sample(now, node, observed);
        if self.primary == Some(node) {
            match self.stands() {
                Some(_) => self.schedule.primary_stood(now),
                None => self.schedule.primary_moved(now),
            }
        }
        self.note_branches();
        // Answers may be handed in another order than they came.
        if let Some(head) = self.head() {
            self.guard_divergence(now, head.last_sent, head.lsn);
        }
        if broken {
            let cause = self
                .judge(now, &self.tracks[node.index()])
                .err()
                .unwrap_or(Cause::Unproved);
            self.eject(now, node, cause);
        }
        self.observe_rotation(now, node);
        self.recheck(now);
        self.schedule_next(now, node);
        self.set_pace(now);
    }

    /// Takes in that a probe of `node` failed. Poll everything after it.
    pub fn handle_failure(
        &mut self,
        now: Instant,
        node: NodeId,
        failure: ProbeFailure,
        random: &mut impl Random,
    ) {
        let Some(track) = self.present_mut(node) else {
            return;
        };
        if track.fail(now, failure) {
            self.events.push_back(Event::ProbeFailed { node, failure });
        }
        self.elect(now);
        self.schedule.failed(now, node, random);
        self.recheck(now);
        self.set_pace(now);
    }

    /// Takes in that a request failed on `node` as it would if the node had gone: nothing known of it
    /// counts until it has been asked again, which is due at once. Says whether that changes what
    /// everybody else may see.
    pub fn handle_suspicion(&mut self, now: Instant, node: NodeId) -> bool {
        let is_primary = self.primary == Some(node);
        let Some(track) = self.present_mut(node) else {
            return false;
        };
        let was_trusted = track.trusted().is_some();
        // The primary proves nothing by itself, and that its role is asked again at once is enough.
        if !is_primary {
            track.suspect(now);
        }
        // A node that does not answer is known to be gone, and is tried at its own pace.
        if track.failure().is_none() {
            self.schedule.hurry(now, node);
        }
        was_trusted && !is_primary
    }

    /// Takes in that a read waits, until `until`, for a replica whose as-of instant reaches `needed`.
    /// Poll probes after it.
    pub fn handle_demand(&mut self, now: Instant, needed: Instant, until: Instant) {
        if self.is_met(needed) {
            return;
        }
        self.schedule.demand(now, needed, until);
        for index in 0..self.tracks.len() {
            self.hurry_for_demand(now, index);
        }
    }

    /// Takes in when a read was last routed: the monitor looks less often when nobody reads.
    pub fn handle_activity(&mut self, now: Instant, last_read: Instant) {
        let was_idle = self.schedule.is_idle();
        let idle = now.since(last_read) > self.policy.idle_after && self.is_settled();
        self.schedule.set_idle(idle);
        if was_idle && !idle {
            self.hurry_reachable(now);
        }
    }

    /// Takes in that time has passed. Call it when [`Monitor::next_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.recheck(now);
        self.set_pace(now);
    }

    /// A node that is to be probed now; it counts as being probed until its outcome is handed in.
    /// Call it until it returns none, after every input and when [`Monitor::next_timeout`] has come.
    #[must_use]
    pub fn poll_probe(&mut self, now: Instant) -> Option<NodeId> {
        self.schedule.take_due(now)
    }

    /// The next event. Call it until it returns none, after every input.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Monitor::handle_timeout`] and [`Monitor::poll_probe`] at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let unseen = self
            .tracks
            .iter()
            .filter_map(|track| track.unseen_at(self.policy.unseen_for));
        self.schedule.next_due().into_iter().chain(unseen).min()
    }

    /// Whether the monitor looks less often because nobody reads.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.schedule.is_idle()
    }

    /// What everybody else may see.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            taken_at: now,
            primary: self.primary,
            primary_lost: self.primary_lost,
            system: self.system,
            timeline: self.history.as_ref().map(History::timeline),
            head: self.head(),
            nodes: Nodes::new(self.tracks.iter().map(|track| self.view(track)).collect()),
            policy: Arc::clone(&self.policy),
            switches: Arc::clone(&self.switches),
            recent: self.recent.clone(),
        }
    }

    fn view(&self, track: &Track) -> NodeView {
        let is_primary = self.primary == Some(track.id);
        let reached = self
            .reached(track)
            .filter(|_| !is_primary && !track.spec.balanced);
        let observed = track.trusted();
        let replay = track.replay();
        let history = self.visible.as_ref();
        let comparable = self.is_comparable(track);
        NodeView {
            id: track.id,
            spec: Arc::clone(&track.spec),
            role: track.role(),
            membership: track.rotation.membership(),
            incarnation: track.incarnation,
            runs_since: track.runs_since.filter(|_| observed.is_some()),
            observed_at: observed.map(|observed| observed.sent_at),
            started: observed.map(|observed| observed.started),
            lsn: observed.and_then(|observed| match observed.standing {
                Standing::Primary { insert, .. } => Some(insert),
                Standing::Replica { replay, .. } => replay,
            }),
            as_of: reached.map(|reached| reached.as_of),
            passed: reached.map(|reached| reached.passed),
            estimate: observed.zip(replay).zip(history).and_then(
                |((observed, replay), history)| {
                    let estimate = history.estimate(observed.sent_at, replay);
                    estimate.filter(|_| comparable)
                },
            ),
            behind_for: observed.zip(replay).zip(self.history.as_ref()).and_then(
                |((observed, replay), history)| {
                    let ours = observed.system == history.system();
                    let since = history.beyond_since(replay).filter(|_| ours)?;
                    Some(observed.sent_at.since(since))
                },
            ),
            bytes_behind: replay
                .zip(self.head())
                .filter(|_| comparable)
                .map(|(replay, head)| head.lsn.bytes_since(replay)),
            near: track.near,
            weight: track.spec.weight,
            balanced: track.spec.balanced,
        }
    }

    /// Whether the distance of a node's position from the primary's says anything: the primary's is no
    /// longer known once it cannot be asked, and numbers of two histories have nothing in common.
    fn is_comparable(&self, track: &Track) -> bool {
        let cause = track.rotation.membership().cause();
        let elsewhere = matches!(cause, Some(Cause::Diverged | Cause::Foreign));
        self.primary_lost.is_none() && !elsewhere
    }

    /// While there is a primary, the others are asked after it.
    fn place(&self, node: NodeId) -> Place {
        let known = self.primary_lost.is_none() && self.primary.is_some();
        if !known || self.primary == Some(node) {
            Place::First
        } else if self.shows_all(&self.tracks[node.index()]) {
            Place::AtRest
        } else {
            Place::AfterPrimary
        }
    }

    /// Whether a replica in rotation has replayed all that the primary has written, and the primary stands.
    fn shows_all(&self, track: &Track) -> bool {
        let caught_up = self.stands().is_some_and(|lsn| track.replay() >= Some(lsn));
        caught_up && track.rotation.membership().is_in_rotation()
    }

    /// Where the primary stands, if that is where it stood the last time.
    fn stands(&self) -> Option<Lsn> {
        let head = self.head()?;
        (head.first_sent < head.last_sent).then_some(head.lsn)
    }

    fn head(&self) -> Option<Sample> {
        self.history.as_ref().and_then(History::newest)
    }

    /// Adds the primary's position to its history, or begins a new history with it.
    fn record_sample(&mut self, now: Instant, node: NodeId, observed: Observation) {
        let Standing::Primary {
            insert,
            timeline,
            completed,
            ..
        } = observed.standing
        else {
            return;
        };
        // Another cluster may answer at the primary's address: its positions prove nothing of ours.
        if self.primary != Some(node) || self.system != Some(observed.system) {
            return;
        }
        let continues = self.sampled == Some(node)
            && self.history.as_mut().is_some_and(|history| {
                history.timeline() == timeline
                    && history.record(observed.sent_at, insert) != Recorded::Backwards
            });
        if continues {
            self.record_visible(observed.sent_at, insert, completed);
        } else {
            self.begin_history(now, node, observed, timeline);
            self.completed = completed;
        }
        let recent =
            |history: &Option<History>| history.as_ref().map(History::recent).unwrap_or_default();
        self.recent = Recent {
            passed: recent(&self.history),
            visible: recent(&self.visible),
        };
    }

    /// While no transaction completes, what is written is nothing that a replica could show.
    fn record_visible(&mut self, sent: Instant, insert: Lsn, completed: Option<Completed>) {
        let Some(visible) = &mut self.visible else {
            return;
        };
        if completed.is_some() && completed == self.completed {
            visible.extend(sent);
        } else if visible.record(sent, insert) == Recorded::Backwards {
            // The raw history did not go back, so this one cannot have.
            self.visible = None;
        }
        self.completed = completed;
    }

    /// What the old history proved of a replica is void, also where its position is on the new one.
    fn begin_history(
        &mut self,
        now: Instant,
        node: NodeId,
        observed: Observation,
        timeline: Timeline,
    ) {
        let Standing::Primary { insert, .. } = observed.standing else {
            return;
        };
        let mut history = History::new(observed.system, timeline);
        let Recorded::Appended = history.record(observed.sent_at, insert) else {
            return;
        };
        self.record_switch(now, node, &history);
        self.visible = Some(history.clone());
        self.history = Some(history);
        self.sampled = Some(node);
        self.events.push_back(Event::HistoryBegun {
            system: observed.system,
            timeline,
        });
        self.note_change(now);
        for index in 0..self.tracks.len() {
            self.tracks[index].anchor_anew(observed.sent_at);
            let cause = self.judge(now, &self.tracks[index]).err();
            let id = self.tracks[index].id;
            self.eject(now, id, cause.unwrap_or(Cause::Unproved));
        }
    }
}

#[cfg(test)]
mod tests;
