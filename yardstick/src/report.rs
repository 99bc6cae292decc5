//! How figures are told: as tables for people, as one JSON object, and in a document.
//!
//! A document has a place for them between two marks. What stands there is of one run, and says of
//! which machine; it is never written by hand.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::{fs, thread};

use serde_json::{Map, Value, json};

use crate::Result;
use crate::case::Case;
use crate::figure::{Figure, Unit};

/// What was found so far.
pub(crate) struct Report {
    json: bool,
    found: Vec<(Case, Vec<Figure>)>,
}

impl Report {
    pub(crate) const fn new(json: bool) -> Self {
        Self {
            json,
            found: Vec::new(),
        }
    }

    /// Takes in the figures of a case; people are shown them at once.
    pub(crate) fn add(&mut self, case: Case, figures: Vec<Figure>) -> Result<()> {
        if !self.json && !figures.is_empty() {
            writeln!(stdout(), "## {}\n\n{}", case.told(), table(&figures))?;
        }
        self.found.push((case, figures));
        Ok(())
    }

    /// The end of the report: a goal that a busy machine does not reach is told, and fails nothing.
    pub(crate) fn end(self) -> Result<ExitCode> {
        let figures = self.found.iter().flat_map(|(_, figures)| figures);
        if self.json {
            let mut all = Map::new();
            for figure in figures {
                all.insert(figure.name.clone(), object(figure)?);
            }
            writeln!(stdout(), "{}", serde_json::to_string_pretty(&all)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        for figure in figures.filter(|figure| !figure.holds()) {
            writeln!(stdout(), "goal missed: {}", figure.name)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Puts the figures that matter most into a document, in the place of those of the last run.
    pub(crate) fn write_into(&self, document: &Path) -> Result<()> {
        let text = fs::read_to_string(document)?;
        let marks = text.split_once(BEGIN).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) = marks.ok_or_else(|| {
            format!(
                "{} has no place for figures: put `{BEGIN}` and `{END}` there",
                document.display()
            )
        })?;
        let mut figures = format!("\n{}\n", machine());
        for (case, found) in &self.found {
            let shown: Vec<Figure> = found.iter().filter(|one| one.is_shown()).cloned().collect();
            if !shown.is_empty() {
                figures += &format!("\n### {}\n\n{}", case.told(), table(&shown));
            }
        }
        fs::write(
            document,
            format!("{before}{BEGIN}\n{figures}\n{END}{after}"),
        )?;
        Ok(())
    }
}

const BEGIN: &str = "<!-- figures -->";
const END: &str = "<!-- end of figures -->";

/// What the figures are of.
fn machine() -> String {
    let processors = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(':').nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let postgres = lagwise_testkit::Installation::find();
    let postgres = postgres.map_or_else(|_| "?".to_owned(), |found| found.release().to_owned());
    format!(
        "{} ({processors} processors), Linux {}, PostgreSQL {postgres}; clients and servers on the same machine.",
        model.unwrap_or("an unknown processor").trim(),
        kernel.trim().split('-').next().unwrap_or_default(),
    )
}

/// `{"ratio": 1.02, "low": 1.01, "high": 1.04, "rounds": 20}`.
fn object(figure: &Figure) -> Result<Value> {
    let mut object = serde_json::to_value(figure)?;
    let unit = serde_json::to_value(figure.unit)?;
    object[unit.as_str().unwrap_or("value")] = json!(figure.value);
    Ok(object)
}

/// A Markdown table.
fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| figure | median | quartiles | goal |\n|---|---|---|---|\n");
    for figure in figures {
        let show = |value| shown(value, figure.unit);
        let goal = figure.at_most.map(|goal| format!("≤ {}", show(goal)));
        text += &format!(
            "| {} | {} | {} to {} | {} |\n",
            figure.name,
            show(figure.value),
            show(figure.low),
            show(figure.high),
            goal.unwrap_or_default()
        );
    }
    text
}

fn shown(value: f64, unit: Unit) -> String {
    let digits = match value.abs() {
        small if small < 10.0 => 2,
        middle if middle < 1000.0 => 1,
        _ => 0,
    };
    let unit = match unit {
        Unit::Ratio => "×",
        Unit::Ns => "ns",
        Unit::Us => "µs",
        Unit::Ms => "ms",
        Unit::PerSecond => "/s",
        Unit::Percent => "%",
        Unit::Instructions => "instructions",
        Unit::Bytes => "bytes",
        Unit::Count => "",
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_an_object_under_its_unit() {
        let figure = Figure::of("x", Unit::Instructions, &[7.0]).at_most(9.0);
        let object = object(&figure).expect("it is data");
        assert_eq!(object["instructions"], 7.0);
        assert_eq!(object["at_most"], 9.0);
        assert!(table(&[figure]).contains("| x | 7.00 instructions | "));
    }

    #[test]
    fn a_document_keeps_all_but_the_figures_of_the_last_run() {
        let file = std::env::temp_dir().join(format!("lagwise-figures-{}", std::process::id()));
        fs::write(&file, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
        let mut report = Report::new(true);
        let figures = vec![
            Figure::of("matters", Unit::Ms, &[1.0]).shown(),
            Figure::of("is left to the JSON", Unit::Ms, &[1.0]),
        ];
        report.add(Case::Reads, figures).unwrap();
        report.write_into(&file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("before\n") && text.ends_with("\nafter\n"),
            "{text}"
        );
        assert!(text.contains("| matters | 1.00 ms"), "{text}");
        assert!(!text.contains("old") && !text.contains("JSON"), "{text}");
        fs::write(&file, "no marks").unwrap();
        let error = report.write_into(&file).unwrap_err().to_string();
        assert!(error.contains("has no place for figures"), "{error}");
        fs::remove_file(file).unwrap();
    }
}
