//! What a node is called, and what identifies its data.

use alloc::sync::Arc;
use core::fmt;

/// A node of one router, by the order in which it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u16);

impl NodeId {
    /// The node at `index` among the router's nodes.
    #[must_use]
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// The node's place among the router's nodes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a node is now, as last observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Accepts writes.
    Primary,
    /// Is in recovery and serves reads. PostgreSQL says *standby*.
    Replica,
}

impl Role {
    /// The role's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The identifier that `initdb` gave a cluster, the same on every physical copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemId(u64);

impl SystemId {
    /// Wraps `system_identifier` of `pg_control_system()`.
    #[must_use]
    pub const fn new(identifier: u64) -> Self {
        Self(identifier)
    }

    /// The identifier as PostgreSQL prints it.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// A branch of a cluster's history. Each promotion begins a new, higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(u32);

impl Timeline {
    /// Wraps a timeline number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The timeline's number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// One unbroken run of a node, as seen by its monitor.
///
/// While it lasts, replay only advances. It ends when the monitor's connection is lost, the server
/// restarts, or replay goes backwards, and then nothing known of the node holds any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(u32);

impl Incarnation {
    /// The run that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// How much of the reads a node is given, relative to the others. 100 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// A node with this weight gets no reads while another may serve them.
    pub const ZERO: Self = Self(0);

    /// A weight; `200` gets twice the reads of `100`.
    #[must_use]
    pub const fn new(weight: u16) -> Self {
        Self(weight)
    }

    /// The number.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

/// What the configuration says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeSpec {
    /// The name in events, metrics and output.
    pub name: Arc<str>,
    /// The role it was configured with; what it *is* comes from observation alone.
    pub configured: Role,
    /// Its share of the reads.
    pub weight: Weight,
    /// Where it stands. Reads prefer the nodes of the policy's zone.
    pub zone: Option<Arc<str>>,
    /// Its address leads to one of several servers, another one with each connection, so that what
    /// one connection shows is proved of no other.
    pub balanced: bool,
}

impl NodeSpec {
    /// A node of the given name and configured role, with the default weight and no zone.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, configured: Role) -> Self {
        Self {
            name: name.into(),
            configured,
            weight: Weight::default(),
            zone: None,
            balanced: false,
        }
    }
}
