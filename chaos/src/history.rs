//! What sessions did and saw, entry by entry, and what is true in the end.
//!
//! An entry holds what a client can know: what it asked for, when, and the answer. Nothing is judged
//! here.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A note was to be written.
    Write,
    /// A note was to be read.
    Read,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was an answer, and it names a version.
    Ok,
    /// It was refused, and nothing was written.
    Failed,
    /// Nobody can say whether it was written.
    Unknown,
}

/// One operation of a session.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose operation it was.
    pub session: usize,
    /// The how manieth of the session's.
    pub order: usize,
    /// What was asked for.
    pub op: Op,
    /// The note.
    pub key: u32,
    /// The version that was written or read; zero where there was no note.
    pub version: u64,
    /// The body that was written or read: each is written once only.
    pub nonce: String,
    /// When the request was sent.
    pub began: Duration,
    /// When the answer was there, or given up.
    pub ended: Duration,
    /// What became of it.
    pub outcome: Outcome,
    /// The node that served it, as the service says.
    pub node: String,
    /// The instance that was asked.
    pub instance: usize,
    /// The most that the answer may be behind, as the service says.
    pub staleness: Option<Duration>,
    /// Whether the service said that a part of what the session saw may be lost.
    pub lost: bool,
}

impl Entry {
    /// Whether there was an answer with a version.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended.saturating_sub(self.began)
    }

    /// The note, its version and body: what identifies one write.
    #[must_use]
    pub fn mark(&self) -> Mark {
        (self.key, self.version, self.nonce.clone())
    }
}

/// One line for people, below 80 columns.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            Op::Write => "write",
            Op::Read => "read ",
        };
        let (began, took) = (self.began.as_secs_f64(), self.took().as_secs_f64());
        write!(f, "{began:9.3}s +{took:.3}s s{} ", self.session)?;
        write!(f, "{op} k{} v{} {:?}", self.key, self.version, self.outcome)?;
        let node = if self.node.is_empty() {
            "-"
        } else {
            &self.node
        };
        write!(f, " {} on {node} by i{}", self.nonce, self.instance)?;
        if self.lost {
            write!(f, " lost")?;
        }
        Ok(())
    }
}

/// A note, a version of it and its body.
pub type Mark = (u32, u64, String);

/// A change of the primary.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// From when on acknowledged writes may be lost: the old primary was about to be killed, or left.
    pub killed: Duration,
    /// When the new one took writes.
    pub promoted: Duration,
    /// The new primary, by the service's name of it.
    pub primary: String,
    /// Which acknowledged writes may be lost.
    pub excuse: Excuse,
    /// What only the old primary has, as far as it could be asked.
    pub strays: BTreeSet<Mark>,
}

/// Which acknowledged writes a change of the primary may lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Excuse {
    /// None: the old primary was shut down in peace.
    None,
    /// Those begun before the promotion.
    #[default]
    Promotion,
    /// Those begun before the instance that was asked had to know of the new primary.
    Unaware(Vec<Duration>),
}

impl Failover {
    /// Until when an operation that began at an instance was one of the old primary's time.
    #[must_use]
    pub fn horizon(&self, instance: usize) -> Duration {
        match &self.excuse {
            Excuse::None | Excuse::Promotion => self.promoted,
            Excuse::Unaware(until) => until.get(instance).copied().unwrap_or(self.promoted),
        }
    }

    /// Whether it began in the old primary's time.
    #[must_use]
    pub fn is_after(&self, entry: &Entry) -> bool {
        entry.began < self.horizon(entry.instance)
    }
}

/// One line for people, as of an entry.
impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (killed, promoted) = (self.killed.as_secs_f64(), self.promoted.as_secs_f64());
        write!(f, "{killed:9.3}s the old primary's last moment, and ")?;
        write!(f, "{promoted:.3}s the first of {}", self.primary)
    }
}

/// What is true in the end, from the primary itself.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Every write that the last primary's history holds.
    pub trail: BTreeSet<Mark>,
    /// The changes of the primary, in order.
    pub failovers: Vec<Failover>,
}

/// Entries of all sessions, in the order of their ends.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<Entry>>);

impl History {
    /// Adds an operation that has ended.
    pub fn enter(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
    }

    /// How many operations were entered so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The instances through which a write was acknowledged since a moment.
    #[must_use]
    pub fn wrote_since(&self, moment: Duration) -> BTreeSet<usize> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In the order of their ends.
        let since = entries
            .iter()
            .rev()
            .take_while(|entry| entry.ended >= moment);
        let writes = since.filter(|entry| entry.answered() && entry.op == Op::Write);
        writes.map(|entry| entry.instance).collect()
    }

    /// All that was entered so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }
}
