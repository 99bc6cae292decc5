//! What happened to the cluster, in the words of somebody who watches it.
//!
//! The router's events are the one source, each told once. A drain is told as what it is here: this
//! process's own view, of which no service knows.

use std::sync::Arc;

use lagwise::{Event, Happened};

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
