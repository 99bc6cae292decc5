//! Where a statement went, why, and how stale its answer can be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lagwise_core::{Reason, Role};

/// The outcome of routing, carried by every connection and transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// The node's name.
    pub node: Arc<str>,
    /// The node's role when it was chosen.
    pub role: Role,
    /// Why it was chosen.
    pub reason: Reason,
    /// The most that an answer can be behind the primary, when the connection was handed out; zero on
    /// the primary, and [`Duration::MAX`] where nothing is proved, behind a balancer: see
    /// [`NodeConfig::balanced`](crate::NodeConfig::balanced).
    pub staleness: Duration,
    /// How long the read waited for a replica to have what it needs.
    pub waited: Duration,
    /// Whether another node had failed first.
    pub retried: bool,
    /// In dry mode, where a read would have gone: see
    /// [`RouterBuilder::dry_run`](crate::RouterBuilder::dry_run).
    pub dry: Option<DryRoute>,
}

/// Where a read would have gone, had its router not been in dry mode.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DryRoute {
    /// To this replica.
    #[non_exhaustive]
    Replica {
        /// Its name.
        node: Arc<str>,
        /// Why it was chosen.
        reason: Reason,
        /// The most that its answer could have been behind the primary, as [`Route::staleness`].
        staleness: Duration,
    },
    /// To the primary all the same.
    #[non_exhaustive]
    Primary {
        /// Its name, if it was known.
        node: Option<Arc<str>>,
        /// Why it was chosen.
        reason: Reason,
    },
    /// It would have waited for replay, or for a write to end. Nothing waits in dry mode, so how that
    /// would have ended is not known.
    #[non_exhaustive]
    Wait {
        /// The replica in rotation that stood nearest, if there was one.
        node: Option<Arc<str>>,
    },
    /// Nowhere: it would have been refused.
    Refused,
}

impl DryRoute {
    /// The node's name.
    #[must_use]
    pub const fn node(&self) -> Option<&Arc<str>> {
        match self {
            Self::Replica { node, .. } => Some(node),
            Self::Primary { node, .. } | Self::Wait { node } => node.as_ref(),
            Self::Refused => None,
        }
    }

    /// The node's role.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Replica { .. } | Self::Wait { node: Some(_) } => Some(Role::Replica),
            Self::Primary { .. } => Some(Role::Primary),
            Self::Wait { node: None } | Self::Refused => None,
        }
    }

    /// Why, in output and in metric labels: the name of a [`Reason`], or `wait`, or `refused`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Replica { reason, .. } | Self::Primary { reason, .. } => reason.as_str(),
            Self::Wait { .. } => "wait",
            Self::Refused => "refused",
        }
    }

    /// How stale the answer could have been, where that is known: zero on the primary. None of a
    /// balanced node, of a read that would have waited, and of one that would have been refused.
    #[must_use]
    pub fn staleness(&self) -> Option<Duration> {
        match self {
            Self::Replica { staleness, .. } => Some(*staleness).filter(|s| *s != Duration::MAX),
            Self::Primary { .. } => Some(Duration::ZERO),
            Self::Wait { .. } | Self::Refused => None,
        }
    }
}

impl fmt::Display for DryRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node().map_or("no node", |node| node);
        write!(f, "{node}, {}", self.reason())?;
        match (self, self.staleness()) {
            (Self::Replica { .. }, Some(staleness)) => write!(f, ", at most {staleness:?} behind"),
            (Self::Replica { .. }, None) => f.write_str(", nothing proved"),
            _ => Ok(()),
        }
    }
}

impl Route {
    /// The route to a node that nothing was waited for.
    pub(crate) fn at_once(node: &Arc<str>, role: Role, reason: Reason) -> Self {
        Self {
            node: Arc::clone(node),
            role,
            reason,
            staleness: Duration::ZERO,
            waited: Duration::ZERO,
            retried: false,
            dry: None,
        }
    }

    /// The same, where an answer can be that stale.
    pub(crate) const fn with_staleness(mut self, staleness: Duration) -> Self {
        self.staleness = staleness;
        self
    }

    /// Whether the node is proved to have what the read needed; not of a balanced node, which is
    /// assumed to.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.staleness != Duration::MAX
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}", self.node, self.role, self.reason)?;
        if !self.is_proved() {
            f.write_str(", nothing proved")?;
        } else if self.role == Role::Replica {
            write!(f, ", at most {:?} behind", self.staleness)?;
        }
        if let Some(dry) = &self.dry {
            write!(f, "; without dry mode: {dry}")?;
        }
        f.write_str(")")
    }
}
