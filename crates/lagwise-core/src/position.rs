//! A place in a cluster's history that any process can compare, and what a promotion does to it.
//!
//! An instant means something in one process only; a position means the same everywhere, as long as
//! it is compared on the branch of history it belongs to. A promotion begins a new branch somewhere
//! on the old one: what lies before the fork is on both, what lies beyond it is lost. An ordinary
//! role cannot ask where the fork is, so the rule kept here is that a position counts as kept only
//! where the promoted node was seen to have replayed it while it was still a replica.

use core::time::Duration;

use crate::lsn::Lsn;
use crate::node::{SystemId, Timeline};
use crate::snapshot::Snapshot;
use crate::time::Instant;

/// A place in a cluster's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the three together are the position"
)]
pub struct Position {
    /// The cluster.
    pub system: SystemId,
    /// The branch of its history.
    pub timeline: Timeline,
    /// The place on it.
    pub lsn: Lsn,
}

/// The end of a timeline, as the monitor saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switch {
    /// The timeline that ended.
    pub ended: Timeline,
    /// The timeline that goes on from it.
    pub began: Timeline,
    /// The farthest that the promoted node was seen to have replayed of the one that ended: all of
    /// it is kept. Unknown where it was never seen as a replica.
    pub kept: Option<Lsn>,
    /// Every commit acknowledged before this is kept as well: the promoted node's last proof.
    pub kept_as_of: Option<Instant>,
    /// When the first answer on the new timeline came in: until then writes went to the old primary.
    pub seen_at: Instant,
}

/// When a write returned, and which branch of history it was made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the two together say what a promotion may take away"
)]
pub struct Written {
    /// When it returned.
    pub at: Instant,
    /// The timeline of the node that it was routed to; where that is unknown, the one that had not
    /// been seen to end by then.
    pub on: Option<Timeline>,
}

impl Written {
    /// What is lost if either of two writes is.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            at: self.at.max(other.at),
            on: self.on.into_iter().chain(other.on).min(),
        }
    }
}

impl From<Instant> for Written {
    fn from(at: Instant) -> Self {
        Self { at, on: None }
    }
}

/// Where a position lies, as far as a snapshot can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks must know every answer"
)]
pub enum Place {
    /// On the present history: nodes can be compared with it.
    Here,
    /// On a timeline later than any the monitor has seen: somebody else knows of a promotion that
    /// this monitor does not know of yet. No node of the present history has it.
    Ahead,
    /// On a timeline that has ended, and not proved to be kept.
    Lost,
    /// Beyond where the primary stood when it was asked after the position came in: nobody was ever
    /// there.
    Beyond,
    /// In another cluster.
    Foreign,
    /// The monitor has not seen a primary yet.
    Unknown,
}

impl Snapshot {
    /// Where a position lies that came in at `since`.
    #[must_use]
    pub fn place(&self, position: Position, since: Instant) -> Place {
        let (Some(system), Some(timeline)) = (self.system, self.timeline) else {
            return Place::Unknown;
        };
        if position.system != system {
            return Place::Foreign;
        }
        if position.timeline > timeline {
            return Place::Ahead;
        }
        if position.timeline < timeline {
            return self.place_on_ended(position);
        }
        let beyond = self
            .head
            .is_some_and(|head| head.last_sent >= since && head.lsn < position.lsn);
        if beyond { Place::Beyond } else { Place::Here }
    }

    fn place_on_ended(&self, position: Position) -> Place {
        // What one promotion kept, the next may lose: that node need not have followed the one before.
        let since = |switch: &&Switch| switch.ended >= position.timeline;
        let mut since = self.switches.iter().filter(since).peekable();
        let seen = since
            .peek()
            .is_some_and(|first| first.ended == position.timeline);
        let kept = seen && since.all(|switch| switch.kept.is_some_and(|kept| position.lsn <= kept));
        if kept || position.lsn == Lsn::default() {
            Place::Here
        } else {
            Place::Lost
        }
    }

    /// Whether a write may have been lost in a promotion: it is not proved to have reached the node
    /// that was promoted. The old primary may go on acknowledging what it is sent after that.
    #[must_use]
    pub fn may_have_lost(&self, written: impl Into<Written>) -> bool {
        self.lost_on(written.into()).is_some()
    }

    /// The first timeline to end whose end may have lost a write.
    pub(crate) fn lost_on(&self, written: Written) -> Option<Timeline> {
        // What ended before the first that this monitor has seen, ended unseen.
        let first = self.switches.first().map(|switch| switch.ended);
        let first = first.or(self.timeline);
        if let Some(unseen) = written.on.filter(|on| Some(*on) < first) {
            return Some(unseen);
        }
        let loses = |switch: &&Switch| {
            let kept = switch.kept_as_of.is_some_and(|as_of| written.at < as_of);
            let ended = match written.on {
                Some(timeline) => timeline < switch.began,
                None => written.at <= switch.seen_at,
            };
            ended && !kept
        };
        self.switches.iter().find(loses).map(|switch| switch.ended)
    }
}

/// The greater of two positions. Of two that cannot be compared the one on the later timeline counts,
/// and that of another system is dropped.
pub(crate) fn later(one: Option<Position>, other: Option<Position>) -> Option<Position> {
    let (Some(a), Some(b)) = (one, other) else {
        return one.or(other);
    };
    let newer = a.system == b.system && (b.timeline, b.lsn) > (a.timeline, a.lsn);
    Some(if newer { b } else { a })
}

/// How long a promotion is remembered: longer than any token or session that it could concern.
pub(crate) const REMEMBERED_FOR: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
