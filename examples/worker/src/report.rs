//! What became of the jobs: where their reads went and why, how long they took, and whether any of
//! them read stale data.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lagwise::{Consistency, Reason, Role, Route};

use crate::queue::Past;

/// A job that is done.
#[derive(Clone, Debug)]
pub struct Done {
    /// How it was taken up.
    pub consistency: Consistency,
    /// Where it read.
    pub route: Route,
    /// Whether it read an older version than the one it was enqueued for.
    pub stale: bool,
    /// What it has been through.
    pub past: Past,
}

/// The jobs of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: BTreeMap<Way, Row>,
    /// How many jobs were not done when the run ended.
    pub left: i64,
}

/// What jobs are told apart by.
type Way = (&'static str, &'static str, &'static str);

#[derive(Clone, Debug, Default)]
struct Row {
    took: Vec<Duration>,
    put_back: i64,
    stale: usize,
}

impl Report {
    /// Takes in a job.
    pub fn add(&mut self, done: &Done) {
        let Route { role, reason, .. } = done.route;
        let way = (done.consistency.as_str(), role.as_str(), reason.as_str());
        let row = self.rows.entry(way).or_default();
        row.took.push(done.past.took);
        row.put_back += i64::from(done.past.put_back);
        row.stale += usize::from(done.stale);
    }

    /// Takes in the jobs of another worker.
    pub fn merge(&mut self, other: Self) {
        for (way, row) in other.rows {
            let ours = self.rows.entry(way).or_default();
            ours.took.extend(row.took);
            ours.put_back += row.put_back;
            ours.stale += row.stale;
        }
    }

    /// How many jobs are done.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.rows.values().map(|row| row.took.len()).sum()
    }

    /// How many of them read on replicas.
    #[must_use]
    pub fn on_replicas(&self) -> usize {
        let replica = |(way, _): &(&Way, &Row)| way.1 == Role::Replica.as_str();
        let rows = self.rows.iter().filter(replica);
        rows.map(|(_, row)| row.took.len()).sum()
    }

    /// How many read on the primary without having asked for it.
    #[must_use]
    pub fn fell_back(&self) -> usize {
        self.jobs() - self.on_replicas() - self.asked()
    }

    /// How many asked for the primary.
    #[must_use]
    pub fn asked(&self) -> usize {
        let asked = |(way, _): &(&Way, &Row)| way.2 == Reason::Asked.as_str();
        let rows = self.rows.iter().filter(asked);
        rows.map(|(_, row)| row.took.len()).sum()
    }

    /// How many read stale data. There must be none.
    #[must_use]
    pub fn stale(&self) -> usize {
        self.rows.values().map(|row| row.stale).sum()
    }

    /// How often jobs were put back.
    #[must_use]
    pub fn put_back(&self) -> i64 {
        self.rows.values().map(|row| row.put_back).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:<8} {:<17} {:>6} {:>10} {:>10} {:>9} {:>6}",
            "consistency", "read on", "because", "jobs", "median", "slowest", "put back", "stale"
        )?;
        for ((consistency, role, reason), row) in &self.rows {
            let mut took = row.took.clone();
            took.sort_unstable();
            writeln!(
                f,
                "{consistency:<12} {role:<8} {reason:<17} {:>6} {:>10} {:>10} {:>9} {:>6}",
                took.len(),
                millis(took.get(took.len() / 2)),
                millis(took.last()),
                row.put_back,
                row.stale
            )?;
        }
        let (jobs, stale) = (self.jobs(), self.stale());
        write!(f, "{jobs} jobs are done, {stale} of them read stale data")?;
        match self.left {
            0 => f.write_str("."),
            left => write!(f, ", and {left} are left in the queue."),
        }
    }
}

fn millis(took: Option<&Duration>) -> String {
    format!("{} ms", took.map_or(0, Duration::as_millis))
}
