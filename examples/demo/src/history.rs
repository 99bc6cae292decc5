//! What happened to the cluster during the run, in words and in numbers.
//!
//! The router's events are the one source. Without a router in use they are shown as what lagwise
//! would have noticed, and nobody acted on; they are not counted as ejections then.

use std::collections::BTreeSet;
use std::time::Duration;

use lagwise::{Event, Happened, NodeId};

use crate::arguments::Mode;
use crate::clock::Stopwatch;

/// All that happened so far.
#[derive(Debug)]
pub(crate) struct History {
    mode: Mode,
    entries: Vec<Entry>,
    /// Who is out of rotation, as far as the events say.
    out: BTreeSet<NodeId>,
    ejections: u64,
    readmissions: u64,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// When, in the time of the run.
    pub(crate) at: Duration,
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

/// Whether it is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Neither,
}

impl History {
    pub(crate) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            entries: Vec::new(),
            out: BTreeSet::new(),
            ejections: 0,
            readmissions: 0,
        }
    }

    /// Adds an event of the router; none if it belongs to the time before the run.
    pub(crate) fn note(&mut self, time: Stopwatch, happened: &Happened) -> Option<&Entry> {
        match happened.event {
            Event::Ejected { node, .. } => {
                self.out.insert(node);
                self.ejections += 1;
            }
            // The first admission, which made the cluster ready, may be announced a moment after
            // the router has said that it is ready. It is no return.
            Event::Readmitted { node, .. } if !self.out.remove(&node) => return None,
            Event::Readmitted { .. } => self.readmissions += 1,
            _ => {}
        }
        let at = time.at(Duration::from_nanos(happened.at.as_nanos()));
        let node = happened.node.as_deref().unwrap_or("the cluster");
        let (text, tone) = describe(self.mode, node, &happened.event);
        self.entries.push(Entry { at, text, tone });
        self.entries.last()
    }

    /// The oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How often a replica left the rotation; without a router in use there is none.
    pub(crate) const fn ejections(&self) -> u64 {
        match self.mode {
            Mode::Naive => 0,
            Mode::Routed => self.ejections,
        }
    }

    /// How often one returned to it.
    pub(crate) const fn readmissions(&self) -> u64 {
        match self.mode {
            Mode::Naive => 0,
            Mode::Routed => self.readmissions,
        }
    }
}

fn describe(mode: Mode, node: &str, event: &Event) -> (String, Tone) {
    match (event, mode) {
        (Event::Ejected { cause, .. }, Mode::Routed) => {
            (format!("{node} leaves the rotation: {cause}"), Tone::Bad)
        }
        (Event::Ejected { cause, .. }, Mode::Naive) => {
            (format!("{node} is {cause}, and is still read"), Tone::Bad)
        }
        (Event::Readmitted { after, .. }, Mode::Routed) => (
            format!("{node} returns to the rotation: it was {after}"),
            Tone::Good,
        ),
        (Event::Readmitted { after, .. }, Mode::Naive) => {
            (format!("{node} is well again: it was {after}"), Tone::Good)
        }
        (Event::ProbeFailed { failure, .. }, _) => {
            (format!("{node} does not answer: {failure}"), Tone::Neither)
        }
        (other, _) => (format!("{node}: {other}"), Tone::Neither),
    }
}

#[cfg(test)]
mod tests {
    use lagwise::{Cause, NodeId};

    use super::*;

    #[test]
    fn an_ejection_is_told_as_what_it_leads_to() {
        let event = Event::Ejected {
            node: NodeId::new(1),
            cause: Cause::Lagging,
        };
        let (routed, tone) = describe(Mode::Routed, "replica-1", &event);
        assert_eq!(routed, "replica-1 leaves the rotation: lagging");
        assert_eq!(tone, Tone::Bad);
        let (naive, _) = describe(Mode::Naive, "replica-1", &event);
        assert_eq!(naive, "replica-1 is lagging, and is still read");
    }
}
