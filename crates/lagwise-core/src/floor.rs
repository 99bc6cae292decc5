//! What a read must be able to see.
//!
//! Two promises meet here. *Read your writes*: a replica may serve once its as-of instant has reached
//! the instant at which the last write returned. *Monotonic reads*: a read may have seen any commit
//! up to the instant it ended, so another replica must have reached that instant; the same replica,
//! in the same incarnation, has it by itself, because replay only advances. What came from another
//! process is a position instead of an instant. Who raises a floor, and when, is the session's
//! business.
//!
//! What a replica shows and what it has passed differ: a commit is shipped before it can be seen on
//! the primary, so one replica can show what another, which has everything that was acknowledged,
//! lacks. So what was read on a replica is compared with where the primary stood, and what was
//! written, or read on the primary, with what can be seen.

use crate::node::{Incarnation, NodeId};
use crate::position::{Position, later};
use crate::time::Instant;

/// A replica as a session saw it: one unbroken run of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the two together are the identity"
)]
pub struct Sight {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// What a replica is proved to have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the two together are the proof")]
pub struct Reached {
    /// It shows every commit that was acknowledged, or seen on the primary, before this.
    pub as_of: Instant,
    /// It has passed where the primary stood at this instant: it shows all that any replica showed
    /// before it.
    pub passed: Instant,
}

impl From<Instant> for Reached {
    /// A replica that has passed where the primary stood shows what could be seen there.
    fn from(passed: Instant) -> Self {
        Self {
            as_of: passed,
            passed,
        }
    }
}

/// What a read must be able to see. The default is nothing in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floor {
    pub(crate) written: Option<Instant>,
    pub(crate) read: Option<Instant>,
    pub(crate) seen: Option<Sight>,
    pub(crate) position: Option<Position>,
    pub(crate) since: Option<Instant>,
    pub(crate) settling: bool,
}

impl Floor {
    /// Every commit acknowledged before `instant`.
    #[must_use]
    pub fn as_of(instant: Instant) -> Self {
        Self {
            written: Some(instant),
            ..Self::default()
        }
    }

    /// Everything up to a position, which came in at `since`.
    #[must_use]
    pub fn position(position: Position, since: Instant) -> Self {
        Self {
            position: Some(position),
            since: Some(since),
            ..Self::default()
        }
    }

    /// Everything that any replica showed before `instant`, but for `seen`, which has it by itself.
    #[must_use]
    pub fn read(instant: Instant, seen: Option<Sight>) -> Self {
        Self {
            read: Some(instant),
            seen,
            ..Self::default()
        }
    }

    /// What both floors need. Of two positions that cannot be compared the one on the later
    /// timeline counts. Of two clusters' one position is dropped, and everything up to when they came
    /// in is needed instead.
    #[must_use]
    #[inline]
    pub fn merge(self, other: Self) -> Self {
        // Most reads state nothing, and what their session needs is taken as it is.
        if self.is_nothing() {
            return other;
        }
        if other.is_nothing() {
            return self;
        }
        self.merge_both(other)
    }

    /// Whether it needs nothing and says nothing.
    #[inline]
    const fn is_nothing(&self) -> bool {
        self.written.is_none()
            && self.read.is_none()
            && self.seen.is_none()
            && self.position.is_none()
            && self.since.is_none()
            && !self.settling
    }

    fn merge_both(self, other: Self) -> Self {
        let seen = match (self.seen, other.seen) {
            (Some(one), Some(other)) if one == other => Some(one),
            (one, None) if other.read.is_none() => one,
            (None, other) if self.read.is_none() => other,
            _ => None,
        };
        let since = self.since.max(other.since);
        let system = |floor: &Self| floor.position.map(|position| position.system);
        let apart =
            system(&self).is_some() && system(&other).is_some() && system(&self) != system(&other);
        Self {
            written: self.written.max(other.written).max(since.filter(|_| apart)),
            read: self.read.max(other.read),
            seen,
            position: later(self.position, other.position),
            since,
            settling: self.settling || other.settling,
        }
    }

    /// The instant that a replica has yet to reach, if it has not reached all that is needed.
    #[must_use]
    #[inline]
    pub fn lacking(&self, sight: Sight, reached: Reached) -> Option<Instant> {
        // What was read on the same run of the same replica it still has: replay only advances.
        let read = self.read.filter(|_| self.seen != Some(sight));
        self.lacking_of(read, reached)
    }

    /// [`Floor::lacking`] for a replica that nothing excuses.
    #[must_use]
    #[inline]
    pub fn lacking_unseen(&self, reached: Reached) -> Option<Instant> {
        self.lacking_of(self.read, reached)
    }

    #[inline]
    fn lacking_of(&self, read: Option<Instant>, reached: Reached) -> Option<Instant> {
        let read = read.filter(|read| reached.passed < *read);
        self.written
            .filter(|written| reached.as_of < *written)
            .max(read)
    }

    /// The latest instant that is needed of this replica.
    #[must_use]
    pub fn needed_from(&self, sight: Sight) -> Option<Instant> {
        if self.seen == Some(sight) {
            self.written
        } else {
            self.needed()
        }
    }

    /// The latest instant that is needed of a replica that the session has not just read from.
    #[must_use]
    #[inline]
    pub fn needed(&self) -> Option<Instant> {
        self.written.max(self.read)
    }

    /// The position that a node must have replayed.
    #[must_use]
    pub const fn needed_position(&self) -> Option<Position> {
        self.position
    }

    /// The instant that nodes must be asked after to find out whether one of them meets the floor.
    #[must_use]
    #[inline]
    pub fn asks_for(&self) -> Option<Instant> {
        self.needed().max(self.since)
    }

    /// When that position came in. What the primary says of itself after this decides whether the
    /// position can be.
    #[must_use]
    pub const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether the end of a write is being found out, which takes a round trip.
    #[must_use]
    pub const fn is_settling(&self) -> bool {
        self.settling
    }
}
