//! What is known of a node, each fact in as few words as say it, with its unit.
//!
//! What is unknown is `?`, and what is no question of this node is `-`: neither is ever a number.

use std::time::Duration;

use super::look::{Look, NodeLook};
use super::pace::{CatchUp, catch_up};
use super::row::Tone;
use super::state::Scene;
use super::track::{Sample, Track};
use crate::format::{short, size};

pub(crate) const UNKNOWN: &str = "?";
const NO_QUESTION: &str = "-";

/// A node in a scene.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) node: &'a NodeLook,
    pub(crate) look: &'a Look,
    pub(crate) track: Option<&'a Track>,
    write_rate: Option<u64>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(scene: &'a Scene, node: &'a NodeLook) -> Self {
        let primary = scene.look.primary.as_deref();
        let primary = primary.and_then(|name| scene.tracks.get(name));
        Self {
            node,
            look: &scene.look,
            track: scene.tracks.get(&*node.name),
            write_rate: primary.and_then(|track| track.pace.rate()),
        }
    }

    pub(crate) fn role(&self) -> String {
        self.node.role.unwrap_or(UNKNOWN).to_owned()
    }

    /// Whether it serves, since when, and why not.
    pub(crate) fn state(&self) -> (String, Tone) {
        let (node, since) = (self.node, about(self.node.since));
        if node.is_primary {
            return match self.look.primary_lost {
                Some(lost) => (format!("lost {}", about(lost)), Tone::Bad),
                None if node.is_drained() => ("writes, drained here".to_owned(), Tone::Caution),
                None => ("takes the writes".to_owned(), Tone::Good),
            };
        }
        match (node.membership, node.cause) {
            ("in_rotation", _) => (format!("in rotation {since}"), Tone::Good),
            ("probation", Some(cause)) => (format!("probation {since}: {cause}"), Tone::Caution),
            (_, Some(_)) if node.is_drained() => (format!("drained here {since}"), Tone::Caution),
            (_, cause) => {
                let beginning = cause == Some(lagwise::Cause::Unproved.as_str());
                let tone = if beginning { Tone::Caution } else { Tone::Bad };
                let cause = cause.unwrap_or(UNKNOWN);
                (format!("out: {cause} {since}"), tone)
            }
        }
    }

    /// Whether it is to be looked at first.
    pub(crate) fn is_bad(&self) -> bool {
        self.state().1 == Tone::Bad
    }

    pub(crate) fn bound(&self) -> (String, Tone) {
        let over = self
            .node
            .bound
            .is_some_and(|bound| bound > self.look.max_lag);
        let text = self.of_replica(self.node.bound.map(short));
        (text, if over { Tone::Bad } else { Tone::Plain })
    }

    pub(crate) fn estimate(&self) -> String {
        self.of_replica(self.node.estimate.map(short))
    }

    pub(crate) fn behind(&self) -> String {
        self.of_replica(self.node.bytes_behind.map(size))
    }

    pub(crate) fn rate(&self) -> String {
        let rate = self.track.and_then(|track| track.pace.rate());
        rate.map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{}/s", size(rate)))
    }

    /// When it will have caught up, at its present pace.
    pub(crate) fn catches_up(&self) -> CatchUp {
        let rate = self.track.and_then(|track| track.pace.rate());
        let near = |estimate: Duration| estimate <= self.look.poll_interval;
        match self.node.estimate {
            // It is as near as can be told: behind by what was written since it was last asked.
            Some(estimate) if near(estimate) && self.node.bytes_behind.is_some() => {
                CatchUp::CaughtUp
            }
            _ => catch_up(self.node.bytes_behind, rate, self.write_rate),
        }
    }

    pub(crate) fn catch_up(&self) -> (String, Tone) {
        if self.node.is_primary {
            return (NO_QUESTION.to_owned(), Tone::Plain);
        }
        match self.catches_up() {
            CatchUp::CaughtUp => ("caught up".to_owned(), Tone::Plain),
            CatchUp::In(time) => (format!("in {}", about(time)), Tone::Plain),
            CatchUp::Never => ("never".to_owned(), Tone::Bad),
            CatchUp::Unknown => (UNKNOWN.to_owned(), Tone::Plain),
        }
    }

    pub(crate) fn connections(&self) -> String {
        self.told(|vitals| {
            let used = vitals.connections?;
            Some(format!("{used}/{}", vitals.max_connections))
        })
    }

    pub(crate) fn conflicts(&self) -> String {
        self.of_replica_told(|vitals| vitals.conflicts.map(|count| count.to_string()))
    }

    pub(crate) fn latency(&self) -> String {
        self.node.latency.map_or_else(|| UNKNOWN.to_owned(), short)
    }

    pub(crate) fn timeline(&self) -> String {
        let of_primary = self.look.timeline.filter(|_| self.node.is_primary);
        let text = of_primary.map(|number| number.to_string());
        text.unwrap_or_else(|| self.told(|vitals| vitals.timeline.map(|number| number.to_string())))
    }

    pub(crate) fn position(&self) -> String {
        let text = self.node.position.map(|position| position.to_string());
        text.unwrap_or_else(|| UNKNOWN.to_owned())
    }

    fn of_replica(&self, text: Option<String>) -> String {
        let unless_known = if self.node.is_primary {
            NO_QUESTION
        } else {
            UNKNOWN
        };
        text.unwrap_or_else(|| unless_known.to_owned())
    }

    fn of_replica_told(&self, of: impl FnOnce(&crate::vitals::Vitals) -> Option<String>) -> String {
        let text = self.track.and_then(Track::vitals).and_then(of);
        self.of_replica(text)
    }

    pub(crate) fn told(&self, of: impl FnOnce(&crate::vitals::Vitals) -> Option<String>) -> String {
        let text = self.track.and_then(Track::vitals).and_then(of);
        text.unwrap_or_else(|| UNKNOWN.to_owned())
    }

    /// Its bound over a time, a full block for the limit and more.
    pub(crate) fn sparkline(&self, span: Duration, width: usize) -> String {
        let samples = self.track.map(|track| track.chart(span, width));
        let limit = self.look.max_lag;
        let samples = samples.unwrap_or_default().into_iter();
        samples.map(|sample| block(sample, limit)).collect()
    }
}

fn block(sample: Sample, limit: Duration) -> char {
    match sample {
        Sample::Nothing => ' ',
        Sample::Unknown => GAP,
        Sample::Lag(lag) => {
            let step = lag.as_nanos() * 7 / limit.as_nanos().max(1);
            BLOCKS[usize::try_from(step).unwrap_or(7).min(7)]
        }
    }
}

/// Where nothing is proved, there is no height to draw.
pub(crate) const GAP: char = '·';
/// From an eighth to all of a cell.
pub(crate) const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A duration in its largest unit, for what need not be known to the second.
pub(crate) fn about(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if !duration.is_zero() => "<1s".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        _ => ">1y".to_owned(),
    }
}
