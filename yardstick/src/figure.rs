//! One figure: what was measured, how much it spread, and what it has to be.
//!
//! A figure has a name that says all of it, such as `read/point/session/1/latency to connection`, and a
//! unit. It is the median of its rounds, beside the first and third quartile of them.

use serde::Serialize;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// How often the other one.
    Ratio,
    Ns,
    Us,
    Ms,
    PerSecond,
    Percent,
    Instructions,
    Bytes,
    Count,
}

/// A figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(skip)]
    pub(crate) unit: Unit,
    /// The median.
    #[serde(skip)]
    pub(crate) value: f64,
    /// A quarter of the rounds were below this.
    pub(crate) low: f64,
    /// And a quarter above this.
    pub(crate) high: f64,
    pub(crate) rounds: usize,
    /// The most that it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
    /// Whether it stands in documents.
    #[serde(skip)]
    shown: bool,
}

impl Figure {
    /// The median of what each round found, and its quartiles.
    pub(crate) fn of(name: impl Into<String>, unit: Unit, rounds: &[f64]) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            name: name.into(),
            unit,
            value: quantile(&sorted, 50),
            low: quantile(&sorted, 25),
            high: quantile(&sorted, 75),
            rounds: sorted.len(),
            at_most: None,
            shown: false,
        }
    }

    /// The same, with the most that it may be.
    pub(crate) fn at_most(mut self, goal: f64) -> Self {
        self.at_most = Some(goal);
        self
    }

    /// The same, for documents.
    pub(crate) const fn shown(mut self) -> Self {
        self.shown = true;
        self
    }

    /// Whether it stands in documents: as all do that have a goal.
    pub(crate) const fn is_shown(&self) -> bool {
        self.shown || self.at_most.is_some()
    }

    /// Whether it is what it has to be.
    pub(crate) fn holds(&self) -> bool {
        self.at_most.is_none_or(|goal| self.value <= goal)
    }
}

/// The value that so many percent of a sorted list are below; of none, not a number.
pub(crate) fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (last * percent + 50) / 100;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_rounds() {
        let figure = Figure::of("x", Unit::Ratio, &[9.0, 1.0, 5.0, 3.0, 7.0]).at_most(5.0);
        assert_eq!((figure.low, figure.value, figure.high), (3.0, 5.0, 7.0));
        assert!(figure.holds());
        assert!(!figure.at_most(4.9).holds());
    }

    #[test]
    fn a_figure_of_nothing_holds_nothing() {
        assert!(!Figure::of("x", Unit::Ns, &[]).at_most(1.0).holds());
    }
}
