//! Everything that there is to see at one moment, as plain values.
//!
//! The live view and the lines of text are drawn from a picture and from nothing else, so they can
//! be tested without a server. How it looks is their business.

use std::collections::VecDeque;
use std::time::Duration;

use lagwise::{Membership, NodeView, Role, Snapshot};

use crate::arguments::Mode;
use crate::history::Entry;
use crate::scenario::Act;
use crate::stage::NODES;
use crate::tally::{PerMille, Totals};

/// Pictures back to which the present share of reads is counted: two seconds, at ten a second.
const RECENT: usize = 20;

/// An estimate that was made longer ago says nothing of the present.
const ESTIMATE_FRESH_FOR: Duration = Duration::from_secs(1);

/// One moment of the run.
#[derive(Clone, Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) mode: Mode,
    pub(crate) sessions: usize,
    pub(crate) elapsed: Duration,
    pub(crate) length: Duration,
    pub(crate) act: Act,
    pub(crate) nodes: Vec<NodeLine>,
    pub(crate) totals: Totals,
    /// The oldest first.
    pub(crate) entries: &'a [Entry],
}

/// One node at that moment.
#[derive(Clone, Debug)]
pub(crate) struct NodeLine {
    pub(crate) name: &'static str,
    pub(crate) role: &'static str,
    /// How far it probably is behind.
    pub(crate) estimate: Option<Duration>,
    /// How far it is behind at most.
    pub(crate) bound: Option<Duration>,
    pub(crate) standing: Standing,
    /// All reads that it has answered.
    pub(crate) reads: u64,
    /// Its share of the latest reads.
    pub(crate) share: PerMille,
}

/// A node's place in the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes the writes.
    Primary,
    /// It takes reads.
    InRotation,
    /// It must prove itself first.
    Probation(&'static str),
    /// It takes none.
    Out(&'static str),
}

/// What remains of earlier pictures, to tell what is new.
#[derive(Debug, Default)]
pub(crate) struct Album {
    recent: VecDeque<Totals>,
}

impl Album {
    /// The nodes as the monitor knows them now, with their shares of the reads since a while ago.
    pub(crate) fn nodes(&mut self, snapshot: &Snapshot, totals: &Totals) -> Vec<NodeLine> {
        let earlier = self.recent.front().copied().unwrap_or_default();
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(*totals);
        let shares = totals.shares_since(&earlier);
        let lines = NODES.iter().zip(&snapshot.nodes).zip(totals.reads_on);
        lines
            .zip(shares)
            .map(|(((name, node), reads), share)| line(name, node, reads, share))
            .collect()
    }
}

fn line(name: &'static str, node: &NodeView, reads: u64, share: PerMille) -> NodeLine {
    let now = lagwise::now();
    let primary = node.role == Some(Role::Primary);
    let fresh = node
        .observed_at
        .is_some_and(|observed| now.since(observed) < ESTIMATE_FRESH_FOR);
    NodeLine {
        name,
        role: node.role.map_or("unknown", Role::as_str),
        estimate: node.estimate.filter(|_| fresh && !primary),
        bound: node.staleness(now).filter(|_| !primary),
        standing: standing(primary, &node.membership),
        reads,
        share,
    }
}

fn standing(primary: bool, membership: &Membership) -> Standing {
    if primary {
        return Standing::Primary;
    }
    match *membership {
        Membership::InRotation { .. } => Standing::InRotation,
        Membership::Probation { cause, .. } => Standing::Probation(cause.as_str()),
        Membership::Ejected { cause, .. } => Standing::Out(cause.as_str()),
    }
}

impl Standing {
    /// In words, which depend on whether anybody acts on it.
    pub(crate) fn describe(self, mode: Mode) -> String {
        match (self, mode) {
            (Self::Primary, _) => "takes writes".to_owned(),
            (Self::InRotation, Mode::Routed) => "in rotation".to_owned(),
            // What it was out for has been said already.
            (Self::Probation(_), Mode::Routed) => "on probation".to_owned(),
            (Self::Out(cause), Mode::Routed) => format!("out: {cause}"),
            (Self::InRotation, Mode::Naive) => "read".to_owned(),
            (Self::Probation(cause) | Self::Out(cause), Mode::Naive) => {
                format!("read, {cause}")
            }
        }
    }
}

/// A duration as short as it can be said: `23 ms`, `1.9 s`; `-` for none.
pub(crate) fn span(duration: Option<Duration>) -> String {
    match duration {
        None => "-".to_owned(),
        Some(span) if span < Duration::from_secs(1) => format!("{} ms", span.as_millis()),
        Some(span) => seconds(span),
    }
}

/// A duration in seconds and tenths.
pub(crate) fn seconds(duration: Duration) -> String {
    let tenths = duration.as_millis() / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// A count with its thousands set apart: `41,234`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a count is of, in the right number.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_unit_that_suits_them() {
        assert_eq!(span(None), "-");
        assert_eq!(span(Some(Duration::from_micros(23_400))), "23 ms");
        assert_eq!(span(Some(Duration::from_millis(1990))), "1.9 s");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(41_234), "41,234");
        assert_eq!(count(1_000_000), "1,000,000");
    }

    #[test]
    fn without_a_router_nothing_is_called_a_rotation() {
        let out = Standing::Out("lagging");
        assert_eq!(out.describe(Mode::Routed), "out: lagging");
        assert_eq!(out.describe(Mode::Naive), "read, lagging");
    }
}
