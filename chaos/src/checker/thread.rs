//! What one session did with one key: its own writes, its reads, and their order.
//!
//! Floors rise with every operation that has ended, and no later one may be below them. What a
//! failover lost makes no floor for operations after it, and a full one for those before.

use super::{Guarantee, Verdict};
use crate::history::{Ending, Entry, Op};

/// The least that the session may see from now on.
#[derive(Default)]
struct Floors<'a> {
    wrote: u64,
    read_on_replica: u64,
    read_on_primary: u64,
    /// What a failover lost, to be judged by when it is missed.
    lost: Vec<&'a Entry>,
}

impl<'a> Floors<'a> {
    fn raise(&mut self, entry: &'a Entry, ending: &Ending) {
        if ending.loss(entry).is_some() {
            self.lost.push(entry);
            return;
        }
        let floor = match entry.op {
            Op::Write => &mut self.wrote,
            Op::Read if ending.on_primary(entry) => &mut self.read_on_primary,
            Op::Read => &mut self.read_on_replica,
        };
        *floor = entry.version.max(*floor);
    }

    /// The newest lost operation of a kind, before (or after) its failover as seen by `now`.
    fn lost(&self, now: &Entry, ending: &Ending, wanted: impl Fn(&Entry, bool) -> bool) -> u64 {
        let excused = |entry: &Entry| {
            let failover = ending.loss(entry);
            failover.is_some_and(|failover| now.ended >= failover.killed)
        };
        let wanted = |entry: &&&Entry| wanted(entry, excused(entry));
        let versions = self.lost.iter().filter(wanted).map(|entry| entry.version);
        versions.max().unwrap_or(0)
    }
}

/// Judges answered operations of one session on one key.
pub(super) fn judge(thread: &[&Entry], ending: &Ending, verdict: &mut Verdict) {
    let mut by_end = thread.to_vec();
    by_end.sort_by_key(|entry| entry.ended);
    let mut by_start = thread.to_vec();
    by_start.sort_by_key(|entry| entry.began);
    let mut floors = Floors::default();
    let mut ended = by_end.into_iter().peekable();
    for entry in by_start {
        while let Some(before) = ended.next_if(|before| before.ended < entry.began) {
            floors.raise(before, ending);
        }
        match entry.op {
            Op::Read => {
                judge_own_writes(entry, &floors, ending, verdict);
                judge_reads(entry, &floors, ending, verdict);
            }
            Op::Write => judge_write(entry, &floors, ending, verdict),
        }
    }
}

fn judge_own_writes(read: &Entry, floors: &Floors<'_>, ending: &Ending, verdict: &mut Verdict) {
    let is_write = |entry: &Entry| entry.op == Op::Write;
    let still = floors.lost(read, ending, |entry, excused| is_write(entry) && !excused);
    let gone = floors.lost(read, ending, |entry, excused| is_write(entry) && excused);
    let wrote = floors.wrote.max(still);
    if read.version < wrote {
        let what = format!("it wrote version {wrote} and then read {}", read.version);
        verdict.add(Guarantee::ReadYourWrites, read, what);
    } else if read.version < gone {
        verdict.missed_lost += 1;
    }
}

fn judge_reads(read: &Entry, floors: &Floors<'_>, ending: &Ending, verdict: &mut Verdict) {
    let lost = |on_primary: bool| {
        floors.lost(read, ending, |entry, excused| {
            entry.op == Op::Read && !excused && ending.on_primary(entry) == on_primary
        })
    };
    let on_replica = floors.read_on_replica.max(lost(false));
    let on_primary = floors.read_on_primary.max(lost(true));
    let here = ending.on_primary(read);
    let floor = if here {
        on_primary
    } else {
        on_primary.max(on_replica)
    };
    if read.version < floor {
        let what = format!("it read version {floor} and then {}", read.version);
        verdict.add(Guarantee::MonotonicReads, read, what);
    } else if here && read.version < on_replica {
        verdict.back_to_primary += 1;
    }
}

fn judge_write(write: &Entry, floors: &Floors<'_>, ending: &Ending, verdict: &mut Verdict) {
    let still = floors.lost(write, ending, |_, excused| !excused);
    let reads = floors.read_on_primary.max(floors.read_on_replica);
    let floor = floors.wrote.max(reads).max(still);
    if write.version <= floor {
        let what = format!("it knew version {floor} and then wrote {}", write.version);
        verdict.add(Guarantee::WritesFollowReads, write, what);
    }
}
