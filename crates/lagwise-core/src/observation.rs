//! What one probe saw, or how it failed.
//!
//! An observation is a fact about a moment. What it proves, and for how long, is for the history
//! and the monitor to say.

use core::fmt;

use crate::lsn::Lsn;
use crate::node::{Role, SystemId, Timeline};
use crate::time::Instant;

/// When a server's postmaster started, in the server's own microseconds. Only equality counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerStart(i64);

impl ServerStart {
    /// Wraps `pg_postmaster_start_time()`.
    #[must_use]
    pub const fn new(micros: i64) -> Self {
        Self(micros)
    }

    /// The microseconds.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }
}

/// What a node said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "built by whoever probes; a new field must be seen"
)]
pub struct Observation {
    /// When the question was sent: what a primary answers covers every commit before this.
    pub sent_at: Instant,
    /// When the answer was there: a replica's position is not newer than this.
    pub received_at: Instant,
    /// Counts the monitor's connections to this node: another number is another connection.
    pub connection: u64,
    /// The cluster whose copy the node holds.
    pub system: SystemId,
    /// When the server was started.
    pub started: ServerStart,
    /// Its role and position.
    pub standing: Standing,
}

/// A fingerprint of which transactions have completed on a primary: the same as long as none has
/// committed or rolled back that had written anything.
///
/// PostgreSQL's `pg_current_snapshot()` is one: its `xmax` never falls, and no transaction can join
/// those in progress below it, so that a snapshot which is the same again was the same all along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed(u64, u64);

impl Completed {
    /// A fingerprint of two numbers, of which only equality counts.
    #[must_use]
    pub const fn new(one: u64, other: u64) -> Self {
        Self(one, other)
    }
}

/// A node's role and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a node is in recovery or it is not"
)]
pub enum Standing {
    /// The node is not in recovery.
    Primary {
        /// The insert position, without page headers.
        insert: Lsn,
        /// The timeline it writes.
        timeline: Timeline,
        /// False where it refuses writes all the same (`default_transaction_read_only`).
        writable: bool,
        /// Which transactions have completed, if that is known, as of a moment not after `insert`.
        completed: Option<Completed>,
    },
    /// The node is in recovery.
    Replica {
        /// The position it has replayed; none before it has replayed anything.
        replay: Option<Lsn>,
        /// Whether replay has been paused, or is about to be.
        paused: bool,
        /// The timeline of the log that it receives, where that can be told.
        follows: Option<Timeline>,
    },
}

impl Standing {
    /// The role alone.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Primary { .. } => Role::Primary,
            Self::Replica { .. } => Role::Replica,
        }
    }
}

/// Why a probe brought no observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// No connection could be opened.
    Connect,
    /// The connection was lost: what was known of the node is void.
    Lost,
    /// The server answered with an error, or with something that is no answer.
    Refused,
    /// No answer came before the probe's deadline.
    Timeout,
}

impl ProbeFailure {
    /// The failure's name in output and in metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Lost => "lost",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
