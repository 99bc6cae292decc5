//! Whether a key has one history, and all that was acknowledged is in it.
//!
//! The trail is the last primary's history. What was acknowledged or read beside it was lost by a
//! failover, or there is no excuse: two primaries took writes, or an acknowledgement was false. What
//! only an old primary has, by its own testimony, was sent there; after the instance had to know of
//! the new one, no answer excuses that.

use std::collections::{BTreeMap, BTreeSet};

use super::{Guarantee, Verdict};
use crate::history::{Ending, Entry, Op};

/// Judges all sessions together.
pub(super) fn judge(entries: &[Entry], ending: &Ending, verdict: &mut Verdict) {
    let strayed = judge_strays(entries, ending, verdict);
    let rest = |entry: &Entry| entry.op == Op::Read || !strayed.contains(&*entry.nonce);
    judge_bodies(entries.iter().filter(|entry| rest(entry)), ending, verdict);
}

/// A write that reached an old primary was sent before its instance had to know better. Returns the
/// bodies of those that were not.
fn judge_strays<'a>(
    entries: &'a [Entry],
    ending: &Ending,
    verdict: &mut Verdict,
) -> BTreeSet<&'a str> {
    let mut accused = BTreeSet::new();
    for failover in &ending.failovers {
        let strays: BTreeSet<&str> = failover.strays.iter().map(|stray| &*stray.2).collect();
        let strayed = |entry: &&Entry| {
            let wrote = entry.op == Op::Write && strays.contains(&*entry.nonce);
            wrote && !failover.is_after(entry)
        };
        for entry in entries.iter().filter(strayed) {
            let late = entry.began.saturating_sub(failover.horizon(entry.instance));
            let what = format!("it reached the old primary, begun {late:.1?} too late");
            verdict.add(Guarantee::Fork, entry, what);
            accused.insert(&*entry.nonce);
        }
    }
    accused
}

fn judge_bodies<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    ending: &Ending,
    verdict: &mut Verdict,
) {
    let bodies: BTreeMap<(u32, u64), &str> = ending
        .trail
        .iter()
        .map(|(key, version, nonce)| ((*key, *version), nonce.as_str()))
        .collect();
    let mut beside: BTreeMap<(u32, u64), BTreeSet<&str>> = BTreeMap::new();
    let mut accused: BTreeSet<(u32, u64, &str)> = BTreeSet::new();
    let missing = |entry: &&Entry| entry.answered() && !ending.holds(entry);
    for entry in entries.filter(missing) {
        let at = (entry.key, entry.version);
        let others = beside.entry(at).or_default();
        others.insert(&entry.nonce);
        // Each failover may leave one lost branch behind, and no more.
        let excused = ending.loss(entry).is_some() && others.len() <= ending.failovers.len();
        if excused || !accused.insert((at.0, at.1, &entry.nonce)) {
            continue;
        }
        match (bodies.get(&at), entry.op) {
            (Some(body), _) => {
                let what = format!("version {} is {body} as well", entry.version);
                verdict.add(Guarantee::Fork, entry, what);
            }
            (None, Op::Read) => {
                let what = format!("version {} was never written so", entry.version);
                verdict.add(Guarantee::Fork, entry, what);
            }
            (None, Op::Write) => {
                let what = format!("version {} is not there in the end", entry.version);
                verdict.add(Guarantee::Lost, entry, what);
            }
        }
    }
}
