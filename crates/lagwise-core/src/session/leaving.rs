//! How a session leaves its process, and how it comes in.
//!
//! What the session's next reader elsewhere must know is kept beside the floor: what no position
//! covers yet, and what the session's client has been told already. A new token is due only when
//! there is something new to say.

use core::time::Duration;

use super::Session;
use crate::claim::{Claim, ReadFrom};
use crate::floor::{Floor, Sight};
use crate::node::Timeline;
use crate::position::{Place, Position, Written, later};
use crate::snapshot::Snapshot;
use crate::time::{Instant, WallTime};

/// What is kept beside the floor.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(super) struct Trail {
    /// The farthest position that was captured after a write.
    pub(super) captured: Option<Position>,
    /// A write has ended since.
    pub(super) uncaptured: bool,
    /// A write elsewhere was never captured.
    pub(super) inherited: bool,
    /// Until when a write elsewhere is waited out here, and until when its token said.
    pub(super) unsettled: Option<(Instant, WallTime)>,
    /// What was written, or seen on the primary, that neither the position nor the replica last read
    /// from is known to have.
    pub(super) beyond: bool,
    /// Some of that was read there because no replica had what it needed.
    pub(super) fell_back: bool,
    /// What was read on replicas and is not below the position.
    pub(super) read: bool,
    /// The last write, on the earliest timeline of all whose keeping is not known.
    pub(super) last_write: Option<Written>,
    /// A write, here or elsewhere, that no token has told of.
    pub(super) wrote: bool,
    /// Something happened that no token has told.
    pub(super) moved: bool,
    /// A replica was read since the last token.
    pub(super) read_since: bool,
    /// The replica that the last token names.
    pub(super) told: Option<Sight>,
    /// When the last token was made.
    pub(super) issued: Option<WallTime>,
    /// A write of the session may have been lost by the cluster.
    pub(super) lost: bool,
}

impl Trail {
    pub(super) fn note_write(&mut self, written: Written) {
        self.last_write = Some(match self.last_write {
            Some(earlier) => earlier.and(written),
            None => written,
        });
    }
}

/// Why a position that a session brought with it counts no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Voided {
    /// Its timeline has ended, and it is not proved to be kept.
    Lost,
    /// The primary never stood there.
    Beyond,
    /// It is of another cluster.
    Foreign,
}

impl Session {
    /// Takes up what a token says, at `now`.
    pub fn take_up(&mut self, claim: &Claim, snapshot: &Snapshot, now: Instant, wall: WallTime) {
        self.take_up_both_timelines(claim, snapshot, now);
        self.merge(claim.floor(snapshot, now, wall));
        let trail = &mut self.trail;
        if claim.uncaptured {
            // Its next token is to take the place of this one.
            trail.wrote |= claim.beyond;
            trail.inherited = true;
            // When it was written is not known here, but that was before now.
            trail.note_write(Written {
                at: now,
                on: Some(claim.timeline),
            });
        }
        trail.unsettled = trail
            .unsettled
            .max(claim.settled_by(now, wall).zip(claim.unsettled_until));
        trail.lost |= claim.may_be_lost(snapshot);
        trail.told = self.floor.seen;
        trail.issued = trail.issued.max(Some(claim.issued));
    }

    /// Of two positions the later one is kept. Where one of them is on a timeline that this monitor has
    /// not seen, nobody can say yet what became of the other.
    fn take_up_both_timelines(&mut self, claim: &Claim, snapshot: &Snapshot, now: Instant) {
        let Some(held) = self.floor.position else {
            return;
        };
        let unseen = snapshot.timeline < Some(held.timeline.max(claim.timeline));
        if unseen && held.timeline != claim.timeline {
            self.merge(Floor::as_of(now));
            self.trail.inherited = true;
            self.trail.note_write(Written {
                at: now,
                on: Some(held.timeline.min(claim.timeline)),
            });
        }
    }

    /// [`Session::take_up`] of a token that the session's client does not have: a service that was
    /// called in the session has answered with it. The client's next token tells of it.
    pub fn take_up_news(
        &mut self,
        claim: &Claim,
        snapshot: &Snapshot,
        now: Instant,
        wall: WallTime,
    ) {
        let Trail { told, issued, .. } = self.trail;
        let (written, wrote) = (self.floor.written, self.wrote_elsewhere());
        self.take_up(claim, snapshot, now, wall);
        // A token that says what the session said itself is no news of a write.
        let wrote = self.wrote_elsewhere() != wrote || (claim.uncaptured && claim.beyond);
        let trail = &mut self.trail;
        trail.wrote |= wrote;
        trail.moved |= wrote || self.floor.written != written;
        trail.read_since |= claim.read.is_some();
        trail.told = told;
        // Of several replicas one cannot be told from another.
        let several = claim.read.is_some() && self.floor.seen.is_none();
        trail.issued = issued.filter(|_| !several);
    }

    /// What only a write changes.
    fn wrote_elsewhere(&self) -> impl PartialEq + use<> {
        let trail = &self.trail;
        (
            later(self.floor.position, trail.captured),
            trail.unsettled,
            trail.inherited,
            trail.lost,
        )
    }

    /// Takes up that nothing is known of what happened before `now`: reads see all of it.
    pub fn take_up_unknown(&mut self, now: Instant) {
        self.merge(Floor::as_of(now));
    }

    /// Looks whether the position that the session brought with it can be, and gives it up if not.
    /// To be called before each read and write: a later write must not hide that an earlier one may
    /// have been lost.
    #[inline]
    pub fn settle_position(&mut self, snapshot: &Snapshot) -> Option<Voided> {
        if self.trail.last_write.is_none() && self.floor.position.is_none() {
            // There is nothing that could have been lost.
            return None;
        }
        self.look_for_losses(snapshot)
    }

    fn look_for_losses(&mut self, snapshot: &Snapshot) -> Option<Voided> {
        self.trail.lost = self.may_have_lost_writes(snapshot);
        if let Some(last) = self.trail.last_write.as_mut().filter(|_| !self.trail.lost) {
            // What was kept is on the present history as well.
            last.on = last.on.max(snapshot.timeline.filter(|_| last.on.is_some()));
        }
        let (Some(position), Some(since)) = (self.floor.position, self.floor.since) else {
            return None;
        };
        let voided = match snapshot.place(position, since) {
            Place::Here | Place::Ahead | Place::Unknown => return None,
            Place::Lost => Voided::Lost,
            Place::Beyond => Voided::Beyond,
            Place::Foreign => Voided::Foreign,
        };
        self.floor.position = None;
        self.floor.since = None;
        // A primary that crashed before it had flushed what it acknowledged stands before it, too.
        if voided != Voided::Foreign {
            // What is left of it is on the present history, as it was when the token came in.
            self.floor.written = self.floor.written.max(Some(since));
            self.trail.beyond = true;
            self.trail.lost = true;
        }
        Some(voided)
    }

    /// Whether a write of the session may have been lost by the cluster: it was acknowledged, and is
    /// not proved to have reached the node that was promoted then, or the primary now stands before it.
    #[must_use]
    pub fn may_have_lost_writes(&self, snapshot: &Snapshot) -> bool {
        let lost = |written: Written| snapshot.may_have_lost(written);
        self.trail.lost || self.trail.last_write.is_some_and(lost)
    }

    /// Whether a write has ended, or a read has fallen back to the primary, after nobody has asked
    /// where the primary stands.
    ///
    /// Without a position, whoever goes on with the session looks for a replica that has everything
    /// up to then: while replicas lag by more than a read waits, none has, and the read falls back
    /// again.
    #[must_use]
    pub const fn is_uncaptured(&self) -> bool {
        self.trail.uncaptured || (self.trail.beyond && self.trail.fell_back)
    }

    /// Whether writes are open, all of which are being asked when they ended.
    #[must_use]
    pub const fn is_settling(&self) -> bool {
        self.open_writes > 0 && self.open_writes == self.settling && !self.bound
    }

    /// The primary stood at `position` when it was asked at `sent`.
    pub fn cover(&mut self, position: Position, sent: Instant) {
        self.trail.captured = later(self.trail.captured, Some(position));
        let covers = |instant: Option<Instant>| instant.is_none_or(|instant| instant <= sent);
        if covers(self.floor.written) {
            self.trail.beyond = false;
            self.trail.fell_back = false;
            self.trail.uncaptured = false;
        }
        if covers(self.floor.read) && self.open_reads == 0 {
            self.trail.read = false;
        }
    }

    /// Whether there is anything to tell that the client's last token does not say. One that only
    /// reads on the same replica is told again once its token is older than `renew_after`.
    #[must_use]
    pub fn has_moved(&self, wall: WallTime, renew_after: Duration) -> bool {
        let trail = &self.trail;
        let old = trail
            .issued
            .is_none_or(|issued| wall.since(issued) >= renew_after);
        let reads = trail.read_since || self.open_reads > 0;
        let under_way = self.open_writes > 0 || self.open_primary_reads > 0 || self.bound;
        trail.moved || under_way || (reads && (old || trail.told != self.floor.seen))
    }

    /// Whether the session has done more than read since the last token.
    #[must_use]
    pub const fn has_written(&self) -> bool {
        self.trail.wrote || self.open_writes > 0 || self.bound
    }

    /// What a token of the session says at this moment; none before a primary was seen. A write that
    /// is still open is waited out for `sticky_window`.
    #[must_use]
    pub fn claim(
        &self,
        snapshot: &Snapshot,
        (now, wall): (Instant, WallTime),
        sticky_window: Duration,
    ) -> Option<Claim> {
        let position = later(self.floor.position, self.trail.captured);
        let system = snapshot.system.or_else(|| position.map(|at| at.system))?;
        let timeline: Option<Timeline> = snapshot.timeline.max(position.map(|at| at.timeline));
        let open = self.open_writes > 0 || self.bound;
        let waited_out = match (self.floor.written, self.trail.unsettled) {
            _ if open => Some(wall.after(sticky_window)),
            // What is told again is told as it was, lest it grow longer with every token.
            (Some(until), Some((same, told))) if until == same && until > now => Some(told),
            (Some(until), _) if until > now => Some(wall.after(until.since(now))),
            _ => None,
        };
        let claim = Claim {
            lsn: position.map(|position| position.lsn),
            beyond: self.trail.beyond || open || self.open_primary_reads > 0,
            uncaptured: self.trail.uncaptured || self.trail.inherited || open,
            unsettled_until: waited_out,
            read: self
                .reads_elsewhere()
                .then(|| self.read_from(snapshot, wall)),
            ..Claim::new(system, timeline?, wall)
        };
        Some(self.before_promotion(claim, position, snapshot))
    }

    /// What may have been lost is told as such. The claim is of the present timeline all the same: whoever
    /// has not seen that must not serve a session that has.
    fn before_promotion(
        &self,
        claim: Claim,
        position: Option<Position>,
        snapshot: &Snapshot,
    ) -> Claim {
        let gone = |position: &Position| snapshot.place(*position, Instant::NEVER) == Place::Lost;
        if position.as_ref().is_some_and(gone) {
            return Claim {
                lsn: None,
                beyond: true,
                lost: true,
                ..claim
            };
        }
        let lost = |written| snapshot.lost_on(written).is_some();
        if self.trail.last_write.is_some_and(lost) {
            return Claim {
                beyond: true,
                lost: true,
                ..claim
            };
        }
        claim
    }

    /// The client has been given a token that says all of this.
    pub fn told(&mut self, claim: &Claim) {
        self.trail.moved = false;
        self.trail.wrote = false;
        self.trail.read_since = false;
        self.trail.told = self.floor.seen.filter(|_| claim.read.is_some());
        self.trail.issued = Some(claim.issued);
    }

    fn reads_elsewhere(&self) -> bool {
        self.trail.read || self.open_reads > 0
    }

    fn read_from(&self, snapshot: &Snapshot, wall: WallTime) -> ReadFrom {
        let seen = self.floor.seen.and_then(|seen| {
            let node = snapshot.node(seen.node)?;
            (node.incarnation == seen.incarnation).then_some(node.started?)
        });
        seen.map_or(ReadFrom::Several, |started| ReadFrom::Server(started, wall))
    }
}

#[cfg(test)]
mod tests;
