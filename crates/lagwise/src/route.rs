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
}

impl Route {
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
        f.write_str(")")
    }
}
