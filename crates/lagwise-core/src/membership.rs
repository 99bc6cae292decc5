//! Whether a replica serves reads, and why not.

use core::fmt;

use crate::time::Instant;

/// A replica's place in the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a consumer must handle every membership"
)]
pub enum Membership {
    /// Takes no reads. Leaves for `Probation` with the first good observation, or for `InRotation`
    /// where one is enough.
    Ejected {
        /// Why.
        cause: Cause,
        /// Since when.
        since: Instant,
    },
    /// Takes no reads yet, and has shown `good` good observations in a row. Leaves for `InRotation`
    /// with enough of them, for `Ejected` with one bad one.
    Probation {
        /// Good observations in a row.
        good: u32,
        /// Why it had been ejected.
        cause: Cause,
        /// Since when.
        since: Instant,
    },
    /// Takes reads, from `since` on for the length of the slow start a growing share of them.
    /// Leaves for `Ejected`.
    InRotation {
        /// Since when.
        since: Instant,
        /// Observations beyond the lag limit in a row.
        late: u32,
    },
}

impl Membership {
    /// A node of which nothing was seen yet.
    #[must_use]
    pub const fn unproved(now: Instant) -> Self {
        Self::Ejected {
            cause: Cause::Unproved,
            since: now,
        }
    }

    /// Whether it takes reads.
    #[must_use]
    pub const fn is_in_rotation(&self) -> bool {
        matches!(self, Self::InRotation { .. })
    }

    /// Why it takes none.
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        match *self {
            Self::Ejected { cause, .. } | Self::Probation { cause, .. } => Some(cause),
            Self::InRotation { .. } => None,
        }
    }

    /// Since when.
    #[must_use]
    pub const fn since(&self) -> Instant {
        match *self {
            Self::Ejected { since, .. }
            | Self::Probation { since, .. }
            | Self::InRotation { since, .. } => since,
        }
    }

    /// The membership's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ejected { .. } => "ejected",
            Self::Probation { .. } => "probation",
            Self::InRotation { .. } => "in_rotation",
        }
    }
}

/// Why a node is out of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Its history is not the primary's: it has replayed what the primary never wrote.
    Diverged,
    /// Taken out by hand. Only a hand puts it back.
    Drained,
    /// It holds another cluster's data.
    Foreign,
    /// Its staleness bound is beyond the limit.
    Lagging,
    /// Its replay is paused.
    Paused,
    /// It is no replica: it accepts writes, or did when last seen.
    Promoted,
    /// Taken away by hand: it is no node of the router any longer.
    Removed,
    /// Probes fail.
    Unreachable,
    /// The last observation is too long ago.
    Unseen,
    /// It was never proved to follow the primary: first seen, seen anew after a restart or a lost
    /// connection, or the primary's history itself has just begun.
    Unproved,
}

impl Cause {
    /// The cause's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Diverged => "diverged",
            Self::Drained => "drained",
            Self::Foreign => "foreign",
            Self::Lagging => "lagging",
            Self::Paused => "paused",
            Self::Promoted => "promoted",
            Self::Removed => "removed",
            Self::Unproved => "unproved",
            Self::Unreachable => "unreachable",
            Self::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
