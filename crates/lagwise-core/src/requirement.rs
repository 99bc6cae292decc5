//! What a read asks for, and what it accepts when no replica has it.

use core::time::Duration;

use crate::floor::Floor;

/// What the state that a read sees must contain.
///
/// The parts add up: a session's read within two seconds is below neither its floor nor its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    floor: Floor,
    within: Option<Duration>,
    primary: bool,
}

impl Requirement {
    /// Any replica in rotation will do.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// A state that is proved to lack no commit acknowledged longer than `bound` ago.
    #[must_use]
    pub fn within(bound: Duration) -> Self {
        Self {
            within: Some(bound),
            ..Self::default()
        }
    }

    /// A state that has everything the floor names.
    #[must_use]
    #[inline]
    pub fn at_least(floor: Floor) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// The primary, and nothing else.
    #[must_use]
    pub fn primary() -> Self {
        Self {
            primary: true,
            ..Self::default()
        }
    }

    /// Both this and `other`.
    #[must_use]
    #[inline]
    pub fn and(self, other: Self) -> Self {
        Self {
            floor: self.floor.merge(other.floor),
            within: match (self.within, other.within) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            primary: self.primary || other.primary,
        }
    }

    /// What the read must be able to see.
    #[must_use]
    pub const fn floor(&self) -> Floor {
        self.floor
    }

    /// The same, where it is.
    pub(crate) const fn floor_ref(&self) -> &Floor {
        &self.floor
    }

    /// How stale the read may be, where it said so.
    #[must_use]
    pub const fn bound(&self) -> Option<Duration> {
        self.within
    }

    /// Whether only the primary will do.
    #[must_use]
    pub const fn is_primary(&self) -> bool {
        self.primary
    }

    /// Whether any replica in rotation will do.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

/// What a read does when no replica meets its requirement, after it has waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fallback {
    /// The primary, within its budget for such reads; refused beyond it, but for what
    /// [`Policy::panic_threshold`](crate::Policy::panic_threshold) says.
    #[default]
    Primary,
    /// The primary, within its budget and without a queue for it; beyond that, or without a primary, as
    /// [`Fallback::Freshest`].
    PrimaryThenFreshest,
    /// The freshest replica that follows the primary, also when its lag has taken it out of
    /// rotation; the route says so. A floor or a bound that the read stated still holds: a replica
    /// that is not proved to meet it is no fallback, and the read is refused.
    Freshest,
    /// Nothing: the read is refused at once.
    Refuse,
}
