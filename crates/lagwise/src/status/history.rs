//! The last minutes, so that whoever comes sees at once what led here.
//!
//! What is kept is bounded in time and in number, however much happens. It is told in columns, where
//! what is unknown is `null`, and each stretch of one membership once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use super::events::Change;
use super::report::{Cluster, Node};

/// The greatest bound of each node since the last sample.
#[derive(Debug, Default, Serialize)]
pub(super) struct Peaks(BTreeMap<Arc<str>, f64>);

/// What was seen, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Arc<Sample>>,
    changes: VecDeque<Arc<Change>>,
}

/// What was seen at one moment.
#[derive(Debug)]
struct Sample {
    at: f64,
    nodes: Box<[Point]>,
    /// Routes to all nodes, by reason.
    reasons: Box<[(&'static str, u64)]>,
}

/// One node at one moment.
#[derive(Debug)]
struct Point {
    name: Arc<str>,
    bound: Option<f64>,
    estimate: Option<f64>,
    standing: Standing,
    routes: u64,
}

/// What a node is good for: `primary`, `primary_lost`, or a membership with its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Standing {
    standing: &'static str,
    cause: Option<&'static str>,
}

/// What a history holds at one moment, out of its lock.
#[derive(Debug)]
pub(super) struct Recorded {
    samples: Vec<Arc<Sample>>,
    changes: Vec<Arc<Change>>,
}

/// A history as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    run: String,
    /// Seconds of the run: now.
    at: f64,
    span_seconds: f64,
    /// When each sample was taken.
    times: Vec<f64>,
    nodes: Vec<Series>,
    /// Routes to all nodes since the run began, by reason, at each sample.
    reasons: BTreeMap<&'static str, Vec<u64>>,
    events: Vec<Change>,
}

/// One node through all samples.
#[derive(Debug, Serialize)]
struct Series {
    name: Arc<str>,
    bound: Vec<Option<f64>>,
    estimate: Vec<Option<f64>>,
    /// Routes to it since the run began; none where it was no node.
    routes: Vec<Option<u64>>,
    standings: Vec<Stretch>,
}

/// From when on a node stood so; with nothing, it was no node.
#[derive(Debug, Serialize)]
struct Stretch {
    from: f64,
    #[serde(flatten)]
    standing: Option<Standing>,
}

impl Peaks {
    pub(super) fn raise(&mut self, node: &Arc<str>, bound: f64) {
        match self.0.get_mut(node) {
            Some(peak) => *peak = peak.max(bound),
            None => drop(self.0.insert(Arc::clone(node), bound)),
        }
    }

    /// These, and what is shown beside them: it is a little later, and bounds grow.
    pub(super) fn and(mut self, cluster: &Cluster) -> Self {
        for node in &cluster.nodes {
            if let Some(bound) = node.staleness_seconds {
                self.raise(&node.name, bound);
            }
        }
        self
    }
}

impl History {
    /// Takes in what is seen now.
    pub(super) fn record(&mut self, at: f64, cluster: &Cluster, peaks: &Peaks) {
        let sample = Sample::new(at, cluster, peaks);
        self.samples.push_back(Arc::new(sample));
        let old = |sample: &Arc<Sample>| sample.at < at - SPAN;
        while self.samples.len() > MOST_SAMPLES || self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
    }

    /// Takes in what has happened.
    pub(super) fn note(&mut self, change: Change) {
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > MOST_CHANGES {
            self.changes.pop_front();
        }
    }

    pub(super) fn recorded(&self) -> Recorded {
        Recorded {
            samples: self.samples.iter().map(Arc::clone).collect(),
            changes: self.changes.iter().map(Arc::clone).collect(),
        }
    }
}

impl Sample {
    fn new(at: f64, cluster: &Cluster, peaks: &Peaks) -> Self {
        let lost = cluster.primary_lost_seconds.is_some();
        let mut reasons = BTreeMap::new();
        for (reason, count) in cluster.nodes.iter().flat_map(|node| &node.routes) {
            *reasons.entry(*reason).or_insert(0) += count;
        }
        let point = |node: &Node| Point {
            name: Arc::clone(&node.name),
            // As it was at its worst: what it is at the very moment depends on when it was asked last.
            bound: node
                .staleness_seconds
                .and_then(|_| peaks.0.get(&node.name).copied()),
            estimate: node.estimate_seconds,
            standing: Standing::of(node, lost),
            routes: node.routes.values().sum(),
        };
        Self {
            at,
            nodes: cluster.nodes.iter().map(point).collect(),
            reasons: reasons.into_iter().collect(),
        }
    }

    fn point(&self, name: &str) -> Option<&Point> {
        self.nodes.iter().find(|point| *point.name == *name)
    }
}

impl Standing {
    fn of(node: &Node, primary_lost: bool) -> Self {
        let (standing, cause) = match (node.is_primary, primary_lost) {
            (true, true) => ("primary_lost", None),
            (true, false) => ("primary", None),
            (false, _) => (node.membership, node.cause),
        };
        Self { standing, cause }
    }
}

impl Told {
    pub(super) fn new(run: String, at: f64, recorded: &Recorded) -> Self {
        let samples = &recorded.samples;
        let mut names: Vec<&Arc<str>> = Vec::new();
        for point in samples.iter().rev().flat_map(|sample| &sample.nodes) {
            if !names.contains(&&point.name) {
                names.push(&point.name);
            }
        }
        Self {
            run,
            at,
            span_seconds: SPAN,
            times: samples.iter().map(|sample| micros(sample.at)).collect(),
            nodes: names
                .iter()
                .map(|name| Series::new(name, samples))
                .collect(),
            reasons: reasons(samples),
            events: recorded
                .changes
                .iter()
                .map(|change| (**change).clone())
                .collect(),
        }
    }
}

impl Series {
    fn new(name: &Arc<str>, samples: &[Arc<Sample>]) -> Self {
        let points = || samples.iter().map(|sample| sample.point(name));
        let mut standings: Vec<Stretch> = Vec::new();
        for (sample, point) in samples.iter().zip(points()) {
            let standing = point.map(|point| point.standing);
            if standings.last().map(|last| last.standing) != Some(standing) {
                let from = micros(sample.at);
                standings.push(Stretch { from, standing });
            }
        }
        Self {
            name: Arc::clone(name),
            bound: points().map(|point| point?.bound.map(micros)).collect(),
            estimate: points().map(|point| point?.estimate.map(micros)).collect(),
            routes: points().map(|point| Some(point?.routes)).collect(),
            standings,
        }
    }
}

fn reasons(samples: &[Arc<Sample>]) -> BTreeMap<&'static str, Vec<u64>> {
    let known = samples.iter().flat_map(|sample| &sample.reasons);
    let mut told: BTreeMap<&'static str, Vec<u64>> =
        known.map(|(reason, _)| (*reason, Vec::new())).collect();
    for (reason, counts) in &mut told {
        let count = |sample: &Arc<Sample>| {
            let found = sample.reasons.iter().find(|(name, _)| name == reason);
            found.map_or(0, |(_, count)| *count)
        };
        counts.extend(samples.iter().map(count));
    }
    told
}

/// Nobody sees less than a microsecond, and its digits are what makes an answer long.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

/// How far back, in seconds.
const SPAN: f64 = 600.0;

/// As many as there are in that time, and as many again for what happens.
const MOST_SAMPLES: usize = 1200;

const MOST_CHANGES: usize = 256;
