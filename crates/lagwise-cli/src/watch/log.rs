//! What happened to the cluster, in the words of somebody who watches it.
//!
//! The router's events are the one source, each told once. A drain is told as what it is here: this
//! process's own view, of which no service knows.

use std::sync::Arc;

use lagwise::{Cause, Event, Happened};

use super::clock::WallClock;
use super::row::Tone;

/// One thing that happened.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// By the wall clock.
    pub(crate) time: String,
    pub(crate) node: Option<Arc<str>>,
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Entry {
    pub(crate) fn new(happened: &Happened, clock: &WallClock) -> Self {
        let (text, tone) = describe(&happened.event);
        Self {
            time: clock.time_of_day(happened.at),
            node: happened.node.clone(),
            text,
            tone,
        }
    }
}

fn describe(event: &Event) -> (String, Tone) {
    match event {
        Event::Drained { .. } => ("is drained, here only".to_owned(), Tone::Caution),
        // In order: whether it is a rival is told apart.
        Event::Ejected {
            cause: Cause::Promoted,
            ..
        } => ("leaves the rotation: promoted".to_owned(), Tone::Plain),
        Event::Ejected { cause, .. } => (format!("leaves the rotation: {cause}"), Tone::Bad),
        Event::HistoryBegun { timeline, .. } => {
            let text = format!("a new history begins, on timeline {}", timeline.as_u32());
            (text, Tone::Caution)
        }
        Event::NodeAdded { .. } => ("is added".to_owned(), Tone::Plain),
        Event::NodeRemoved { .. } => ("is removed".to_owned(), Tone::Plain),
        Event::PolicyChanged => ("the settings are others".to_owned(), Tone::Plain),
        Event::PrimaryFound { timeline, .. } => {
            let text = format!("accepts writes, on timeline {}", timeline.as_u32());
            (text, Tone::Good)
        }
        Event::PrimaryLost { .. } => (
            "cannot be asked: writes have no primary".to_owned(),
            Tone::Bad,
        ),
        Event::ProbeFailed { failure, .. } => {
            (format!("does not answer: {failure}"), Tone::Caution)
        }
        Event::Readmitted { after, .. } => {
            (format!("enters the rotation: was {after}"), Tone::Good)
        }
        Event::Rival { .. } => (
            "accepts writes as well, and gets none".to_owned(),
            Tone::Bad,
        ),
        Event::RoleChanged {
            from: Some(from),
            to,
            ..
        } => (format!("is a {to} now, was a {from}"), Tone::Caution),
        Event::RoleChanged { to, .. } => (format!("is a {to}"), Tone::Plain),
        Event::Undrained { .. } => ("may return, here".to_owned(), Tone::Plain),
        other => (other.to_string(), Tone::Plain),
    }
}

#[cfg(test)]
mod tests {
    use lagwise_core::NodeId;

    use super::*;

    #[test]
    fn a_promotion_is_no_alarm() {
        let node = NodeId::new(1);
        for (cause, expected) in [
            (Cause::Promoted, Tone::Plain),
            (Cause::Lagging, Tone::Bad),
            (Cause::Unreachable, Tone::Bad),
        ] {
            let (text, tone) = describe(&Event::Ejected { node, cause });
            assert_eq!(text, format!("leaves the rotation: {cause}"));
            assert_eq!(tone, expected, "{text}");
        }
    }
}
