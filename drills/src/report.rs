//! Tables of figures, contenders side by side, and what they say of the targets.
//!
//! It shows what it is given; what a figure means is the business of its drill.

use std::fmt::{self, Write as _};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::Result;

/// How a report looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// For a page.
    Markdown,
    /// For programs.
    Json,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// It does not apply, or there is none.
    None,
    /// A number of something.
    Count(usize),
    /// With a digit after the point.
    Decimal(f64),
    /// How long most took, and the slowest, in milliseconds.
    Spread {
        /// The middle one.
        p50: f64,
        /// The slowest but one in a hundred.
        p99: f64,
        /// The slowest.
        max: f64,
    },
    /// Anything else.
    Text(String),
}

impl Figure {
    /// Milliseconds from one moment to another, or the word for never.
    #[must_use]
    pub fn millis(from: Duration, to: Option<Duration>) -> Self {
        to.map_or_else(
            || Self::Text("never".to_owned()),
            |to| Self::took(to.saturating_sub(from)),
        )
    }

    /// A length of time in milliseconds.
    #[must_use]
    pub fn took(length: Duration) -> Self {
        Self::Decimal(length.as_secs_f64() * 1_000.0)
    }

    /// A ratio, rounded to hundredths.
    #[must_use]
    pub fn ratio(ratio: f64) -> Self {
        Self::Text(format!("{ratio:.2}"))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Decimal(number) => f.write_str(&short(*number)),
            Self::Spread { p50, p99, max } => {
                write!(f, "{} / {} / {}", short(*p50), short(*p99), short(*max))
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A digit after the point, where it says anything.
fn short(number: f64) -> String {
    let digits = usize::from(number < 10.0);
    format!("{number:.digits$}")
}

/// The figures of one contender in one drill, in an order that all of them share.
#[derive(Debug, Default)]
pub struct Column {
    figures: Vec<(&'static str, Figure)>,
    /// What lagwise's figures say of its targets.
    pub verdicts: Vec<Verdict>,
    /// What callers were told, for whoever wants to know why.
    pub remarks: Vec<String>,
}

impl Column {
    /// Enters a figure.
    pub fn enter(&mut self, label: &'static str, figure: Figure) {
        self.figures.push((label, figure));
    }

    /// Enters a number of something.
    pub fn count(&mut self, label: &'static str, count: usize) {
        self.enter(label, Figure::Count(count));
    }

    /// What was entered under a label.
    #[must_use]
    pub fn figure(&self, label: &str) -> Option<&Figure> {
        let entered = self.figures.iter().find(|(name, _)| *name == label);
        entered.map(|(_, figure)| figure)
    }

    /// Judges a target.
    pub fn judge(
        &mut self,
        target: &'static str,
        kind: Target,
        met: bool,
        figure: impl fmt::Display,
    ) {
        self.verdicts.push(Verdict {
            target,
            kind,
            met,
            figure: figure.to_string(),
        });
    }
}

/// What kind of promise a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// It holds always: missing it fails the run.
    Law,
    /// It is what the machine and the moment allow: missing it is told.
    Goal,
}

/// Whether a target was met.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// What had to be.
    pub target: &'static str,
    /// How much it weighs.
    pub kind: Target,
    /// Whether it was.
    pub met: bool,
    /// What was found.
    pub figure: String,
}

/// A drill with all its contenders.
#[derive(Debug)]
pub struct Table {
    /// The drill.
    pub name: &'static str,
    /// What happens in it.
    pub told: &'static str,
    /// Contenders by name.
    pub columns: Vec<(&'static str, Column)>,
}

#[derive(Serialize)]
struct Line<'a> {
    figure: &'static str,
    values: Vec<(&'static str, &'a Figure)>,
}

impl Table {
    /// Whether a law was broken.
    #[must_use]
    pub fn breaks_a_law(&self) -> bool {
        let broken = |verdict: &&Verdict| verdict.kind == Target::Law && !verdict.met;
        self.verdicts().any(|verdict| broken(&verdict))
    }

    /// What was judged.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.columns.iter().flat_map(|(_, column)| &column.verdicts)
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let labels = self.columns.first().map(|(_, column)| &column.figures);
        let line = |label: &'static str| Line {
            figure: label,
            values: self
                .columns
                .iter()
                .map(|(name, column)| (*name, column.figure(label).unwrap_or(&Figure::None)))
                .collect(),
        };
        let labels = labels.into_iter().flatten();
        labels.map(|(label, _)| line(label)).collect()
    }

    fn text(&self) -> std::result::Result<String, fmt::Error> {
        let mut text = format!("== {} ==\n{}\n\n", self.name, self.told);
        write!(text, "{:<47}", "")?;
        for (name, _) in &self.columns {
            write!(text, "{name:>20}")?;
        }
        writeln!(text)?;
        for line in self.lines() {
            write!(text, "{:<47}", line.figure)?;
            for (_, value) in line.values {
                write!(text, "{:>20}", value.to_string())?;
            }
            writeln!(text)?;
        }
        writeln!(text)?;
        for verdict in self.verdicts() {
            let word = if verdict.met { "met" } else { "NOT MET" };
            writeln!(text, "{word}: {} ({})", verdict.target, verdict.figure)?;
        }
        for (name, column) in &self.columns {
            for remark in &column.remarks {
                writeln!(text, "callers of {name} were told {remark}")?;
            }
        }
        Ok(text)
    }

    fn markdown(&self) -> std::result::Result<String, fmt::Error> {
        let mut text = format!("### `{}`\n\n{}\n\n|", self.name, self.told);
        for (name, _) in &self.columns {
            write!(text, " | {name}")?;
        }
        write!(text, " |\n|---|{}\n", "---:|".repeat(self.columns.len()))?;
        for line in self.lines() {
            write!(text, "| {}", line.figure)?;
            for (_, value) in line.values {
                write!(text, " | {value}")?;
            }
            writeln!(text, " |")?;
        }
        writeln!(text)?;
        for verdict in self.verdicts() {
            let word = if verdict.met { "met" } else { "**not met**" };
            writeln!(text, "* {}: {word} ({})", verdict.target, verdict.figure)?;
        }
        Ok(text)
    }

    /// The table, for whoever it is for; JSON is one line.
    pub fn show(&self, format: Format) -> Result<String> {
        Ok(match format {
            Format::Text => self.text()?,
            Format::Markdown => self.markdown()?,
            Format::Json => {
                let figures: serde_json::Map<_, _> = self
                    .lines()
                    .into_iter()
                    .map(|line| {
                        let values: serde_json::Map<_, _> = line
                            .values
                            .into_iter()
                            .map(|(name, value)| (name.to_owned(), serde_json::json!(value)))
                            .collect();
                        (line.figure.to_owned(), values.into())
                    })
                    .collect();
                let verdicts: Vec<&Verdict> = self.verdicts().collect();
                let table = serde_json::json!({
                    "drill": self.name,
                    "figures": figures,
                    "verdicts": verdicts,
                });
                format!("{table}\n")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(met: bool, kind: Target) -> Table {
        let mut column = Column::default();
        column.count("reads", 7);
        column.enter("longest, ms", Figure::took(Duration::from_micros(1_540)));
        column.judge("no read is lost", kind, met, "0 of 7");
        let mut other = Column::default();
        other.count("reads", 9);
        Table {
            name: "hung-replica",
            told: "A replica hangs.",
            columns: vec![("lagwise", column), ("pools", other)],
        }
    }

    #[test]
    fn a_law_that_is_broken_fails_and_a_goal_that_is_missed_does_not() {
        assert!(table(false, Target::Law).breaks_a_law());
        assert!(!table(true, Target::Law).breaks_a_law());
        assert!(!table(false, Target::Goal).breaks_a_law());
    }

    #[test]
    fn contenders_stand_side_by_side_and_what_one_lacks_is_a_dash() {
        let text = table(false, Target::Law).show(Format::Markdown).unwrap();
        let lines = [
            "| reads | 7 | 9 |",
            "| longest, ms | 1.5 | - |",
            "* no read is lost: **not met** (0 of 7)",
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let json = table(true, Target::Law).show(Format::Json).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["figures"]["reads"]["pools"], 9);
        assert_eq!(json["verdicts"][0]["kind"], "law");
    }
}
