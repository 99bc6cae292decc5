//! Figures from what callers wrote down.

use std::time::Duration;

use crate::contender::{Failed, Kind, Outcome};
use crate::load::{Read, Wrote};
use crate::report::Figure;

/// A stretch of a drill.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
}

impl Window {
    /// Whether a moment is in it.
    #[must_use]
    pub fn holds(&self, at: Duration) -> bool {
        at >= self.from && at < self.until
    }

    /// The reads that began in it.
    #[must_use]
    pub fn reads<'a>(&self, reads: &'a [Read]) -> Vec<&'a Read> {
        reads.iter().filter(|read| self.holds(read.began)).collect()
    }

    /// How many writes were acknowledged in it, per second.
    #[must_use]
    pub fn writes_per_second(&self, writes: &[Wrote]) -> f64 {
        let here = |write: &&Wrote| write.outcome.is_ok() && self.holds(write.ended);
        let count = u32::try_from(writes.iter().filter(here).count()).unwrap_or(u32::MAX);
        let seconds = self.until.saturating_sub(self.from).as_secs_f64();
        f64::from(count) / seconds.max(f64::EPSILON)
    }
}

/// How long reads took.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// The middle one.
    pub p50: Duration,
    /// The slowest but one in a hundred.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

/// How long these reads took, answered or not; `None` for none.
#[must_use]
pub fn latency(reads: &[&Read]) -> Option<Latency> {
    let mut took: Vec<Duration> = reads.iter().map(|read| read.took()).collect();
    took.sort_unstable();
    let at = |percent: usize| {
        let place = (took.len() * percent).div_ceil(100).max(1) - 1;
        took.get(place).copied()
    };
    Some(Latency {
        p50: at(50)?,
        p99: at(99)?,
        max: at(100)?,
    })
}

/// `p50 / p99 / max` of these reads, in milliseconds.
#[must_use]
pub fn told(latency: Option<Latency>) -> Figure {
    let millis = |took: Duration| took.as_secs_f64() * 1_000.0;
    latency.map_or(Figure::None, |latency| Figure::Spread {
        p50: millis(latency.p50),
        p99: millis(latency.p99),
        max: millis(latency.max),
    })
}

/// How many of these outcomes failed in a way.
#[must_use]
pub fn failed<'a, T: 'a>(
    outcomes: impl IntoIterator<Item = &'a Outcome<T>>,
    kinds: &[Kind],
) -> usize {
    let of_kind = |outcome: &&Outcome<T>| {
        let failure = outcome.as_ref().err();
        failure.is_some_and(|failure| kinds.contains(&failure.kind))
    };
    outcomes.into_iter().filter(of_kind).count()
}

/// How many of these reads failed, but for those that nobody waited for to the end.
#[must_use]
pub fn errors(reads: &[&Read]) -> usize {
    let kinds = [Kind::NotDone, Kind::Refused, Kind::Late, Kind::Unknown];
    failed(reads.iter().map(|read| &read.outcome), &kinds)
}

/// The different things that callers were told, and how often: the commonest first.
#[must_use]
pub fn texts<'a>(failures: impl Iterator<Item = &'a Failed>) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for failure in failures {
        *counts.entry(&failure.text).or_default() += 1;
    }
    let mut counts: Vec<_> = counts
        .into_iter()
        .map(|(text, count)| (text.to_owned(), count))
        .collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The share of these reads that a node served, in percent.
#[must_use]
pub fn share(reads: &[&Read], node: &str) -> Figure {
    let answered: Vec<&str> = reads
        .iter()
        .filter_map(|read| Some(read.outcome.as_ref().ok()?.node.as_str()))
        .collect();
    let here = answered.iter().filter(|served| **served == node).count();
    match (here * 100).checked_div(answered.len()) {
        Some(percent) => Figure::Count(percent),
        None => Figure::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Seen;

    fn read(began: u64, took: u64, outcome: Outcome<Seen>) -> Read {
        Read {
            began: Duration::from_millis(began),
            ended: Duration::from_millis(began + took),
            outcome,
        }
    }

    fn seen(node: &str) -> Outcome<Seen> {
        Ok(Seen {
            number: 0,
            node: node.to_owned(),
        })
    }

    #[test]
    fn a_percentile_is_of_the_reads_that_there_are() {
        let reads: Vec<Read> = (1..=200).map(|took| read(0, took, seen("r1"))).collect();
        let all: Vec<&Read> = reads.iter().collect();
        let found = latency(&all).expect("there are reads");
        let millis = [found.p50, found.p99, found.max].map(|took| took.as_millis());
        assert_eq!(millis, [100, 198, 200]);
        assert!(latency(&[]).is_none(), "none of none");
    }

    #[test]
    fn a_window_holds_what_began_in_it() {
        let reads = [10, 20, 29, 30].map(|began| read(began, 5, seen("r1")));
        let window = Window {
            from: Duration::from_millis(20),
            until: Duration::from_millis(30),
        };
        assert_eq!(window.reads(&reads).len(), 2);
    }

    #[test]
    fn shares_are_of_answers_and_errors_are_of_all() {
        let late = Err(Failed {
            kind: Kind::Late,
            text: "late".to_owned(),
        });
        let reads = [
            read(0, 1, seen("r1")),
            read(0, 1, seen("r2")),
            read(0, 1, late),
            read(0, 1, Err(Failed::unanswered())),
        ];
        let all: Vec<&Read> = reads.iter().collect();
        assert_eq!(share(&all, "r1"), Figure::Count(50));
        assert_eq!(errors(&all), 1, "the end of the drill is nobody's error");
    }
}
