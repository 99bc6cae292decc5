//! Whether a history is what sessions are promised.
//!
//! A note's version counts its writes under the row's lock, so the versions of a key are ordered and a
//! history is judged in one pass over each session's operations on each key, without a search. Only
//! what had ended before an operation began binds it.
//!
//! A failover may lose acknowledged writes. The cluster lost them, not the service: a miss of such a
//! write is counted and is no breach, but only if the last primary's own history, the trail, lacks
//! the write. Where the old primary goes on, the same holds until an instance has to know of the new
//! one, and not a moment longer; and a switchover loses nothing. A replica may show a commit an instant
//! before its primary does, so a step back from a replica to the primary is counted as well.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Ending, Entry, Excuse, Failover, Op, Outcome};

mod forks;
mod thread;

#[cfg(test)]
mod tests;

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// A session reads what it wrote.
    ReadYourWrites,
    /// A session's reads do not go back.
    MonotonicReads,
    /// A session's write comes after all that the session has read and written.
    WritesFollowReads,
    /// A version has one body, and who knows of a new primary writes to no other.
    Fork,
    /// What was acknowledged is there in the end.
    Lost,
    /// Whoever lost something is told.
    Unreported,
    /// Every operation ends.
    Hung,
    /// No read is older than the bound.
    Stale,
    /// Replicas serve their share while nothing is wrong.
    Offload,
}

impl Guarantee {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::WritesFollowReads,
        Self::Fork,
        Self::Lost,
        Self::Unreported,
        Self::Hung,
        Self::Stale,
        Self::Offload,
    ];

    /// A name of three letters, the head of a column.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "ryw",
            Self::MonotonicReads => "mr",
            Self::WritesFollowReads => "wfr",
            Self::Fork => "frk",
            Self::Lost => "los",
            Self::Unreported => "sil",
            Self::Hung => "hng",
            Self::Stale => "old",
            Self::Offload => "off",
        }
    }
}

/// A span of time in which a share of the reads has to leave the primary.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// How many reads in a hundred.
    pub percent: usize,
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub until: Duration,
}

/// What the service under test promises.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The longest that an operation may take.
    pub deadline: Duration,
    /// How old a read may be.
    pub bound: Option<Duration>,
    /// Whether it tells a session of a loss.
    pub reports_loss: bool,
    /// What has to leave the primary.
    pub floor: Option<Floor>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            bound: None,
            reports_loss: false,
            floor: None,
        }
    }
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Breach {
    /// Which one.
    pub guarantee: Guarantee,
    /// The operation at which it shows.
    pub entry: Entry,
    /// What happened, in words.
    pub what: String,
}

/// What a history amounts to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Each promise that was not kept.
    pub breaches: Vec<Breach>,
    /// How many operations there were.
    pub operations: usize,
    /// How many writes were acknowledged.
    pub writes: usize,
    /// How many reads were answered.
    pub reads: usize,
    /// How many of them not by the primary.
    pub off_primary: usize,
    /// How many operations were refused.
    pub failed: usize,
    /// How many writes may or may not have been made.
    pub unknown: usize,
    /// How many acknowledged writes a failover lost.
    pub lost_by_cluster: usize,
    /// How many reads missed such a write of their own session.
    pub missed_lost: usize,
    /// How many reads went back from a replica to the primary.
    pub back_to_primary: usize,
    /// The longest operation.
    pub longest: Duration,
}

impl Verdict {
    /// Whether a promise of this kind was broken.
    #[must_use]
    pub fn broke(&self, guarantee: Guarantee) -> bool {
        let same = |breach: &Breach| breach.guarantee == guarantee;
        self.breaches.iter().any(same)
    }

    fn add(&mut self, guarantee: Guarantee, entry: &Entry, what: String) {
        let entry = entry.clone();
        self.breaches.push(Breach {
            guarantee,
            entry,
            what,
        });
    }
}

/// Judges a history.
#[must_use]
pub fn judge(entries: &[Entry], ending: &Ending, terms: &Terms) -> Verdict {
    let mut verdict = Verdict::default();
    for entry in entries {
        count(entry, ending, terms, &mut verdict);
    }
    forks::judge(entries, ending, &mut verdict);
    let mut threads: BTreeMap<(usize, u32), Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.answered()) {
        let thread = threads.entry((entry.session, entry.key)).or_default();
        thread.push(entry);
    }
    for thread in threads.values() {
        thread::judge(thread, ending, &mut verdict);
    }
    if terms.reports_loss {
        judge_reports(entries, ending, &mut verdict);
    }
    if let Some(bound) = terms.bound {
        judge_age(entries, ending, bound, &mut verdict);
    }
    if let Some(floor) = terms.floor {
        judge_floor(entries, ending, floor, &mut verdict);
    }
    verdict
}

/// The share of the answered reads in a span that the primary did not serve, in percent; none if
/// there were no reads.
#[must_use]
pub fn share(entries: &[Entry], ending: &Ending, span: (Duration, Duration)) -> Option<usize> {
    let within = |entry: &&Entry| entry.began >= span.0 && entry.began < span.1;
    let read = |entry: &&Entry| entry.answered() && entry.op == Op::Read;
    let reads: Vec<&Entry> = entries.iter().filter(within).filter(read).collect();
    let off = reads.iter().filter(|read| !ending.on_primary(read)).count();
    (off * 100).checked_div(reads.len())
}

impl Ending {
    /// Whether the node that served an entry was, or was becoming, the primary at the time; one that
    /// the service does not name passes for it, as the less is expected of its reads then.
    #[must_use]
    pub fn on_primary(&self, entry: &Entry) -> bool {
        if entry.node.is_empty() {
            return true;
        }
        let mut name = "primary";
        for failover in &self.failovers {
            if failover.is_after(entry) && entry.node == name {
                return true;
            }
            if failover.killed > entry.ended {
                return false;
            }
            name = &failover.primary;
        }
        entry.node == name
    }

    /// Whether the last primary's history holds what the entry wrote or read.
    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        entry.version == 0 || self.trail.contains(&entry.mark())
    }

    /// The failover that may have lost what the entry wrote or read, if it is gone.
    pub(crate) fn loss(&self, entry: &Entry) -> Option<&Failover> {
        let next = self.failovers.iter().find(|next| next.is_after(entry))?;
        // What came through one change was on both replicas before the next.
        let may = next.excuse != Excuse::None && !self.holds(entry);
        may.then_some(next)
    }
}

/// What can be said of one entry alone.
fn count(entry: &Entry, ending: &Ending, terms: &Terms, verdict: &mut Verdict) {
    verdict.operations += 1;
    verdict.longest = verdict.longest.max(entry.took());
    match (entry.outcome, entry.op) {
        (Outcome::Ok, Op::Write) => {
            verdict.writes += 1;
            verdict.lost_by_cluster += usize::from(ending.loss(entry).is_some());
        }
        (Outcome::Ok, Op::Read) => {
            verdict.reads += 1;
            verdict.off_primary += usize::from(!ending.on_primary(entry));
        }
        (Outcome::Failed, _) => verdict.failed += 1,
        (Outcome::Unknown, _) => verdict.unknown += 1,
    }
    if entry.took() >= terms.deadline {
        let what = format!("no end after {:?}", terms.deadline);
        verdict.add(Guarantee::Hung, entry, what);
    }
    let told = entry.staleness.unwrap_or_default();
    if terms.bound.is_some_and(|bound| told > bound) {
        let what = format!("the service itself says that it is {told:?} old");
        verdict.add(Guarantee::Stale, entry, what);
    }
}

/// A read that misses a lost write of its session comes after, or with, a word about it.
fn judge_reports(entries: &[Entry], ending: &Ending, verdict: &mut Verdict) {
    let mut sessions: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        sessions.entry(entry.session).or_default().push(entry);
    }
    let is_write = |entry: &&Entry| entry.answered() && entry.op == Op::Write;
    for write in entries.iter().filter(is_write) {
        let Some(failover) = ending.loss(write) else {
            continue;
        };
        let session = &sessions[&write.session];
        let after = |entry: &&&Entry| {
            entry.order > write.order && entry.answered() && entry.began >= failover.promoted
        };
        // Where the history that is left has gone as far, it shows something else instead.
        let misses = |entry: &&&Entry| {
            entry.op == Op::Read
                && entry.key == write.key
                && (entry.version < write.version || ending.holds(entry))
        };
        let Some(miss) = session.iter().filter(after).find(misses) else {
            continue;
        };
        let told = |entry: &&Entry| {
            entry.lost
                && entry.ended >= failover.killed
                && (write.order..=miss.order).contains(&entry.order)
        };
        if !session.iter().any(told) {
            let what = format!("version {} is lost, and nobody said so", write.version);
            verdict.add(Guarantee::Unreported, miss, what);
        }
    }
}

/// A read shows every surviving write that was acknowledged longer ago than the bound.
fn judge_age(entries: &[Entry], ending: &Ending, bound: Duration, verdict: &mut Verdict) {
    let answered = || entries.iter().filter(|entry| entry.answered());
    let mut writes: Vec<&Entry> = answered()
        .filter(|entry| entry.op == Op::Write && ending.holds(entry))
        .collect();
    writes.sort_by_key(|write| write.ended);
    let mut reads: Vec<&Entry> = answered().filter(|entry| entry.op == Op::Read).collect();
    reads.sort_by_key(|read| read.began);
    let mut newest: BTreeMap<u32, &Entry> = BTreeMap::new();
    let mut writes = writes.into_iter().peekable();
    for read in reads {
        while let Some(write) = writes.next_if(|write| write.ended + bound < read.began) {
            let known = newest.entry(write.key).or_insert(write);
            if known.version < write.version {
                *known = write;
            }
        }
        let Some(write) = newest.get(&read.key) else {
            continue;
        };
        if read.version < write.version {
            let age = read.began.saturating_sub(write.ended);
            let what = format!("version {} was {age:.1?} old", write.version);
            verdict.add(Guarantee::Stale, read, what);
        }
    }
}

/// Enough reads left the primary while nothing was wrong.
fn judge_floor(entries: &[Entry], ending: &Ending, floor: Floor, verdict: &mut Verdict) {
    let share = share(entries, ending, (floor.from, floor.until));
    let is_read = |entry: &&Entry| entry.op == Op::Read && entry.began >= floor.from;
    let (Some(share), Some(first)) = (share, entries.iter().find(is_read)) else {
        return;
    };
    if share < floor.percent {
        let what = format!("{share} % of the reads left the primary");
        verdict.add(Guarantee::Offload, first, what);
    }
}
