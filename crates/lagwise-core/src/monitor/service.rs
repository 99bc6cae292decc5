//! Which replicas serve: what each is proved to show, and what takes it out or lets it in.
//!
//! A replica is judged twice: by its own observations, which its rotation counts, and by all that is
//! known of the cluster whenever any of it changes. The rule kept here is that nothing but proof
//! lets a node in, while the first doubt takes it out.

use alloc::sync::Arc;
use core::time::Duration;

use super::Monitor;
use super::track::Track;
use crate::event::Event;
use crate::floor::Reached;
use crate::lsn::Lsn;
use crate::membership::Cause;
use crate::node::{NodeId, Role};
use crate::observation::Standing;
use crate::policy::PrimaryLoss;
use crate::rotation::{Change, Proof};
use crate::time::Instant;

impl Monitor {
    /// What a replica is proved to show; unknown for a node that is not proved to be one of ours.
    ///
    /// It is one of ours once it has passed a position that the primary had after this run of the
    /// node began: one that stands where another history left it does not get there.
    pub(super) fn reached(&self, track: &Track) -> Option<Reached> {
        let ours = track
            .trusted()
            .is_some_and(|observed| Some(observed.system) == self.system);
        if !ours || track.diverged || !self.is_on_our_branch(track) {
            return None;
        }
        let (_, since) = track.anchor()?;
        let replay = track.replay()?;
        let passed = self.history.as_ref()?.as_of(replay)?;
        let shows = self.visible.as_ref()?.as_of(replay)?;
        (passed >= since).then_some(Reached {
            as_of: shows.max(passed),
            passed,
        })
    }

    /// A replica that was observed before the primary was asked cannot have replayed more than the
    /// primary then had inserted, unless its history is another one. Its first position of this run
    /// is compared as well: of answers that cross, the newest may always come too late.
    pub(super) fn guard_divergence(&mut self, now: Instant, sent: Instant, insert: Lsn) {
        for index in 0..self.tracks.len() {
            let track = &mut self.tracks[index];
            let newest = track.position();
            let ahead = |(replay, received): (Lsn, Instant)| replay > insert && received <= sent;
            if newest.is_some_and(ahead) || track.anchor().is_some_and(ahead) {
                track.diverged = true;
                let node = track.id;
                self.eject(now, node, Cause::Diverged);
            }
        }
    }

    pub(super) fn eject(&mut self, now: Instant, node: NodeId, cause: Cause) {
        if let Change::Ejected(cause) = self.tracks[node.index()].rotation.eject(now, cause) {
            self.events.push_back(Event::Ejected { node, cause });
        }
    }

    /// Counts a replica's own observation for or against it.
    pub(super) fn observe_rotation(&mut self, now: Instant, node: NodeId) {
        let Some(track) = self.tracks.get(node.index()) else {
            return;
        };
        let Ok(as_of) = self.judge(now, track) else {
            return;
        };
        let shows = self.reached(track).map(|reached| reached.as_of);
        let proof = Proof {
            as_of,
            staleness: self.lag_clock(now).since(shows.unwrap_or(as_of)),
            follows: shows.is_some(),
        };
        let policy = Arc::clone(&self.policy);
        let leave_lag = self.leave_lag(node);
        let rotation = &mut self.tracks[node.index()].rotation;
        let event = match rotation.observe(now, proof, leave_lag, &policy) {
            Change::None => return,
            Change::Ejected(cause) => Event::Ejected { node, cause },
            Change::Readmitted(after) => Event::Readmitted { node, after },
        };
        self.events.push_back(event);
    }

    /// The lag beyond which a replica leaves: the ceiling, where it is needed.
    fn leave_lag(&self, node: NodeId) -> Duration {
        let needed = self.others_in_rotation(node) < usize::from(self.policy.min_in_rotation);
        if needed {
            self.policy.lag_ceiling
        } else {
            self.policy.max_lag
        }
    }

    /// Takes a replica out at once whose lag is beyond the limit, however it came there.
    pub(super) fn leave_if_late(&mut self, now: Instant, index: usize) {
        let track = &self.tracks[index];
        let node = track.id;
        let Some(reached) = self.reached(track) else {
            return;
        };
        let staleness = self.lag_clock(now).since(reached.as_of);
        if track.rotation.membership().is_in_rotation() && staleness > self.leave_lag(node) {
            self.eject(now, node, Cause::Lagging);
        }
    }

    /// Takes out every replica of which something is known that no lag limit has to weigh, puts back
    /// what the floor of replicas in service needs, and remembers what is proved of each: the primary's
    /// word proves more of all, and so does the silence of whoever spoke against it.
    pub(super) fn recheck(&mut self, now: Instant) {
        for index in 0..self.tracks.len() {
            if let Err(cause) = self.judge(now, &self.tracks[index]) {
                self.eject(now, self.tracks[index].id, cause);
            }
        }
        self.keep_floor(now);
        self.note_kept();
        if self.schedule.is_idle() && !self.is_settled() {
            self.schedule.set_idle(false);
        }
    }

    /// While too few replicas are in rotation, the least stale of those that are out for their lag
    /// alone, and below the ceiling, serve.
    fn keep_floor(&mut self, now: Instant) {
        let clock = self.lag_clock(now);
        // As far below the ceiling as a return is below the limit, lest a lag at it makes it flap.
        let margin = self.policy.max_lag.saturating_sub(self.policy.return_lag);
        let limit = self.policy.lag_ceiling.saturating_sub(margin);
        while self.in_rotation().count() < usize::from(self.policy.min_in_rotation) {
            let late = |track: &&Track| track.rotation.membership().cause() == Some(Cause::Lagging);
            let Some((_, node)) = self
                .tracks
                .iter()
                .filter(late)
                .filter_map(|track| Some((self.judge(now, track).ok()?, track.id)))
                .filter(|(as_of, _)| clock.since(*as_of) <= limit)
                .max()
            else {
                return;
            };
            self.tracks[node.index()].rotation.admit(now);
            self.events.push_back(Event::Readmitted {
                node,
                after: Cause::Lagging,
            });
        }
    }

    /// What a replica is proved to show, or the cause for which it must be out whatever its lag.
    pub(super) fn judge(&self, now: Instant, track: &Track) -> Result<Instant, Cause> {
        if !track.is_present() {
            return Err(Cause::Removed);
        }
        if track.drained {
            return Err(Cause::Drained);
        }
        if track.failure().is_some() {
            return Err(Cause::Unreachable);
        }
        let observed = track.last().ok_or(Cause::Unproved)?;
        if now.since(observed.received_at) > self.policy.unseen_for {
            return Err(Cause::Unseen);
        }
        if self.system.is_some_and(|system| system != observed.system) {
            return Err(Cause::Foreign);
        }
        match observed.standing {
            Standing::Primary { .. } => Err(Cause::Promoted),
            Standing::Replica { .. } if track.diverged => Err(Cause::Diverged),
            Standing::Replica { paused: true, .. } => Err(Cause::Paused),
            Standing::Replica { .. } if !self.is_on_our_branch(track) => Err(Cause::Unproved),
            Standing::Replica { replay, .. } => replay
                .and_then(|replay| self.history.as_ref()?.as_of(replay))
                .ok_or(Cause::Unproved),
        }
    }

    /// The instant that lag is measured against. Where a loss of the primary freezes the rotation,
    /// its silence is nobody's lag, also while a probe of it hangs and the loss is not known yet.
    fn lag_clock(&self, now: Instant) -> Instant {
        match (self.policy.primary_loss, self.head()) {
            (PrimaryLoss::Freeze, Some(head)) => {
                let grace = self.schedule.interval().saturating_mul(2);
                head.last_sent.after(grace).min(now)
            }
            (PrimaryLoss::Freeze, None) | (PrimaryLoss::HonorBound, _) => now,
        }
    }

    pub(super) fn in_rotation(&self) -> impl Iterator<Item = &Track> {
        self.tracks
            .iter()
            .filter(|track| track.rotation.membership().is_in_rotation())
    }

    fn others_in_rotation(&self, node: NodeId) -> usize {
        self.in_rotation().filter(|track| track.id != node).count()
    }

    /// Whether the cluster is as it should be: nothing is on its way in or out.
    pub(super) fn is_settled(&self) -> bool {
        let replica_settled = |track: &Track| {
            !track.is_present()
                || track.drained
                || track.failure().is_some()
                || track.rotation.membership().is_in_rotation()
                || track.role() == Some(Role::Primary)
        };
        self.primary_lost.is_none()
            && self.primary.is_some()
            && self.tracks.iter().all(replica_settled)
    }
}
