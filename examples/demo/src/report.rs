//! The result of a run: as one JSON object, as a few lines for people, and as an exit code.

use std::time::Duration;

use serde::Serialize;

use crate::arguments::Mode;
use crate::history::History;
use crate::picture::{count, counted, seconds};
use crate::tally::Totals;

/// The figures that `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    reads: u64,
    writes: u64,
    reads_on_replicas: u64,
    stale_reads: u64,
    errors: u64,
    ejections: u64,
    readmissions: u64,
    seconds: f64,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    mode: Mode,
    totals: Totals,
    lasted: Duration,
    figures: Figures,
    first_error: Option<String>,
}

impl Report {
    pub(crate) fn new(mode: Mode, totals: Totals, history: &History, lasted: Duration) -> Self {
        let figures = Figures {
            reads: totals.reads(),
            writes: totals.writes,
            reads_on_replicas: totals.reads_on_replicas(),
            stale_reads: totals.stale_reads,
            errors: totals.errors,
            ejections: history.ejections(),
            readmissions: history.readmissions(),
            seconds: Duration::from_millis(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX))
                .as_secs_f64(),
        };
        Self {
            mode,
            totals,
            lasted,
            figures,
            first_error: None,
        }
    }

    pub(crate) fn with_first_error(mut self, error: Option<&str>) -> Self {
        self.first_error = error.map(ToOwned::to_owned);
        self
    }

    pub(crate) const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The first error in words.
    pub(crate) fn first_error(&self) -> Option<&str> {
        self.first_error.as_deref()
    }

    /// Whether the run showed what it is to show. Without lagwise nothing is promised.
    pub(crate) const fn holds(&self) -> bool {
        match self.mode {
            Mode::Naive => true,
            Mode::Routed => self.totals.stale_reads == 0 && self.totals.errors == 0,
        }
    }

    /// A few lines for people.
    pub(crate) fn summary(&self) -> String {
        let totals = &self.totals;
        let title = match self.mode {
            Mode::Routed => "lagwise demo",
            Mode::Naive => "lagwise demo, without lagwise",
        };
        let mut lines = vec![
            format!("{title}: {}", seconds(self.lasted)),
            format!("  reads        {:>9}", count(totals.reads())),
            format!("  on replicas  {:>9}", totals.off_primary()),
            format!("  writes       {:>9}", count(totals.writes)),
            format!("  stale reads  {:>9}", count(totals.stale_reads)),
            format!("  errors       {:>9}", count(totals.errors)),
        ];
        if self.mode == Mode::Routed {
            lines.push(format!("  ejections    {:>9}", self.figures.ejections));
            lines.push(format!("  readmissions {:>9}", self.figures.readmissions));
        }
        if let Some(error) = &self.first_error {
            lines.push(format!("The first error: {error}."));
        }
        lines.push(self.verdict());
        lines.join("\n")
    }

    /// What the run has shown, in one sentence.
    fn verdict(&self) -> String {
        let stale = counted(self.totals.stale_reads, "read", "reads");
        let errors = counted(self.totals.errors, "statement", "statements");
        match self.mode {
            Mode::Naive => format!(
                "Without lagwise, {stale} missed what their own session had just written, and \
                 {errors} failed."
            ),
            Mode::Routed if self.holds() => {
                "Every read saw what its own session had written, and no statement failed."
                    .to_owned()
            }
            Mode::Routed => format!(
                "This must not happen: {stale} missed what their own session had written, and \
                 {errors} failed."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(mode: Mode, stale_reads: u64, errors: u64) -> Report {
        let totals = Totals {
            reads_on: [20, 500, 480],
            writes: 100,
            stale_reads,
            errors,
        };
        Report::new(mode, totals, &History::new(mode), Duration::from_secs(10))
    }

    #[test]
    fn one_stale_read_or_one_error_fails_a_routed_run_but_no_naive_one() {
        assert!(report(Mode::Routed, 0, 0).holds());
        assert!(!report(Mode::Routed, 1, 0).holds());
        assert!(!report(Mode::Routed, 0, 1).holds());
        assert!(report(Mode::Naive, 7, 7).holds());
    }

    #[test]
    fn the_json_object_has_every_figure() {
        let json = serde_json::to_string(report(Mode::Routed, 0, 0).figures()).unwrap();
        assert_eq!(
            json,
            "{\"reads\":1000,\"writes\":100,\"reads_on_replicas\":980,\"stale_reads\":0,\
             \"errors\":0,\"ejections\":0,\"readmissions\":0,\"seconds\":10.0}"
        );
    }

    #[test]
    fn the_naive_summary_says_in_one_sentence_what_went_wrong() {
        let summary = report(Mode::Naive, 1, 12).summary();
        let last = summary.lines().last().unwrap();
        assert!(last.starts_with("Without lagwise, 1 read missed"), "{last}");
        assert!(last.contains("12 statements failed"), "{last}");
    }
}
