//! Counts what the workload does and what it sees.
//!
//! All sessions count into one tally; whoever shows or reports takes its totals. A share is rounded
//! down, so that "100 %" and "0 errors" mean exactly that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stage::{NODES, PRIMARY};

/// The counters. They are independent of each other, so all accesses are relaxed.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    reads: [AtomicU64; NODES.len()],
    writes: AtomicU64,
    stale_reads: AtomicU64,
    errors: AtomicU64,
    first_error: OnceLock<String>,
}

impl Tally {
    /// A read was answered by the node of this index.
    pub(crate) fn note_read(&self, node: usize) {
        if let Some(reads) = self.reads.get(node) {
            reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// A read was answered without what its session had written.
    pub(crate) fn note_stale_read(&self) {
        self.stale_reads.fetch_add(1, Ordering::Relaxed);
    }

    /// A read or a write failed.
    pub(crate) fn note_error(&self, what: impl Into<String>) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.first_error.get_or_init(|| what.into());
    }

    /// The first error in words, for whoever wants to find its cause.
    pub(crate) fn first_error(&self) -> Option<&str> {
        self.first_error.get().map(String::as_str)
    }

    pub(crate) fn totals(&self) -> Totals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            reads_on: self.reads.each_ref().map(of),
            writes: of(&self.writes),
            stale_reads: of(&self.stale_reads),
            errors: of(&self.errors),
        }
    }
}

/// What had been counted at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Reads that were answered, by the index of the node.
    pub(crate) reads_on: [u64; NODES.len()],
    pub(crate) writes: u64,
    pub(crate) stale_reads: u64,
    pub(crate) errors: u64,
}

impl Totals {
    /// Reads that were answered.
    pub(crate) fn reads(&self) -> u64 {
        self.reads_on.iter().sum()
    }

    pub(crate) fn reads_on_replicas(&self) -> u64 {
        self.reads().saturating_sub(self.reads_on[PRIMARY])
    }

    /// How many of a thousand reads were kept off the primary.
    pub(crate) fn off_primary(&self) -> PerMille {
        PerMille::of(self.reads_on_replicas(), self.reads())
    }

    /// How many of a thousand reads each node has answered since an earlier moment.
    pub(crate) fn shares_since(&self, earlier: &Self) -> [PerMille; NODES.len()] {
        let mut reads = self.reads_on;
        for (now, before) in reads.iter_mut().zip(earlier.reads_on) {
            *now = now.saturating_sub(before);
        }
        let all = reads.iter().sum();
        reads.map(|part| PerMille::of(part, all))
    }
}

/// A share in thousandths, rounded down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PerMille(u64);

impl PerMille {
    /// The share of `part` in `whole`; nothing of nothing is nothing.
    pub(crate) fn of(part: u64, whole: u64) -> Self {
        Self(part.saturating_mul(1000).checked_div(whole).unwrap_or(0))
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for PerMille {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}.{} %", self.0 / 10, self.0 % 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_hold_what_was_noted() {
        let tally = Tally::default();
        tally.note_read(0);
        tally.note_read(2);
        tally.note_read(2);
        tally.note_write();
        tally.note_stale_read();
        tally.note_error("first");
        tally.note_error("second");
        let totals = tally.totals();
        assert_eq!(totals.reads_on, [1, 0, 2]);
        assert_eq!((totals.reads(), totals.reads_on_replicas()), (3, 2));
        assert_eq!(
            (totals.writes, totals.stale_reads, totals.errors),
            (1, 1, 2)
        );
        assert_eq!(tally.first_error(), Some("first"));
    }

    #[test]
    fn a_share_is_rounded_down() {
        assert_eq!(PerMille::of(999_999, 1_000_000).to_string(), "99.9 %");
        assert_eq!(PerMille::of(5, 5).to_string(), "100.0 %");
        assert_eq!(PerMille::of(0, 0).to_string(), "0.0 %");
    }

    #[test]
    fn shares_count_only_what_is_new() {
        let earlier = Totals {
            reads_on: [100, 100, 100],
            ..Totals::default()
        };
        let later = Totals {
            reads_on: [100, 110, 130],
            ..Totals::default()
        };
        let shares = later.shares_since(&earlier).map(PerMille::get);
        assert_eq!(shares, [0, 250, 750]);
    }
}
